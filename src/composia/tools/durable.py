"""Small files that are whole, and on the disk, or not there at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

Kept = TypeVar("Kept", bound=BaseModel)


def read(path: Path, kind: type[Kept]) -> Kept | None:
    """What was kept in a file; None where it is not there. Raises ValidationError at rubbish."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None


def keep(path: Path, value: BaseModel, *, indent: int | None = None) -> None:
    """Write a value down, on the disk when this returns."""
    write(path, value.model_dump_json(indent=indent).encode())


def write(path: Path, content: bytes) -> None:
    """Replace a file; after a power cut too it is the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.new")
    with open(scratch, "wb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file; harmless when it is not there."""
    if path.exists():
        path.unlink()
        sync(path.parent)


def sync(folder: Path) -> None:
    """Have on the disk which names are in a folder."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def make_private(path: Path) -> None:
    """See that a file is there, and that nobody else reads it: before anything is in it."""
    os.close(_private(str(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC))
    path.chmod(0o600)


def make_database_private(path: Path) -> None:
    """The same of a database, and of what SQLite keeps beside it (made anew, it is as private)."""
    make_private(path)
    for beside in (path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if beside.exists():
            beside.chmod(0o600)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
