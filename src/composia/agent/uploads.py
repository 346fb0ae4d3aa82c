"""One object on its way into the repository: whole, true to its name, and on the disk."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO, Self

from composia.tools import durable, plain_file
from composia.tools.threads import in_thread

#: Bytes written at once, and the most that one object may have: rustic's are far smaller.
BLOCK = 1024 * 1024
LARGEST = 4 * 1024**3
#: A key is the password's lock: nobody else need read it.
MODES = {"keys": 0o600}
MODE = 0o644
_making = Lock()


class WrongName(Exception):  # it is no error of ours
    """The content's hash is not the name."""


class Differs(Exception):  # see above
    """Something else is there under this name."""


class Upload:
    """A scratch file that takes its place when it has come whole; else nothing stays."""

    def __init__(self, scratch: Path, target: Path, folder: Path) -> None:
        self._scratch = scratch
        self._target = target
        self._folder = folder
        self._digest = hashlib.sha256()
        self._waiting: list[bytes] = []
        self._held = 0
        self._size = 0
        self._file: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        try:
            await in_thread(self._begin)
        except BaseException:
            # Cancelled meanwhile, the file is there none the less.
            await in_thread(self._cleared)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await in_thread(self._cleared)

    async def write(self, chunk: bytes) -> None:
        """Add a piece. Raises WrongName for more than any object has."""
        self._waiting.append(chunk)
        self._held += len(chunk)
        self._size += len(chunk)
        if self._size > LARGEST:
            raise WrongName
        if self._held >= BLOCK:
            await in_thread(self._written)

    async def finish(self) -> None:
        """Put it in its place. Raises WrongName, Differs."""
        await in_thread(self._placed)

    def _begin(self) -> None:
        self._scratch.parent.mkdir(mode=0o700, exist_ok=True)
        kind = self._target.relative_to(self._folder).parts[0]
        handle = os.open(
            self._scratch,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        os.fchmod(handle, MODES.get(kind, MODE))
        self._file = os.fdopen(handle, "wb", buffering=0)

    def _written(self) -> None:
        assert self._file
        block, self._waiting, self._held = b"".join(self._waiting), [], 0
        self._digest.update(block)
        view = memoryview(block)
        while view:
            view = view[self._file.write(view) :]

    def _placed(self) -> None:
        assert self._file
        self._written()
        is_true = self._digest.hexdigest() == self._target.name
        if os.path.lexists(self._target):
            # An answer that was lost: the same is sent again.
            if not is_true or not _is_whole(self._target):
                raise Differs
            # Whoever has put it there may not have flushed that yet.
            durable.sync(self._target.parent)
            return
        if not is_true:
            raise WrongName
        os.fsync(self._file.fileno())
        self._take_place()

    def _take_place(self) -> None:
        above = self._target.parent
        _made(above, self._folder)
        owner = above.stat()
        with suppress(PermissionError):
            os.chown(self._scratch, owner.st_uid, owner.st_gid)
        # Whatever may have come there meanwhile has this name, and so this content.
        self._scratch.rename(self._target)
        durable.sync(above)

    def _cleared(self) -> None:
        if self._file:
            self._file.close()
        with suppress(FileNotFoundError):
            self._scratch.unlink()


def _is_whole(path: Path) -> bool:
    file = plain_file.to_read(path)
    if file is None:
        return False
    with file:
        return hashlib.file_digest(file, "sha256").hexdigest() == path.name


def _made(above: Path, folder: Path) -> None:
    """The folder of the object, flushed where it is new. Raises Differs where it leads out."""
    for path in (above.parent, above):
        # Two uploads may be the first at once: who finds it there relies on its being flushed.
        with _making, suppress(FileExistsError):
            if path != folder and not path.exists():
                path.mkdir(mode=0o755)
                owner = path.parent.stat()
                with suppress(PermissionError):
                    os.chown(path, owner.st_uid, owner.st_gid)
                durable.sync(path.parent)
        if not path.resolve().is_relative_to(folder):
            raise Differs
