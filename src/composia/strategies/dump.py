"""A database dump as it comes out of the repository."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from composia.errors import Damaged
from composia.strategies.base import Site, Wanted

#: The file's name in a snapshot, and its last line: without it the dump is not whole.
NAME = "dump.sql"
LAST_LINE = b"-- PostgreSQL database cluster dump complete"
#: Bytes at the end of a dump among which its last line is looked for.
TAIL = 4096
#: Bytes read at once.
PIECE = 1 << 20
#: How a line of a dump begins that a cluster nobody has put anything into does not have.
CONTENT = re.compile(rb"^(?:COPY |SELECT pg_catalog\.lo_|CREATE (?!ROLE |DATABASE ))", re.MULTILINE)
#: Bytes of a line that tell whether it is such a one.
LINE = 64
#: Strategies that save a dump.
SAVED_BY = frozenset({"database.pgdumpall"})


async def chunks(wanted: Wanted, site: Site) -> AsyncIterator[bytes]:
    """The dump, piece by piece. Raises Failure after the last one when it is not whole."""
    async with site.engine.read_file(wanted.snapshot_id, NAME) as pieces:
        async for piece in _whole(pieces, wanted.item, site):
            yield piece


async def of_file(path: Path, item: str, site: Site) -> AsyncIterator[bytes]:
    """The same of a dump that lies in a file."""
    with path.open("rb") as file:
        async for piece in _whole(_read(file), item, site):
            yield piece


async def _read(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece


async def _whole(pieces: AsyncIterator[bytes], item: str, site: Site) -> AsyncIterator[bytes]:
    seen = Seen()
    async for piece in pieces:
        seen.add(piece)
        site.notes.progress(seen.size)
        yield piece
    if not is_complete(seen.tail):
        raise Damaged(
            f"the dump of {item} is not whole: its last line is missing",
            hint="Choose another backup of it. Nothing was touched.",
        )


async def write(wanted: Wanted, path: Path, site: Site) -> int:
    """Put the dump into a new file that nobody else may read; answers its size in bytes."""
    size = 0
    # It holds the hashes of passwords.
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(opened, "wb") as file:
        async for piece in chunks(wanted, site):
            size += await asyncio.to_thread(file.write, piece)
    return size


class Seen:
    """What is known of a dump that goes by: how it ends, and whether there is anything in it."""

    def __init__(self) -> None:
        self.size = 0
        self.tail = b""
        self._begun = b""
        self.is_empty = True

    def add(self, piece: bytes) -> None:
        """The next piece of it."""
        if self.is_empty:
            # A line may lie across many pieces: how it begins is all that counts.
            lines, end, begun = (self._begun + piece).rpartition(b"\n")
            self.is_empty = not CONTENT.search(lines + end)
            self._begun = begun[:LINE]
        self.size += len(piece)
        self.tail = (self.tail + piece)[-TAIL:]


def is_complete(tail: bytes) -> bool:
    """Whether a dump that ends so is whole."""
    said = [
        line
        for line in tail.splitlines()
        # Newer releases may unlock psql again behind it.
        if line.strip() not in (b"", b"--") and not line.startswith(b"\\unrestrict ")
    ]
    return bool(said) and said[-1] == LAST_LINE
