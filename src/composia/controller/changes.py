"""What a commit has changed in a folder of the catalog."""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from composia.tools.git import LINK, SUBMODULE, Commit, Entry, Git

#: Bytes of a file that is compared, and how many files of one commit are.
LARGEST = 256 * 1024
MOST = 50


class What(StrEnum):
    """What has become of a file."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    #: Its text is the same: it may be run now, or may not any more.
    MODE = "mode"


class Why(StrEnum):
    """Why a file is not compared."""

    LARGE = "large"
    BINARY = "binary"
    SUBMODULE = "submodule"


class FileChange(BaseModel):
    """A file before and after; `patch` as `git diff` writes it, or why there is none."""

    model_config = ConfigDict(frozen=True)

    path: str
    what: What
    patch: str = ""
    why: Why | None = None
    size: int = 0
    is_link: bool = False


class Changes(BaseModel):
    """A commit, and the files that are other than in its first parent; `more` are not shown."""

    model_config = ConfigDict(frozen=True)

    commit: Commit
    files: tuple[FileChange, ...]
    more: int = 0


async def changes(
    git: Git, commit: Commit, before: Sequence[Entry], after: Sequence[Entry]
) -> Changes:
    """Compare both trees, and the texts that differ."""
    old, new = ({one.path: one for one in entries} for entries in (before, after))
    both = {path: (old.get(path), new.get(path)) for path in old.keys() | new.keys()}
    paths = sorted((path for path, (a, b) in both.items() if _differ(a, b)), key=os.fsencode)
    files = [await _change(git, path, *both[path]) for path in paths[:MOST]]
    return Changes(commit=commit, files=tuple(files), more=len(paths) - len(files))


def _differ(before: Entry | None, after: Entry | None) -> bool:
    if before is None or after is None:
        return True
    return (before.mode, before.sha) != (after.mode, after.sha)


async def _change(git: Git, path: str, before: Entry | None, after: Entry | None) -> FileChange:
    sides = [one for one in (before, after) if one]
    found = FileChange(
        path=path,
        what=_what(before, after),
        size=sides[-1].size,
        is_link=sides[-1].mode == LINK,
    )
    if any(one.mode == SUBMODULE for one in sides):
        return found.model_copy(update={"why": Why.SUBMODULE})
    if any(one.size > LARGEST for one in sides):
        return found.model_copy(update={"why": Why.LARGE})
    if found.what is What.MODE:
        return found
    patch = await _patch(git, before, after)
    return found.model_copy(update={"why": Why.BINARY} if patch is None else {"patch": patch})


async def _patch(git: Git, before: Entry | None, after: Entry | None) -> str | None:
    if before and after:
        return await git.difference(before.sha, after.sha)
    # Git compares nothing with a file that is not there, unless it keeps an empty one.
    sign, one = ("+", after) if after else ("-", before)
    assert one
    return _whole((await git.blobs([one.sha]))[one.sha], sign)


def _whole(content: bytes, sign: str) -> str | None:
    if b"\0" in content:
        return None
    *lines, rest = content.decode(errors="replace").split("\n")
    if rest:
        lines += [rest]
    count = f"0,0 +1,{len(lines)}" if sign == "+" else f"1,{len(lines)} +0,0"
    ends = ["\\ No newline at end of file"] if rest else []
    return "\n".join([f"@@ -{count} @@", *(sign + line for line in lines), *ends]) if lines else ""


def _what(before: Entry | None, after: Entry | None) -> What:
    if before is None:
        return What.ADDED
    if after is None:
        return What.REMOVED
    return What.MODE if before.sha == after.sha else What.CHANGED
