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
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._over = asyncio.Event()
        self._closed = False
        self._error: ComposiaError | None = None

    async def put(self, chunk: bytes) -> None:
        """Add a chunk. Raises Closed."""
        while not self._closed and len(self._chunks) >= CHUNKS:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise Closed
        self._chunks.append(chunk)
        self._news.set()

    async def end(self, error: ComposiaError | None = None) -> None:
        """Nothing more comes; the first end counts."""
        if not self._over.is_set():
            self._error = error
            self._over.set()
            self._news.set()

    async def close(self) -> None:
        """Nobody takes any more."""
        self._closed = True
        self._room.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What comes, to the end. Raises what it ended with."""
        while self._chunks or not self._over.is_set():
            if self._chunks:
                self._room.set()
                yield self._chunks.popleft()
            else:
                self._news.clear()
                await self._news.wait()
        if self._error:
            raise self._error

    async def ended(self) -> None:
        """Wait for the end."""
        await self._over.wait()
