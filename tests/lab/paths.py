"""Where the lab keeps things: a cache keyed by recipe, a state folder per lab."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = Path(__file__).resolve().parent / "files"


def cache() -> Path:
    """The folder that outlives every lab and checkout."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return _made(Path(os.environ.get("COMPOSIA_CACHE") or Path(base) / "composia"))


def labs() -> Path:
    """The folder that holds one state folder per lab."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return _made(Path(base) / "composia" / "labs")


def locks() -> Path:
    """The folder of the lock files, which no lab takes with it."""
    return cache() / "locks"


def key(*recipe: object) -> str:
    """A short name for what is made by `recipe`."""
    text = "\0".join(str(part) for part in recipe)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; a second process waits here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """Give a scratch folder that becomes `folder` on success, or None where it exists already."""
    with locked(locks() / folder.name):
        if folder.exists():
            yield None
            return
        scratch = folder.with_name(f"{folder.name}.tmp")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        yield scratch
        scratch.rename(folder)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
