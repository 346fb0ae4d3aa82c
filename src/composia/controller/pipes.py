"""Bytes on their way from a node to a person."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from composia.errors import ComposiaError

#: So many chunks may be under way; then the node waits.
CHUNKS = 8


class Closed(Exception):  # it is no error
    """Nobody listens any more."""


class Pipe:
    """A short queue: whoever puts waits for whoever takes."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._changed = asyncio.Condition()
        self._ended = False
        self._closed = False
        self._error: ComposiaError | None = None

    async def put(self, chunk: bytes) -> None:
        """Add a chunk. Raises Closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._chunks) < CHUNKS)
            if self._closed:
                raise Closed
            self._chunks.append(chunk)
            self._changed.notify_all()

    async def end(self, error: ComposiaError | None = None) -> None:
        """Nothing more comes; the first end counts."""
        async with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
                self._changed.notify_all()

    async def close(self) -> None:
        """Nobody takes any more."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What comes, to the end. Raises what it ended with."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._chunks or self._ended)
                if not self._chunks:
                    break
                chunk = self._chunks.popleft()
                self._changed.notify_all()
            yield chunk
        if self._error:
            raise self._error

    async def ended(self) -> None:
        """Wait for the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended)
