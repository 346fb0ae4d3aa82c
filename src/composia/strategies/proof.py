"""Whether a snapshot of files comes out whole: restored for real, and compared thrice.

With the manifest taken when it was saved (owners, modes, times, sizes), with the snapshot's own
listing (nothing more, nothing less), and with the snapshot's own content (every byte is read).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

from composia.errors import Damaged
from composia.strategies import contents
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Wanted
from composia.strategies.contents import Contents, Copy
from composia.strategies.put_back import is_at_or_below
from composia.strategies.sources import known_as
from composia.tools import manifest
from composia.tools.rustic import Entry
from composia.tools.wording import FEW

HINT = "Do not rely on this backup: back up again, and look at the disk of the repository."
#: rustic's words for what a manifest calls otherwise.
KINDS = {"chardev": "char", "dev": "block"}


@dataclass(frozen=True, slots=True)
class Proven:
    """What came out, equal to what was saved. Size in bytes."""

    size: int
    files: int
    #: Whether somebody kept what it looked like when it was saved, and all of it was read then.
    whole: bool
    warnings: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """In words."""
        files = "1 file" if self.files == 1 else f"{self.files:,} files"
        return f"{files} ({contents.told_size(self.size)})"


async def files(wanted: Wanted, site: Site) -> Proven:
    """Restore all of it beside, and compare. Raises Damaged with what is not as it was saved."""
    held = await contents.look(wanted, site)
    listed = await site.engine.list_files(wanted.snapshot_id, "", deep=True)
    roots = await asyncio.to_thread(_roots, held, listed, wanted)
    scratch = Aside(site.aside, site.task)
    copies = [_copy(number, root, held, scratch) for number, root in enumerate(roots)]
    contents.make_room(sum(entry.size or 0 for entry in listed), site.aside)
    fetched = await contents.restore(copies, held, wanted, site)
    for copy in copies:
        await asyncio.to_thread(_compare_listing, copy, listed, wanted)
    await _compare_content(copies, wanted, site)
    whole = held.manifest is not None and not held.manifest.unread
    return Proven(fetched.size, fetched.files, whole, fetched.warnings)


def _roots(held: Contents, listed: Collection[Entry], wanted: Wanted) -> tuple[str, ...]:
    """What was saved. Raises Damaged where the snapshot holds more than that, or nothing of it."""
    roots = held.roots
    if held.manifest is not None:
        _refuse_stray(roots, listed)
    _refuse_emptied(roots, held, listed, wanted)
    return roots


def _refuse_stray(roots: Collection[str], listed: Collection[Entry]) -> None:
    above = {str(parent) for root in roots for parent in PurePosixPath(root).parents}
    stray = sorted(
        entry.path
        for entry in listed
        if not _covered(entry.path, roots) and entry.path not in above
    )
    if stray:
        named = ", ".join(_shown(path) for path in stray[:FEW])
        raise Damaged(f"the snapshot holds what was never saved: {named}", hint=HINT)


def _covered(path: str, roots: Collection[str]) -> bool:
    return any(is_at_or_below(path, root) for root in roots)


def _refuse_emptied(
    roots: Collection[str], held: Contents, listed: Collection[Entry], wanted: Wanted
) -> None:
    """A folder without a file in it is only right where it was so when it was saved."""
    if not roots:
        raise Damaged(f"there is nothing at all in the snapshot of {wanted.item}", hint=HINT)
    files = [entry.path for entry in listed if entry.type != "dir"]
    for root in roots:
        if not any(is_at_or_below(path, root) for path in files) and not _was_empty(root, held):
            raise Damaged(
                f"{known_as(root)} of {wanted.item} is an empty folder in the snapshot", hint=HINT
            )


def _was_empty(root: str, held: Contents) -> bool:
    if held.manifest is None:
        return False
    return all(entry.type == "dir" for entry in held.manifest.within(root).entries.values())


def _copy(number: int, root: str, held: Contents, scratch: Aside) -> Copy:
    return contents.copy_of(root, held, scratch.folder / "verify" / str(number))


def _compare_listing(copy: Copy, listed: Collection[Entry], wanted: Wanted) -> None:
    """Everything that the snapshot lists, with its type and size, and nothing else."""
    came = manifest.take(copy.lies)
    found = {
        _below(copy.key, path): (entry.type, entry.size if entry.type == "file" else None)
        for path, entry in came.entries.items()
    }
    told = {
        entry.path: (KINDS.get(entry.type, entry.type), entry.size)
        for entry in listed
        if is_at_or_below(entry.path, copy.key)
    }
    if wrong := sorted(path for path, seen in told.items() ^ found.items()):
        named = ", ".join(dict.fromkeys(known_as(_shown(path)) for path in wrong[:FEW]))
        raise Damaged(
            f"{wanted.item} did not come back as its snapshot lists it: {named}", hint=HINT
        )


def _below(key: str, path: bytes) -> str:
    return f"{key}/{os.fsdecode(path)}" if path else key


def _shown(path: str) -> str:
    return manifest.as_text(os.fsencode(path))


async def _compare_content(copies: Collection[Copy], wanted: Wanted, site: Site) -> None:
    for copy in copies:
        whole = copy.folder == copy.lies
        key = copy.key if whole else _parent(copy.key)
        differing = await site.engine.differences(wanted.snapshot_id, {key: copy.folder})
        if wrong := [path for path in differing if is_at_or_below(path, copy.key)]:
            named = ", ".join(known_as(_shown(path)) for path in wrong[:FEW])
            raise Damaged(
                f"{wanted.item} came back with other content than was saved: {named}", hint=HINT
            )


def _parent(key: str) -> str:
    return key.rpartition("/")[0]
