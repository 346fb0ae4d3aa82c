"""What is mounted where. A folder that is moved or removed takes what is mounted in it along."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from composia.errors import Conflict
from composia.tools.manifest import as_text


def mount_of(path: Path) -> str:
    """The mount that a path is on; a device is not enough: a bind of it is another mount."""
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        facts = Path(f"/proc/self/fdinfo/{opened}").read_text().splitlines()
    finally:
        os.close(opened)
    return next(line for line in facts if line.startswith("mnt_id:"))


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly there, a bind of the same file system included."""
    return _real(path) in set(_mounted())


def below(path: Path) -> tuple[Path, ...]:
    """Where something is mounted inside a folder, not counting the folder itself."""
    above = _real(path)
    return tuple(sorted({one for one in _mounted() if above in one.parents}))


def refuse_mounts_below(live: Path, known_as: str) -> None:
    """Raise Conflict where something is mounted in what is to be put elsewhere."""
    if found := below(live):
        named = ", ".join(map(_shown, found))
        raise Conflict(
            f"{known_as} cannot be put in place: {named} is mounted in it, and would be carried"
            " off with it",
            hint=f"Stop the service and unmount it (`umount {_shown(found[-1])}`), try again, and"
            " mount it afterwards; or restore to scratch, and copy what you need.",
        )


def remove(path: Path) -> None:
    """Remove a file, link or folder; harmless when it is not there.

    Raises Conflict, and removes nothing, where something is mounted there or in it: it is somebody
    else's data.
    """
    if path.is_dir() and not path.is_symlink():
        refuse_to_remove(path)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def try_to_remove(folder: Path) -> None:
    """Remove a folder as far as that can be done, and nothing where something is mounted in it."""
    if not (is_mount_point(folder) or below(folder)):
        shutil.rmtree(folder, ignore_errors=True)


def refuse_to_remove(path: Path) -> None:
    """Raise Conflict where something is mounted there or in it."""
    found = [path] if is_mount_point(path) else list(below(path))
    if found:
        named = ", ".join(map(_shown, found))
        raise Conflict(
            f"{_shown(path)} was not removed: something is mounted at {named}",
            hint="It would be emptied. Unmount it; what it holds is untouched.",
        )


def _mounted() -> Iterator[Path]:
    mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return (Path(_unescaped(line.split(" ")[4])) for line in mounts.split("\n") if line)


def _shown(path: Path) -> str:
    return as_text(os.fsencode(path))


def _real(path: Path) -> Path:
    """As the kernel names it: no link on the way, and the last name itself."""
    return Path(os.path.realpath(path.parent), path.name)


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
