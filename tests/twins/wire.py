"""Wires in memory between two sites, that can be cut at any frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from composia.errors import WireCut
from composia.tools.wire import LARGEST_FRAME, Wire

#: Frames under way before the one who sends must wait.
AHEAD = 16


class MemoryWire:
    """One end."""

    def __init__(self, wires: MemoryWires, node: str) -> None:
        self._wires = wires
        self._node = node
        self.other: MemoryWire | None = None
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.room = asyncio.Semaphore(AHEAD)
        self.gone = False

    async def send(self, frame: bytes) -> None:
        """See `Wire`."""
        assert self.other
        assert len(frame) <= LARGEST_FRAME
        self._wires.passes(self._node, frame)
        await self.other.room.acquire()
        if self.gone or self.other.gone:
            raise WireCut("cut")
        self.other.inbox.put_nowait(frame)

    async def receive(self) -> bytes:
        """See `Wire`."""
        frame = await self.inbox.get()
        self.room.release()
        if frame is None:
            self.inbox.put_nowait(None)
            raise WireCut("cut")
        return frame

    def leave(self) -> None:
        """It is cut on both sides; what has come is still read."""
        for end in (self, self.other):
            if end and not end.gone:
                end.gone = True
                end.inbox.put_nowait(None)
                for _ in range(AHEAD):
                    end.room.release()


class MemoryWires:
    """Joins the two who dial. `cut_after`: frames after which each connection is cut, in turn."""

    def __init__(self, *cut_after: int) -> None:
        self.cut_after = list(cut_after)
        #: Frames as they went, by the node that sent them.
        self.sent: list[tuple[str, bytes]] = []
        self.joined = 0
        self._left: int | None = None
        self._waiting: dict[str, tuple[MemoryWire, asyncio.Future[MemoryWire]]] = {}
        self.patience = 30.0

    def of(self, node: str) -> _Dial:
        """What a site's `wire` is."""
        return _Dial(self, node)

    def passes(self, node: str, frame: bytes) -> None:
        """A frame goes; or the connection is cut instead."""
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                for end in self._ends:
                    end.leave()
                raise WireCut("cut")
        self.sent.append((node, frame))

    def join(self, one: MemoryWire, other: MemoryWire) -> None:
        """Each hears the other from now on."""
        one.other, other.other = other, one
        self._ends = (one, other)
        self._left = self.cut_after.pop(0) if self.cut_after else None
        self.joined += 1

    @asynccontextmanager
    async def dial(self, node: str) -> AsyncIterator[Wire]:
        """Wait for the other one."""
        mine = MemoryWire(self, node)
        waiting = next((name for name in self._waiting if name != node), None)
        if waiting:
            other, told = self._waiting.pop(waiting)
            self.join(mine, other)
            told.set_result(mine)
        else:
            told = asyncio.get_running_loop().create_future()
            self._waiting[node] = mine, told
            try:
                async with asyncio.timeout(self.patience):
                    await told
            except TimeoutError:
                raise WireCut("the other node did not come") from None
            finally:
                self._waiting.pop(node, None)
        try:
            yield mine
        finally:
            mine.leave()


class _Dial:
    def __init__(self, wires: MemoryWires, node: str) -> None:
        self._wires = wires
        self._node = node

    def __call__(self, _name: str) -> AbstractAsyncContextManager[Wire]:
        return self._wires.dial(self._node)
