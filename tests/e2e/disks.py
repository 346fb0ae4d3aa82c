"""Disks of their own, small enough to be filled."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.shell import run


class Disk:
    """A file system of bounded size in memory, mounted on a folder that keeps its content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def hold(self, options: str) -> None:
        """Give it other bounds, or make it read-only."""
        run("mount", "-o", f"remount,{options}", str(self.folder))

    @property
    def files(self) -> int:
        """How many files and folders it has now."""
        return 1 + sum(1 for _ in self.folder.rglob("*"))


class HeldBack:
    """Files that whoever opens them waits for, until they are let go."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = [os.open(file, os.O_RDONLY | os.O_CLOEXEC) for file in files]
        for one in self._files:
            # The kernel tells of a reader by a signal; this one does nothing here.
            fcntl.fcntl(one, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(one, fcntl.F_SETLEASE, fcntl.F_WRLCK)

    def is_wanted(self) -> bool:
        """Whether somebody waits for one of them."""
        return any(fcntl.fcntl(one, fcntl.F_GETLEASE) != fcntl.F_WRLCK for one in self._files)

    def close(self) -> None:
        """Let them go."""
        while self._files:
            os.close(self._files.pop())


@contextmanager
def torn_disk(folder: Path) -> Iterator[Path]:
    """A disk whose end is gone: what it says of a file is there, and its content is not."""
    image = folder.with_name(f"{folder.name}.image")
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(8_000_000)
    run("mkfs.ext4", "-qF", "-O", "^has_journal,inline_data", image)
    run("mount", "-o", "loop", image, folder)
    try:
        # So short that it is kept with its name.
        (folder / "whole").write_text("x")
        with (folder / "torn").open("wb") as file:
            file.write(os.urandom(6_000_000))
            file.flush()
            os.fsync(file.fileno())
            # Or it would be read from memory.
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        os.truncate(image, 4_000_000)
        yield folder
    finally:
        run("umount", "--lazy", folder)
        image.unlink()


@contextmanager
def disk(folder: Path, options: str = "size=512m") -> Iterator[Disk]:
    """A disk at a folder, which gets back what it had; what was changed on it is gone then."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder.with_name(f"{folder.name}.under")
    run("cp", "-a", str(folder), str(aside))
    run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        run("cp", "-a", f"{aside}/.", str(folder))
        shutil.rmtree(aside)
        yield Disk(folder)
    finally:
        run("umount", "--lazy", str(folder))
        shutil.rmtree(aside, ignore_errors=True)
