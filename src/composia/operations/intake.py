"""What comes in one round, done to the copies as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack, aclosing
from pathlib import Path
from types import TracebackType
from typing import Any

from composia.errors import Failure
from composia.operations import peer
from composia.operations.landing import Landing
from composia.tools import delta_frames as frames
from composia.tools.delta_apply import Copy, digests
from composia.tools.manifest import Manifest
from composia.tools.threads import ahead, in_thread
from composia.tools.wire import Wire

#: Files whose digests are asked for and not told yet. A source asks for four ahead.
MOST_ASKED = 1000


class Intake:
    """The copies of one round. Raises Failure for what cannot be done or is not understood."""

    def __init__(self, landings: Mapping[str, Landing], copies: Mapping[str, Manifest]) -> None:
        self._landings = landings
        self._copies = copies
        self._opened = ExitStack()
        self._asked: asyncio.Queue[tuple[Path, int, bytes]] = asyncio.Queue()
        self._at = Path()
        self._copy: Copy | None = None
        #: Bytes of content written.
        self.written = 0

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    async def take(self, frame: bytes) -> Mapping[str, Any] | None:
        """Do what a frame says; answers what is for the one who talks."""
        kind = frame[:1]
        if kind in (frames.DATA, frames.STEPS):
            await self._do(frame)
        elif kind == frames.ASK:
            with frames.understood():
                if self._asked.qsize() >= MOST_ASKED:
                    raise ValueError("more is asked than anybody waits for")
                self._asked.put_nowait((self._at, *frames.read_ask(frame)))
        else:
            said = peer.heard(frame)
            if "root" not in said:
                return said
            await self._turn_to(said)
        return None

    async def answer(self, wire: Wire) -> None:
        """Tell the digests that are asked for, beside everything else."""
        while True:
            at, number, path = await self._asked.get()
            async with aclosing(ahead(digests(at, path))) as told:
                async for some, last in told:
                    await wire.send(frames.digests(number, some, last=last))

    async def _do(self, frame: bytes) -> None:
        if self._copy is None:
            raise Failure("the other node sent data before it said of what")
        before = self._copy.written
        await in_thread(self._copy.do, frame)
        self.written += self._copy.written - before

    async def _turn_to(self, said: Mapping[str, Any]) -> None:
        with frames.understood():
            self._at, known = self._landings[said["root"]].path, self._copies[said["root"]]
        # One after the other: no more than one needs its folders open.
        self._opened.close()
        self._copy = self._opened.enter_context(Copy(self._at, known))
        await in_thread(self._copy.sweep)
