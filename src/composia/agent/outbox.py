"""What the agent has to say, for the connection there is at the moment."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from pydantic import BaseModel

from composia.operations.messages import LogLine, Noted

#: Lines that are kept while there is no connection.
KEPT = 2000


class Outbox:
    """Messages in order. Without a connection only lines and notes of tasks are kept."""

    def __init__(self) -> None:
        self._waiting: deque[BaseModel] = deque()
        self._more = asyncio.Event()
        self._connected = False

    def send(self, message: BaseModel) -> None:
        """Have it sent; outcomes and states are told again by whoever keeps them."""
        if not self._connected and not isinstance(message, LogLine | Noted):
            return
        self._waiting.append(message)
        if not self._connected and len(self._waiting) > KEPT:
            self._waiting.popleft()
        self._more.set()

    async def empty_into(self, write: Callable[[str], Awaitable[None]]) -> None:
        """Write everything as it comes, until cancelled or the connection breaks."""
        self._connected = True
        try:
            while True:
                while self._waiting:
                    await write(self._waiting[0].model_dump_json())
                    self._waiting.popleft()
                self._more.clear()
                await self._more.wait()
        finally:
            self._connected = False
            kept = [one for one in self._waiting if isinstance(one, LogLine | Noted)]
            self._waiting = deque(kept[-KEPT:])
