"""Pipes on the event loop, each of which is closed once.

uvloop closes the descriptor of a pipe, and then the file that it was given it in: the number may be
that of a file which another thread has just opened (MagicStack/uvloop#763). So a loop that closes
descriptors itself is given a file that does not.
"""

from __future__ import annotations

import asyncio
import io
from typing import Literal


async def reader(descriptor: int, limit: int) -> tuple[asyncio.StreamReader, asyncio.BaseTransport]:
    """What comes out of a pipe, at most `limit` bytes in a line; its transport owns the pipe."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader(limit)
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), _file(descriptor, "rb")
    )
    return stream, transport


async def writer(descriptor: int) -> tuple[asyncio.StreamWriter, asyncio.BaseTransport]:
    """The way into a pipe, which its transport owns."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), _file(descriptor, "wb")
    )
    return asyncio.StreamWriter(transport, protocol, None, loop), transport


def _file(descriptor: int, mode: Literal["rb", "wb"]) -> io.FileIO:
    leaves_it_to_the_file = isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)
    return io.FileIO(descriptor, mode, closefd=leaves_it_to_the_file)
