"""What changes, told to everybody who listens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

#: So many unread events a listener may have; then the oldest are lost to it.
UNREAD = 1000


@dataclass(frozen=True, slots=True)
class Event:
    """`kind`: task, backup, node or service; `data`: what there is to show."""

    kind: str
    service: str | None
    data: Mapping[str, Any]


class Events:
    """A broadcast inside the process: nothing is kept for those who do not listen."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[Event]] = set()
        self._watching = 0
        self._start = secrets.token_hex(8)
        self._told = 0

    @property
    def mark(self) -> str:
        """Where the telling stands: another one after each event, and after each start."""
        return f"{self._start}.{self._told}"

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    @property
    def watched(self) -> bool:
        """Whether anybody wants to see a task's every step."""
        return self._watching > 0

    def publish(self, event: Event) -> None:
        """Tell everybody; never waits."""
        self.changed()
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def changed(self) -> None:
        """Something has changed, whether anybody is told of it or not."""
        self._told += 1

    @asynccontextmanager
    async def subscribe(self, *, closely: bool = True) -> AsyncIterator[AsyncIterator[Event]]:
        """Listen from now on; not `closely`: for beginnings and ends, whoever else listens."""
        queue: asyncio.Queue[Event] = asyncio.Queue(UNREAD)
        self._listeners.add(queue)
        self._watching += closely
        try:
            yield _each(queue)
        finally:
            self._watching -= closely
            self._listeners.discard(queue)


async def _each(queue: asyncio.Queue[Event]) -> AsyncIterator[Event]:
    while True:
        yield await queue.get()
