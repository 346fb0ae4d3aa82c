"""Commits into a bare repository, as somebody's push would make them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.lab.catalog import GIT_ENV
from tests.lab.shell import run

#: The first of 2026, as in all of the lab's commits.
WHO = "Lab <lab@example.com> 1767225600 +0000"


def commit(bare: Path, files: Mapping[str, str | None], message: str = "Change services") -> str:
    """Put one commit with these files (None removes one) on the branch; gives its id."""
    env = {**os.environ, **GIT_ENV}
    said = "\n".join(_changes(files, f"{message}\n"))
    # One program, where plumbing takes three for every file.
    run("git", "-C", bare, "fast-import", "--quiet", env=env, stdin=f"{said}\n")
    return run("git", "-C", bare, "rev-parse", "main", env=env).strip()


def _changes(files: Mapping[str, str | None], message: str) -> Iterator[str]:
    yield f"commit refs/heads/main\ncommitter {WHO}\n{_data(message)}\nfrom refs/heads/main^0"
    for path, content in files.items():
        yield f"D {path}" if content is None else f"M 100644 inline {path}\n{_data(content)}"


def _data(content: str) -> str:
    return f"data {len(content.encode())}\n{content}"


def read_folder(folder: Path) -> dict[str, str]:
    """The files of a folder, named as they will be in the catalog."""
    return {
        f"{folder.name}/{path.relative_to(folder)}": path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
