"""Single files in a service's folder: looked at, put and removed without following a link."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import IO

import structlog
from pydantic import BaseModel, ConfigDict

from composia.agent.bundle import Bundle, Member
from composia.errors import Conflict, Failure
from composia.tools import plain_file
from composia.tools.exchange import Place, flush

log = structlog.get_logger()


class Looks(BaseModel):
    """By what a file is recognised without reading it."""

    model_config = ConfigDict(frozen=True)

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def look(folder: Path, path: str) -> Looks | None:
    """How a file looks; None where there is none, or no way to it without a link."""
    found = _stat(folder, path)
    if found is None:
        return None
    return Looks(
        inode=found.st_ino,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
        ctime_ns=found.st_ctime_ns,
    )


def same_content(folder: Path, path: str, sha256: str) -> bool:
    """Whether a file (or a link's target) is what it was."""
    return _sha256(folder, path) == sha256


class Placing:
    """Puts the files of a bundle into a folder, one by one."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.folder = folder
        self._bundle = bundle
        folder.mkdir(parents=True, exist_ok=True)
        if folder.is_symlink():
            raise Conflict(
                f"{folder} is a symbolic link", hint="Put a real folder there, or mount one."
            )

    def in_the_way(self, ours: Collection[str]) -> list[str]:
        """The files that somebody else put where the bundle has one, with another content."""
        return [
            path
            for path, member in self._bundle.members.items()
            if path not in ours and self._is_foreign(path, member)
        ]

    def put(self, path: str, recorded_mode: int | None) -> bool:
        """Have a file there as the bundle has it; one that is the same is not touched at all."""
        member = self._bundle.members[path]
        found = _stat(self.folder, path)
        if found and _kind(found) == _wanted_kind(member):
            mode = self._mode(member, stat.S_IMODE(found.st_mode), recorded_mode)
            if same_content(self.folder, path, member.sha256):
                return self._set_mode(path, found, mode) if not member.target else False
        else:
            mode = member.mode
        self._write(member, found, mode)
        return True

    def remove(self, path: str, sha256: str) -> bool:
        """Remove a file of ours that the catalog has no more, unless somebody has changed it."""
        if _stat(self.folder, path) is None:
            return False
        if not same_content(self.folder, path, sha256):
            log.warning("kept a file that is no more in the catalog: it was changed", path=path)
            return False
        with self._place(path).parent() as parent:
            os.unlink(os.path.basename(path), dir_fd=parent)
        return True

    def flush(self) -> None:
        """Have it all on the disk."""
        flush(self.folder)

    def _is_foreign(self, path: str, member: Member) -> bool:
        found = _stat(self.folder, path)
        if found is None or (stat.S_ISDIR(found.st_mode) and not os.listdir(self.folder / path)):
            # Docker makes an empty folder where a file to be mounted is missing.
            return False
        return _kind(found) != _wanted_kind(member) or not same_content(
            self.folder, path, member.sha256
        )

    def _mode(self, member: Member, now: int, recorded: int | None) -> int:
        # Somebody has made it more private, perhaps: that stays.
        return member.mode if recorded is None or now == recorded else now

    def _set_mode(self, path: str, found: os.stat_result, mode: int) -> bool:
        if stat.S_IMODE(found.st_mode) == mode:
            return False
        with self._place(path).parent() as parent:
            opened = plain_file.opened(os.path.basename(path), folder=parent)
            try:
                os.fchmod(opened, mode)
            finally:
                os.close(opened)
        return True

    def _write(self, member: Member, found: os.stat_result | None, mode: int) -> None:
        place = self._place(member.path)
        place.make_parents()
        name = os.path.basename(member.path)
        scratch = f".composia-new-{secrets.token_hex(4)}"
        with place.parent() as parent:
            try:
                self._write_scratch(member, scratch, parent)
                if found and stat.S_ISDIR(found.st_mode):
                    self._remove_empty(name, parent, member.path)
                elif found:
                    os.chown(
                        scratch, found.st_uid, found.st_gid, dir_fd=parent, follow_symlinks=False
                    )
                if not member.target:
                    os.chmod(scratch, mode, dir_fd=parent)
                os.rename(scratch, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError as error:
                raise Failure(
                    f"{self.folder / member.path} cannot be written: {error.strerror}",
                    hint="Is its disk full or read-only?",
                ) from error
            finally:
                with suppress(OSError):
                    os.unlink(scratch, dir_fd=parent)

    def _write_scratch(self, member: Member, scratch: str, parent: int) -> None:
        if member.target is not None:
            os.symlink(member.target, scratch, dir_fd=parent)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        # Private until it is whole and has its owner.
        opened = os.open(scratch, flags, 0o600, dir_fd=parent)
        with os.fdopen(opened, "wb") as file:
            shutil.copyfileobj(self._bundle.content(member), file)

    def _remove_empty(self, name: str, parent: int, path: str) -> None:
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as error:
            raise Conflict(
                f"./{path} in {self.folder} is a folder with something in it, and a file in the "
                "catalog",
                hint="Move the folder away.",
            ) from error

    def _place(self, path: str) -> Place:
        return Place(below=self.folder, path=self.folder / path)


def _stat(folder: Path, path: str) -> os.stat_result | None:
    with (
        suppress(FileNotFoundError, NotADirectoryError, Failure),
        Place(below=folder, path=folder / path).parent() as parent,
    ):
        return os.stat(os.path.basename(path), dir_fd=parent, follow_symlinks=False)
    return None


def _sha256(folder: Path, path: str) -> str | None:
    with (
        suppress(OSError, Failure),
        Place(below=folder, path=folder / path).parent() as parent,
    ):
        name = os.path.basename(path)
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            return hashlib.sha256(os.fsencode(os.readlink(name, dir_fd=parent))).hexdigest()
        if stat.S_ISREG(found.st_mode):
            with os.fdopen(plain_file.opened(name, folder=parent), "rb") as file:
                return _digest(file)
    return None


def _digest(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _kind(found: os.stat_result) -> str:
    if stat.S_ISLNK(found.st_mode):
        return "link"
    return "file" if stat.S_ISREG(found.st_mode) else "other"


def _wanted_kind(member: Member) -> str:
    return "file" if member.target is None else "link"
