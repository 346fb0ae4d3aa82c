"""The steps and bytes that a source sends. Everything here blocks."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from composia.errors import Failure
from composia.tools import delta_frames as frames
from composia.tools.delta import BLOCK, Plan, size
from composia.tools.delta_tree import Tree
from composia.tools.manifest import Entry, Manifest, as_text

_SECTOR = 512
_ZEROS = bytes(frames.PIECE)


class Original:
    """A tree and how its copy becomes like it.

    While the service runs (`live`), files that vanish are left for the next round; afterwards that,
    and any change, is a Failure.
    """

    def __init__(self, root: Path, seen: Manifest, plan: Plan, *, live: bool) -> None:
        self._tree = Tree(root)
        self._seen = seen
        self._live = live
        self.plan = plan
        self.vanished: set[bytes] = set()
        #: Bytes read, and bytes of content sent; files of which any was sent.
        self.read = 0
        self.sent = 0
        self.files = 0

    @property
    def total(self) -> int:
        """Bytes that will be read."""
        return size(self._seen, self.plan.whole) + size(self._seen, self.plan.compared)

    def need(self, copy: Manifest) -> int:
        """Bytes by which the copy grows."""
        grown = sum(
            max(0, self._seen.entries[path].size - copy.entries[path].size)
            for path in self.plan.compared
        )
        return sum(map(self._room, self.plan.whole)) + grown

    def close(self) -> None:
        """Let go of the tree."""
        self._tree.close()

    def begin(self) -> Iterator[bytes]:
        """What goes, and the folders and others that come."""
        rows: list[frames.Row] = [["gone", frames.written_path(path)] for path in self.plan.gone]
        rows += [["folder", self._row(path)] for path in self.plan.folders]
        rows += [["other", self._row(path)] for path in self.plan.others]
        return _batches(rows)

    def whole(self) -> Iterator[bytes]:
        """The files that are sent whole."""
        batch = _Batch()
        for path in self.plan.whole:
            if self._seen.entries[path].size > BLOCK:
                yield from batch.flush()
                yield from self._large(path)
            elif (content := self._small(path)) is not None:
                row = ["file", self._row(path), len(content), frames.digest(content).hex()]
                if batch.add(row, content):
                    yield from batch.flush()
        yield from batch.flush()

    def end(self) -> Iterator[bytes]:
        """The further names, and the looks of folders."""
        entries = self._seen.entries
        rows: list[frames.Row] = []
        for path in self.plan.links:
            first = entries[path].same_as or path
            if first not in self.vanished:
                rows.append(["link", frames.written_path(path), frames.written_path(first)])
        rows += [["look", self._row(path)] for path in self.plan.looks]
        return _batches(rows)

    def compared(self, path: bytes) -> Compared | None:
        """A file that is compared; None where it has vanished."""
        with self._opened(path) as opened:
            if opened is None:
                return None
            how = "apart" if path in self.plan.apart else "kept"
            self.files += 1
            return Compared(self, path, self._seen.entries[path], os.dup(opened), how)

    def check(self, path: bytes, opened: int) -> None:
        """Raise Failure where a file is not as it was seen, though nobody should write there."""
        seen, now = self._seen.entries[path], os.fstat(opened)
        if not self._live and (now.st_size, now.st_mtime_ns, now.st_ctime_ns) != (
            seen.size,
            seen.mtime,
            seen.ctime,
        ):
            raise _changed(path)

    def _room(self, path: bytes) -> int:
        """Bytes that a file takes, without its holes."""
        known = self._seen.entries[path].size
        if known <= BLOCK:
            return known
        try:
            name, folder = self._tree.at(path)
            taken = os.stat(name, dir_fd=folder, follow_symlinks=False).st_blocks * _SECTOR
        except OSError:
            return known
        return min(known, taken)

    def _row(self, path: bytes) -> frames.Row:
        return frames.row(path, self._seen.entries[path])

    def _small(self, path: bytes) -> bytes | None:
        with self._opened(path) as opened:
            if opened is None:
                return None
            content = os.pread(opened, BLOCK, 0)
            self.check(path, opened)
        self._count(len(content))
        self.files += 1
        return content

    def _count(self, size: int) -> None:
        self.read += size
        self.sent += size

    def _large(self, path: bytes) -> Iterator[bytes]:
        with self._opened(path) as opened:
            if opened is None:
                return
            file = Compared(self, path, self._seen.entries[path], os.dup(opened), "new")
            self.files += 1
            try:
                yield file.opening()
                yield from file.rest()
                yield file.closing()
            finally:
                file.close()

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int | None]:
        opened = self._open(path)
        try:
            yield opened
        finally:
            if opened is not None:
                os.close(opened)

    def _open(self, path: bytes) -> int | None:
        try:
            return self._tree.file(path, os.O_RDONLY)
        except OSError as error:
            self._lost(path, error.strerror)
            return None

    def _lost(self, path: bytes, reason: str | None) -> None:
        if not self._live:
            raise Failure(
                f"{as_text(path) or 'the file'} cannot be read: {reason}",
                hint="Nothing else should touch the data while the service is stopped.",
            )
        self.vanished.add(path)


class Compared:
    """A large file that is being sent, or as much of it as the copy does not have."""

    def __init__(
        self, original: Original, path: bytes, entry: Entry, opened: int, how: str
    ) -> None:
        self._original = original
        self._path = path
        self._entry = entry
        self._opened = opened
        self._how = how
        self._digest = hashlib.sha256()
        self._offset = 0
        #: Where it ended when it was opened: one that grows for ever has an end too.
        self._size = os.fstat(opened).st_size

    def opening(self) -> bytes:
        """The step before its bytes."""
        return frames.steps([["open", frames.written_path(self._path), self._how]])

    def pieces(self, digests: bytes) -> list[bytes]:
        """What differs in the next blocks, of which the copy has these digests."""
        wanted = len(digests) // frames.DIGEST * BLOCK
        content = os.pread(self._opened, min(wanted, self._size - self._offset), self._offset)
        found = []
        for number, mine in enumerate(frames.block_digests(content)):
            if mine != digests[number * frames.DIGEST : (number + 1) * frames.DIGEST]:
                block = content[number * BLOCK : (number + 1) * BLOCK]
                found.append(self._data(self._offset + number * BLOCK, block))
        self._offset += len(content)
        self._original.read += len(content)
        return found

    def rest(self) -> Iterator[bytes]:
        """What the copy does not have at all; holes stay holes."""
        for start, end in _extents(self._opened, self._offset, self._size):
            for offset in range(start, end, frames.PIECE):
                piece = os.pread(self._opened, min(frames.PIECE, end - offset), offset)
                if piece != _ZEROS[: len(piece)]:
                    yield self._data(offset, piece)
        self._original.read += self._size - self._offset
        self._offset = self._size

    def closing(self) -> bytes:
        """The step after its bytes. Raises Failure where it must not have changed, and has."""
        self._original.check(self._path, self._opened)
        entry = self._entry._replace(size=min(self._size, os.fstat(self._opened).st_size))
        row = frames.row(self._path, entry)
        return frames.steps([["close", row, self._digest.hexdigest()]])

    def close(self) -> None:
        """Let go of it."""
        os.close(self._opened)

    def _data(self, offset: int, piece: bytes) -> bytes:
        self._digest.update(b"%d:" % offset)
        self._digest.update(piece)
        self._original.sent += len(piece)
        return frames.data(offset, piece)


class _Batch:
    """Steps that go in one frame."""

    def __init__(self) -> None:
        self._rows: list[frames.Row] = []
        self._body: list[bytes] = []
        self._size = 0

    def add(self, row: frames.Row, content: bytes = b"") -> bool:
        """Whether it is full now."""
        self._rows.append(row)
        if content:
            self._body.append(content)
        self._size += len(content) + _length(row)
        return self._size >= frames.PIECE

    def flush(self) -> Iterator[bytes]:
        """The frame, if there is anything in it."""
        if self._rows:
            yield frames.steps(self._rows, self._body)
        self._rows, self._body, self._size = [], [], 0


def _batches(rows: Iterable[frames.Row]) -> Iterator[bytes]:
    batch = _Batch()
    for row in rows:
        if batch.add(row):
            yield from batch.flush()
    yield from batch.flush()


def _length(value: object) -> int:
    """Bytes that it takes at most, written: a byte of a name may become six."""
    if isinstance(value, str):
        return 8 + (len(value) if value.isascii() else 6 * len(value))
    if isinstance(value, Sequence):
        return 8 + sum(map(_length, value))
    return 20


def _extents(opened: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where there are bytes, from `start` to `end`; everything else is a hole."""
    while start < end:
        try:
            found = os.lseek(opened, start, os.SEEK_DATA)
            until = min(os.lseek(opened, found, os.SEEK_HOLE), end)
        except OSError as error:
            if error.errno == errno.ENXIO:
                # Nothing but a hole.
                return
            found, until = start, end
        if found < until:
            yield found, until
        start = until


def _changed(path: bytes) -> Failure:
    return Failure(
        f"{as_text(path) or 'the file'} changed while everything was stopped",
        hint="Something else writes there. Stop it, then start the move again.",
    )
