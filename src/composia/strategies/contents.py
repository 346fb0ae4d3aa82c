"""What a snapshot holds, and whether a copy of it came out as it was saved."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from composia.errors import Damaged, Failure
from composia.strategies.base import Site, Wanted
from composia.tools import manifest
from composia.tools.exchange import existing
from composia.tools.manifest import Manifest
from composia.tools.rustic import SnapshotInfo
from composia.tools.wording import FEW

#: The bytes that a disk keeps free beyond what is fetched.
SPARE = 64 * 1024 * 1024
UNKNOWN = "what it looked like when it was saved is not known: owners and times were not compared"


@dataclass(frozen=True, slots=True)
class Contents:
    """The paths of a snapshot and their types, and its manifest where somebody kept it."""

    types: Mapping[str, str]
    #: Bytes by path, as far as they are known.
    sizes: Mapping[str, int]
    manifest: Manifest | None

    @property
    def roots(self) -> tuple[str, ...]:
        """What was saved: the topmost paths; without a manifest those below `files`, `volumes`."""
        if self.manifest:
            return tuple(path for path in self.types if _above(path) not in self.types)
        return tuple(path for path in self.types if path.count("/") == 1)

    def size(self, key: str) -> int:
        """Bytes of what is at the key, as far as they are known."""
        below = f"{key}/"
        return sum(
            size for path, size in self.sizes.items() if path == key or path.startswith(below)
        )

    def left_out(self, key: str) -> tuple[str, ...]:
        """Paths below the key that were left out of the backup."""
        if not self.manifest:
            return ()
        return tuple(os.fsdecode(path) for path in self.manifest.within(key).left_out)


def _above(path: str) -> str:
    return path.rpartition("/")[0]


async def find(wanted: Wanted, site: Site) -> SnapshotInfo:
    """The snapshot. Raises Failure when the repository does not have it any more."""
    for snapshot in await site.engine.snapshots():
        if snapshot.id == wanted.snapshot_id:
            return snapshot
    raise Failure(
        f"the repository does not have snapshot {wanted.snapshot_id[:12]} of {wanted.item}",
        hint="Choose another backup: `composia backups` lists them.",
    )


async def look(wanted: Wanted, site: Site) -> Contents:
    """Look into a snapshot of files; with a manifest, that is all that is looked at."""
    written = await site.read_manifest(wanted.backup_id)
    if written is None:
        listed = await site.engine.list_files(wanted.snapshot_id, "", deep=True)
        return Contents(
            {entry.path: entry.type for entry in listed},
            {entry.path: entry.size or 0 for entry in listed},
            None,
        )
    known = await asyncio.to_thread(_read, written, wanted)
    entries = {os.fsdecode(path): entry for path, entry in known.entries.items()}
    return Contents(
        {path: entry.type for path, entry in entries.items()},
        {path: entry.size for path, entry in entries.items()},
        known,
    )


def _read(written: bytes, wanted: Wanted) -> Manifest:
    try:
        return manifest.read(written)
    except ValueError as error:
        raise Failure(f"the manifest of backup {wanted.backup_id} is broken: {error}") from error


@dataclass(frozen=True, slots=True)
class Copy:
    """A path of a snapshot, the new folder it is restored into, and where it lies then."""

    key: str
    folder: Path
    lies: Path


def copy_of(key: str, contents: Contents, folder: Path) -> Copy:
    """A folder becomes the folder; anything else lies in it under its own name."""
    is_folder = contents.types.get(key, "dir") == "dir"
    return Copy(key, folder, folder if is_folder else folder / key.rpartition("/")[2])


def make_room(need: int, at: Path) -> None:
    """Raise Failure where the disk cannot take so many bytes."""
    found = shutil.disk_usage(existing(at)).free
    if found < need + SPARE:
        raise Failure(
            f"not enough room at {existing(at)}: needs {told_size(need)}, "
            f"{told_size(found)} are free",
            hint="Free some space on that disk, then try again. Nothing was touched.",
        )


def told_size(size: float) -> str:
    """Bytes in words."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a copy holds, and remarks for people."""

    size: int = 0
    files: int = 0
    warnings: tuple[str, ...] = ()

    def __add__(self, other: Fetched) -> Fetched:
        warnings = tuple(dict.fromkeys((*self.warnings, *other.warnings)))
        return Fetched(self.size + other.size, self.files + other.files, warnings)


async def restore(
    copies: Collection[Copy], contents: Contents, wanted: Wanted, site: Site
) -> Fetched:
    """Fetch the copies whole and compare them with what was saved. Raises Failure."""
    for copy in copies:
        make_room(contents.size(copy.key), copy.folder)
        copy.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    whole = {copy.key: copy.folder for copy in copies if copy.folder == copy.lies}
    if whole:
        await _restore(whole, (), wanted, site)
    for copy in copies:
        # Each by itself: two of one folder would be mounted at one place.
        if copy.folder != copy.lies:
            await _restore({copy.key: copy.folder}, [copy.key], wanted, site)
    fetched = Fetched()
    for copy in copies:
        fetched += await asyncio.to_thread(check, copy, contents, wanted)
    return fetched


async def _restore(
    targets: Mapping[str, Path], single: Sequence[str], wanted: Wanted, site: Site
) -> None:
    await site.engine.restore(
        wanted.snapshot_id, targets, single=single, on_progress=site.notes.progress
    )


def check(copy: Copy, contents: Contents, wanted: Wanted) -> Fetched:
    """Compare a copy with the manifest: everything but the content, which rustic has proven."""
    if not os.path.lexists(copy.lies):
        raise Damaged(f"{copy.key} of {wanted.item} did not come out of the repository")
    came = manifest.take(copy.lies)
    size = sum(entry.size for entry in came.entries.values())
    files = sum(entry.type != "dir" for entry in came.entries.values())
    if contents.manifest is None:
        return Fetched(size, files, (f"{wanted.item}: {UNKNOWN}",))
    _compare(copy, contents, came, wanted)
    return Fetched(size, files)


def _compare(copy: Copy, contents: Contents, came: Manifest, wanted: Wanted) -> None:
    assert contents.manifest
    # A part may hold one name of a hard link whose other names lie outside.
    ignoring = {"ctime"} if copy.key in contents.roots else {"ctime", "same_as"}
    saved = contents.manifest.within(copy.key)
    # What changed while it was saved, or could not be read then: the record has named it. What came
    # and went meanwhile nobody has seen; a copy can have it from the snapshot only.
    found = (
        difference
        for difference in manifest.differences(saved, came, ignoring=ignoring)
        if difference.path not in saved.changed and not (saved.live and difference.is_new)
    )
    unread = frozenset(saved.unread)
    if wrong := [str(one) for one in found if not manifest.hides(unread, one.path)]:
        raise Damaged(
            f"{wanted.item} did not come back as it was saved: {len(wrong)} paths differ: "
            + ", ".join(wrong[:FEW]),
            hint="Nothing was touched. Restore to scratch to look at it, or choose another backup.",
        )
