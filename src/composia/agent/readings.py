"""Reading something out for a person: bytes go up as they come, and nothing is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

import aiohttp
import structlog

from composia.agent.bulk import Bulk, Refused
from composia.agent.outbox import Outbox
from composia.agent.sites import Errand, Sites
from composia.errors import ComposiaError, Failure, told
from composia.operations.messages import Read, ReadingFailed
from composia.strategies.base import Site

log = structlog.get_logger()

#: The task of whatever is started for a reading; names of containers begin with it.
TASK = "reading"


class NoNotes:
    """A reading leaves nothing behind, and nobody watches it."""

    async def note(self, name: str, **facts: Any) -> None:
        """Nothing to be put right."""

    def progress(self, done: int, total: int | None = None) -> None:
        """Not told."""

    def log(self, line: str) -> None:
        """Not told."""


class Readings:
    """The readings of this agent, each a stream of its own."""

    def __init__(self, sites: Sites, bulk: Bulk, outbox: Outbox) -> None:
        self._sites = sites
        self._bulk = bulk
        self._outbox = outbox
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, read: Read) -> None:
        """Send what it reads."""
        task = asyncio.create_task(self._read(read))
        self._tasks[read.stream] = task
        task.add_done_callback(lambda _: self._tasks.pop(read.stream, None))

    def stop(self, stream: str) -> None:
        """Nobody listens any more."""
        if task := self._tasks.get(stream):
            task.cancel()

    async def close(self) -> None:
        """End all of them."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, read: Read) -> None:
        try:
            await self._send(read)
        except Refused:
            # Nobody waits for it any more.
            log.info("a reading was refused", stream=read.stream)
        except (aiohttp.ClientError, OSError) as error:
            self._failed(read, Failure(f"the reading broke off: {error}"))
        except Exception as error:
            if not isinstance(error, ComposiaError):
                log.exception("a reading broke", stream=read.stream)
            self._failed(read, error)

    async def _send(self, read: Read) -> None:
        reading = read.reading
        errand = Errand(reading.service, reading.repository, TASK, read.stream)
        await self._sites.check_out(errand, reading.files)
        site: Site = self._sites.site(errand, NoNotes())
        async with aclosing(_closable(reading.read(site))) as chunks:
            # What cannot be read at all is told before the stream begins.
            first = await anext(chunks, b"")
            await self._bulk.stream(read.stream, _with(first, chunks))

    def _failed(self, read: Read, error: Exception) -> None:
        self._outbox.send(ReadingFailed(stream=read.stream, error=told(error)))


async def _closable(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None)
        if close:
            with suppress(RuntimeError):
                await close()


async def _with(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk
