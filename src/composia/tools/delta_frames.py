"""How steps and bytes are written into frames, and read again from a node that is not trusted."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from composia.errors import Failure
from composia.tools.delta import BLOCK
from composia.tools.manifest import Entry

#: Bytes of a frame of data: a slow line must be able to send signs of life between two of them.
PIECE = 256 * 1024
#: Bytes of a block's digest.
DIGEST = 16
#: Blocks whose digests are told at once: so much is read and compared at once, too.
TOLD = 64

SAID, STEPS, DATA, ASK, DIGESTS, PART = b"J", b"S", b"D", b"A", b"H", b"M"

_LENGTH = struct.Struct(">I")
_OFFSET = struct.Struct(">Q")
_REPLY = struct.Struct(">IB")
#: Bytes before the digests in their frame.
REPLY = 1 + _REPLY.size
_LONGEST_NAME = 255
_TYPES = frozenset(("file", "dir", "symlink", "fifo", "socket", "char", "block"))

Row = list[Any]


def said(**what: Any) -> bytes:
    """Something that the two ends tell each other."""
    return SAID + json.dumps(what).encode()


def heard(frame: bytes) -> Mapping[str, Any]:
    """What was said. Raises Failure."""
    with understood():
        what = json.loads(frame[1:])
        if frame[:1] != SAID or not isinstance(what, dict):
            raise ValueError
        return what


def steps(rows: Sequence[Row], body: Sequence[bytes] = ()) -> bytes:
    """Steps, with the bytes of the files among them."""
    head = json.dumps(rows, separators=(",", ":")).encode()
    return b"".join((STEPS, _LENGTH.pack(len(head)), head, *body))


def read_steps(frame: bytes) -> tuple[list[Row], memoryview]:
    """The steps again, and the bytes behind them."""
    (length,) = _LENGTH.unpack_from(frame, 1)
    start = 1 + _LENGTH.size
    rows = json.loads(frame[start : start + length])
    if not isinstance(rows, list) or start + length > len(frame):
        raise ValueError
    return rows, memoryview(frame)[start + length :]


def data(offset: int, piece: bytes) -> bytes:
    """Bytes of the file that is open."""
    return b"".join((DATA, _OFFSET.pack(offset), piece))


def read_data(frame: bytes) -> tuple[int, memoryview]:
    """The offset and the bytes."""
    (offset,) = _OFFSET.unpack_from(frame, 1)
    return offset, memoryview(frame)[1 + _OFFSET.size :]


def ask(number: int, path: bytes) -> bytes:
    """Ask for the digests of a file's blocks."""
    return ASK + json.dumps([number, written_path(path)]).encode()


def read_ask(frame: bytes) -> tuple[int, bytes]:
    """The number and the path. Raises ValueError, TypeError."""
    number, path = json.loads(frame[1:])
    if type(number) is not int:
        raise ValueError
    return number, read_path(path)


def digests(number: int, found: bytes, *, last: bool) -> bytes:
    """Digests of the next blocks of the file that was asked about under this number."""
    return DIGESTS + _REPLY.pack(number, last) + found


def read_digests(frame: bytes) -> tuple[int, bool, bytes]:
    """The number, whether these are the last, and the digests: no more than are told at once."""
    number, last = _REPLY.unpack_from(frame, 1)
    found = frame[REPLY:]
    if len(found) > TOLD * DIGEST:
        raise ValueError
    return number, bool(last), found


def row(path: bytes, entry: Entry) -> Row:
    """A path and what it is to look like."""
    target = None if entry.target is None else entry.target.decode("latin-1")
    xattrs = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in entry.xattrs]
    return [path.decode("latin-1"), *entry[:6], target, entry.device, xattrs]


def read_row(written: Row) -> tuple[bytes, Entry]:
    """The same again. Raises ValueError or TypeError for anything else."""
    path, kind, mode, uid, gid, size, mtime, target, device, xattrs = written
    numbers = (mode, uid, gid, size, mtime, device)
    if kind not in _TYPES or not all(type(number) is int for number in numbers):
        raise ValueError
    entry = Entry(
        kind,
        mode & 0o7777,
        uid,
        gid,
        size,
        mtime,
        None if target is None else target.encode("latin-1"),
        None,
        device,
        tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in xattrs),
        0,
    )
    return read_path(path), entry


def written_path(path: bytes) -> str:
    """A path as it stands in a step."""
    return path.decode("latin-1")


def read_path(written: Any) -> bytes:
    """A path that leads nowhere but down. Raises ValueError."""
    path: bytes = written.encode("latin-1")
    for name in path.split(b"/") if path else ():
        if name in (b"", b".", b"..") or b"\0" in name or len(name) > _LONGEST_NAME:
            raise ValueError(path)
        if name.startswith(b".composia") and name[9:10] in (b"", b"-"):
            raise ValueError(path)
    return path


def digest(content: bytes | memoryview) -> bytes:
    """What stands for these bytes."""
    return hashlib.sha256(content).digest()[:DIGEST]


def block_digests(content: bytes) -> Iterator[bytes]:
    """The digests of one block after the other."""
    view = memoryview(content)
    return (digest(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK))


@contextmanager
def understood() -> Iterator[None]:
    """Turn what cannot be read into a Failure."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, struct.error) as error:
        raise Failure(
            f"the other node sent something that is not understood ({type(error).__name__})",
            hint="Run the same version of Composia on controller and nodes.",
        ) from error
