"""Paths inside a snapshot: where data stands, and how rustic is told about it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

#: Where data is mounted: nobody else's folder, so that paths stay the same for ever.
ROOT = "/composia"
#: What files and volumes are saved under; a dump stands at the snapshot's own root.
SAVED = ("files", "volumes")
#: Characters that a glob gives a meaning.
GLOB_SIGNS = str.maketrans({sign: f"\\{sign}" for sign in "\\*?[]{}"})
SPECIAL = (stat.S_ISFIFO, stat.S_ISSOCK, stat.S_ISCHR, stat.S_ISBLK)


def glob(path: str) -> str:
    """The glob that leaves out a path below `/composia`, and what is in it."""
    return f"!{ROOT}/{_plain(path)}"


def only(path: str) -> tuple[str, str]:
    """The globs that let a path below `/composia`, and what is in it, alone come back.

    A restore counts from the folder that it restores, a backup from the root.
    """
    return f"/{_plain(path)}", f"/{_plain(path)}/**"


def _plain(path: str) -> str:
    plain = path.strip("/").translate(GLOB_SIGNS)
    trimmed = plain.rstrip(" ")
    return trimmed + "\\ " * (len(plain) - len(trimmed))


def inside(path: str) -> str:
    """The path inside the snapshot of a listed one; `` is the folder of all that was saved."""
    if not path or path.partition("/")[0] in SAVED:
        return f"{ROOT}/{path}".rstrip("/")
    return f"/{path}"


def parent(path: str) -> str:
    """The folder that a path is in."""
    return path.rpartition("/")[0]


def is_special(path: str, targets: Mapping[str, Path]) -> bool:
    """Whether a path is a FIFO, socket or device: rustic says of each that it differs."""
    for key, target in targets.items():
        if PurePosixPath(path).is_relative_to(key):
            place = target / PurePosixPath(path).relative_to(key)
            try:
                mode = place.lstat().st_mode
            except OSError:
                return False
            return any(is_kind(mode) for is_kind in SPECIAL)
    return False
