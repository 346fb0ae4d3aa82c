"""Lines that come too fast to be sent one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

#: Seconds in which lines are gathered, and how many at most; whoever is slow is waited for.
PACE = 0.1
MOST = 2000
#: Bytes of a line that is not cut.
LONGEST = 64 * 1024


async def batched(lines: AsyncIterator[str]) -> AsyncIterator[str]:
    """The same text in larger pieces, each of whole lines."""
    gathered: list[str] = []
    more, room = asyncio.Event(), asyncio.Event()
    reading = asyncio.create_task(_gather(lines, gathered, more, room))
    try:
        while True:
            await more.wait()
            if len(gathered) < MOST and not reading.done():
                await asyncio.wait({reading}, timeout=PACE)
            taken = gathered[:]
            gathered.clear()
            more.clear()
            room.set()
            if taken:
                yield "\n".join(taken)
            elif reading.done():
                break
            if reading.done():
                more.set()
        await reading
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading


async def _gather(
    lines: AsyncIterator[str], gathered: list[str], more: asyncio.Event, room: asyncio.Event
) -> None:
    try:
        async for line in lines:
            gathered.append(line)
            more.set()
            if len(gathered) >= MOST:
                room.clear()
                await room.wait()
    finally:
        more.set()


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of a stream of bytes; one that does not end is cut where it grows too long."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").removesuffix("\r")
        if len(rest) > LONGEST:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")
