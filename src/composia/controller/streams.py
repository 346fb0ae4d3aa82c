"""Readings under way: from a node, through the controller, to a person."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from composia.controller.channel import Channel
from composia.controller.first import first
from composia.controller.node import KnownNode
from composia.controller.pipes import Pipe
from composia.errors import Conflict, NodeLost, NotFound, Told
from composia.operations.messages import Read, StopReading
from composia.operations.readings import Reading

#: Seconds for a node to begin.
PROMPT = 30.0


@dataclass(slots=True)
class Stream:
    """One of them."""

    node: str
    reading: Reading
    pipe: Pipe = field(default_factory=Pipe)
    begun: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """All of them, by their ids, which nobody can guess."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}

    @asynccontextmanager
    async def read(self, node: KnownNode, reading: Reading) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes as they come; leaving ends the reading. Raises Conflict."""
        channel = node.usable
        if channel is None:
            raise Conflict(node.absence, hint=node.hint)
        stream_id, stream = secrets.token_urlsafe(18), Stream(node.id, reading)
        self._streams[stream_id] = stream
        channel.send(Read(stream=stream_id, reading=reading))
        watch = asyncio.create_task(_must_begin(stream, channel))
        try:
            yield stream.pipe.chunks()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            del self._streams[stream_id]
            await stream.pipe.close()
            channel.send(StopReading(stream=stream_id))

    def stream(self, node: str, stream: str) -> Stream:
        """A reading that this node was asked for. Raises NotFound."""
        found = self._streams.get(stream)
        if found is None or found.node != node:
            raise NotFound("nobody waits for this any more")
        return found

    async def failed(self, node: str, stream: str, error: Told) -> None:
        """It could not be begun, or broke off."""
        found = self._streams.get(stream)
        if found and found.node == node:
            await found.pipe.end(error.as_error())


async def _must_begin(stream: Stream, channel: Channel) -> None:
    await first(stream.begun.wait(), channel.closed.wait(), timeout=PROMPT)
    if not stream.begun.is_set():
        await stream.pipe.end(NodeLost(f"node {stream.node} does not answer"))
