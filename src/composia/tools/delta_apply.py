"""Doing the steps that a source sends, on a copy that nobody else looks at.

Kill it anywhere: what is not finished has not its time yet, and differs from the source's.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from composia.errors import Failure
from composia.tools import delta_frames as frames
from composia.tools.delta import BLOCK
from composia.tools.delta_looks import dress, dress_named
from composia.tools.delta_remove import remove
from composia.tools.delta_tree import Tree
from composia.tools.manifest import Entry, Manifest, as_text

#: The name of what is not whole yet, in the folder where it is to stand.
PART = b".composia-part"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Devices that lead to nothing of the machine: null, zero, full, random, urandom and tty, which a
#: chroot has, and 0:0, with which overlayfs notes that a file was removed.
_HARMLESS = frozenset(
    os.makedev(*number) for number in ((0, 0), (1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0))
)
_COPIED = 64 * 1024 * 1024


class Copy:
    """A copy of one tree, as it is being made. Everything blocks, and raises Failure."""

    def __init__(self, root: Path, known: Manifest) -> None:
        self._tree = Tree(root)
        self._known = known
        self._open: _OpenFile | None = None
        #: Bytes of content written.
        self.written = 0
        self._does: Mapping[str, Callable[..., None]] = {
            "gone": self._gone,
            "folder": self._folder,
            "other": self._other,
            "open": self._open_file,
            "close": self._close_file,
            "link": self._link,
            "look": self._look,
        }

    def __enter__(self) -> Copy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._open:
            self._open.close()
        self._tree.close()

    def sweep(self) -> None:
        """Remove what an earlier attempt has left unfinished."""
        self._unlink(PART, self._tree.at(b"")[1])
        for path in self._known.left_out:
            with _named(path):
                remove(*self._tree.at(path))

    def do(self, frame: bytes) -> None:
        """Do the steps of a frame, or write the bytes in it."""
        with frames.understood():
            if frame[:1] == frames.DATA:
                self._write(*frames.read_data(frame))
            else:
                self._do_all(*frames.read_steps(frame))

    def _do_all(self, rows: list[frames.Row], body: memoryview) -> None:
        at = 0
        for kind, *rest in rows:
            if kind == "file":
                written, length, digest = rest
                path, entry = frames.read_row(written)
                with _named(path):
                    self._file(path, entry, body[at : at + length], digest)
                at += length
            else:
                self._does[kind](*rest)

    def _write(self, offset: int, piece: memoryview) -> None:
        if self._open is None:
            raise ValueError("no file is open")
        with _named(self._open.path):
            self._open.write(offset, piece)
        self.written += len(piece)

    def _file(self, path: bytes, entry: Entry, content: memoryview, digest: str) -> None:
        name, folder = self._tree.at(path)
        try:
            opened, part = os.open(name, _NEW, 0o600, dir_fd=folder), name
        except FileExistsError:
            self._unlink(PART, folder)
            opened, part = os.open(PART, _NEW, 0o600, dir_fd=folder), PART
        try:
            _write_all(opened, content, 0)
            if frames.digest(os.pread(opened, len(content), 0)).hex() != digest:
                raise _differs(path)
            dress(opened, entry)
        finally:
            os.close(opened)
        if part != name:
            os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        self.written += len(content)

    def _open_file(self, written: Any, how: str) -> None:
        path = frames.read_path(written)
        if self._open:
            raise ValueError("a file is open already")
        with _named(path):
            name, folder = self._tree.at(path)
            if how == "new":
                opened = os.open(name, _NEW, 0o600, dir_fd=folder)
            else:
                opened = self._opened(path, apart=how == "apart")
            self._open = _OpenFile(path, opened)

    def _opened(self, path: bytes, *, apart: bool) -> int:
        """What stands there, alone with the names that it is known to have."""
        name, folder = self._tree.at(path)
        opened = self._tree.file(path, os.O_RDWR)
        names = self._names(path)
        if not apart and os.fstat(opened).st_nlink <= len(names):
            return opened
        try:
            self._unlink(PART, folder)
            part = os.open(PART, _NEW, 0o600, dir_fd=folder)
            with _closed_where_it_fails(part):
                _copy(opened, part)
                os.rename(PART, name, src_dir_fd=folder, dst_dir_fd=folder)
                for other in names - {path} if not apart else ():
                    self._join(other, path)
        finally:
            os.close(opened)
        return part

    def _names(self, path: bytes) -> set[bytes]:
        there = self._known.entries.get(path)
        if there is None or there.same_as is None:
            return {path}
        same = there.same_as
        return {one for one, entry in self._known.entries.items() if entry.same_as == same}

    def _close_file(self, written: frames.Row, digest: str) -> None:
        path, entry = frames.read_row(written)
        file, self._open = self._open, None
        if file is None:
            raise ValueError("no file is open")
        try:
            if file.path != path:
                raise ValueError(path)
            with _named(path):
                file.finish(entry, digest)
        finally:
            file.close()

    def _gone(self, written: Any) -> None:
        path = frames.read_path(written)
        with _named(path):
            name, folder = self._tree.at(path)
            remove(name, folder)
            self._tree.forget()

    def _folder(self, written: frames.Row) -> None:
        path, _ = frames.read_row(written)
        with _named(path):
            name, folder = self._tree.at(path)
            os.mkdir(name, 0o700, dir_fd=folder)

    def _other(self, written: frames.Row) -> None:
        path, entry = frames.read_row(written)
        with _named(path):
            name, folder = self._tree.at(path)
            self._unlink(PART, folder)
            _refuse_device(path, entry)
            _make(entry, folder)
            dress_named(PART, folder, entry)
            os.rename(PART, name, src_dir_fd=folder, dst_dir_fd=folder)

    def _link(self, written: Any, first: Any) -> None:
        self._join(frames.read_path(written), frames.read_path(first))

    def _join(self, path: bytes, first: bytes) -> None:
        with _named(path):
            source, source_folder = self._tree.at(first)
            name, folder = self._tree.at(path)
            self._unlink(PART, folder)
            os.link(
                source, PART, src_dir_fd=source_folder, dst_dir_fd=folder, follow_symlinks=False
            )
            os.rename(PART, name, src_dir_fd=folder, dst_dir_fd=folder)
            # Two names of one file: the rename does nothing.
            self._unlink(PART, folder)

    def _look(self, written: frames.Row) -> None:
        path, entry = frames.read_row(written)
        with _named(path):
            dress(self._tree.folder(path), entry)

    @staticmethod
    def _unlink(name: bytes, folder: int) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


class _OpenFile:
    """A large file of which pieces come."""

    def __init__(self, path: bytes, opened: int) -> None:
        self.path = path
        self._opened = opened
        self._digest = hashlib.sha256()

    def write(self, offset: int, piece: memoryview) -> None:
        """Write a piece, and read it back."""
        _write_all(self._opened, piece, offset)
        self._digest.update(b"%d:" % offset)
        self._digest.update(os.pread(self._opened, len(piece), offset))

    def finish(self, entry: Entry, digest: str) -> None:
        """Give it its size and looks. Raises Failure where it is not what was sent."""
        os.ftruncate(self._opened, entry.size)
        if self._digest.hexdigest() != digest:
            raise _differs(self.path)
        dress(self._opened, entry)

    def close(self) -> None:
        """Leave it as it is."""
        os.close(self._opened)


def digests(root: Path, path: bytes) -> Iterator[tuple[bytes, bool]]:
    """Digests of a file's blocks, some at a time, and whether they are the last. Raises Failure."""
    with _named(path), Tree(root) as tree:
        opened = tree.file(path, os.O_RDONLY)
        try:
            offset, last = 0, False
            while not last:
                piece = os.pread(opened, BLOCK * frames.TOLD, offset)
                offset, last = offset + len(piece), len(piece) < BLOCK * frames.TOLD
                yield b"".join(frames.block_digests(piece)), last
        finally:
            os.close(opened)


def _refuse_device(path: bytes, entry: Entry) -> None:
    """Raise Failure for one that a node must not be told to make by another: a disk, for one."""
    if entry.type == "block" or (entry.type == "char" and entry.device not in _HARMLESS):
        number = f"{os.major(entry.device)}:{os.minor(entry.device)}"
        raise Failure(
            f"{as_text(path) or 'the data'} is a device of the machine ({entry.type} {number}):"
            " it does not move to another one",
            hint="Remove it, or keep it where no item includes it; a container gets the devices"
            " that it needs by `devices:` in the compose file.",
        )


def _make(entry: Entry, folder: int) -> None:
    if entry.type == "symlink" and entry.target:
        os.symlink(entry.target, PART, dir_fd=folder)
    elif entry.type in ("fifo", "socket", "char", "block"):
        kinds = {
            "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK,
            "char": stat.S_IFCHR, "block": stat.S_IFBLK,
        }  # fmt: skip
        os.mknod(PART, kinds[entry.type] | 0o600, entry.device, dir_fd=folder)
    else:
        raise ValueError(entry.type)


@contextmanager
def _closed_where_it_fails(opened: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(opened)
        raise


def _copy(source: int, target: int) -> None:
    done, size = 0, os.fstat(source).st_size
    while done < size:
        copied = os.copy_file_range(source, target, min(_COPIED, size - done), done, done)
        if not copied:
            break
        done += copied


def _write_all(opened: int, piece: memoryview, offset: int) -> None:
    done = 0
    while done < len(piece):
        done += os.pwrite(opened, piece[done:], offset + done)


def _differs(path: bytes) -> Failure:
    return Failure(
        f"{as_text(path)} did not arrive as it was sent",
        hint="The disk or the memory of a node may be broken. Look at the kernel's log.",
    )


@contextmanager
def _named(path: bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = "Look at that disk; then start it again: what has arrived is kept."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "Free some space on that disk; then start it again: what has arrived is kept."
        raise Failure(
            f"{as_text(path) or 'the data'} cannot be written: {error.strerror or error}", hint=hint
        ) from error
