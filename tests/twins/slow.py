"""A call of a twin that takes as long as a test wants."""

from __future__ import annotations

import asyncio
from typing import Any


class Slow:
    """Calls of this name, but for the first few, take from now on until they are told to go on."""

    def __init__(self, twin: Any, name: str, *, after: int = 0) -> None:
        self._begun, self.go_on = asyncio.Event(), asyncio.Event()
        self._quick = after
        self._call = getattr(twin, name)
        setattr(twin, name, self._slowly)

    async def has_begun(self) -> None:
        """Wait for the first of them."""
        async with asyncio.timeout(10):
            await self._begun.wait()

    async def _slowly(self, *args: Any, **named: Any) -> Any:
        if self._quick > 0:
            self._quick -= 1
        else:
            self._begun.set()
            await self.go_on.wait()
        return await self._call(*args, **named)


async def cancelled_twice_while(slow: Slow, task: asyncio.Task[Any]) -> None:
    """Cancel a task again and again in such a call, and see that it waits for the call's end."""
    await slow.has_begun()
    for _ in range(2):
        task.cancel()
        # Longer than a task needs to end that does not wait.
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    slow.go_on.set()
