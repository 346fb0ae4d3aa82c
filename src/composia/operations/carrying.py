"""Carrying data from one node to another: copied while the service runs, then what changed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.operations import cargo as cargoes
from composia.operations import peer
from composia.operations.base import Operation
from composia.operations.cargo import Cargo, dump_of
from composia.operations.receiving import Receive, Received, compare_received
from composia.operations.sending import Round, Sender, Talk, talking
from composia.strategies.base import Site
from composia.tools.wire import Wire

__all__ = [
    "Cargo", "LastSend", "PreCopy", "Receive", "Received", "Round", "Rounds", "Sent",
    "compare_received", "dump_of", "send_last",
]  # fmt: skip

#: Rounds while the service runs, as long as each has less to send.
MOST = 3


class Rounds(BaseModel):
    """What was copied while the service ran."""

    model_config = ConfigDict(frozen=True)

    rounds: tuple[Round, ...]


class Sent(BaseModel):
    """What was sent when everything had stopped."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    files: int
    seconds: float


class PreCopy(Operation[Rounds]):
    """Copy data to the target while the service runs, so that little is left for the outage."""

    op: Literal["pre_copy"] = "pre_copy"
    wire: str
    cargo: tuple[Cargo, ...]

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = Rounds

    async def perform(self, site: Site) -> Rounds:
        roots = await cargoes.roots(self.cargo, site, dumps=False)
        sender = Sender(site, roots, live=True)

        async def copy(wire: Wire) -> None:
            async with talking(sender, wire) as talk:
                await _rounds(sender, talk)

        await peer.over(site, self.wire, copy, lambda: sender.done)
        return Rounds(rounds=tuple(sender.rounds))


async def _rounds(sender: Sender, talk: Talk) -> None:
    more = not talk.finished
    while more:
        more = await talk.send(more=len(sender.rounds) + 1 < MOST)
        this = sender.rounds[-1]
        sender.site.notes.log(
            f"round {len(sender.rounds)}: {this.bytes_sent} bytes in {this.files} files,"
            f" {this.seconds:.1f} s"
        )
        if more:
            await talk.learn()


class LastSend:
    """The last round: prepared while the service still runs, sent when everything has stopped.

    `async with LastSend(...) as last:` finds the data, dials the target and learns what it has;
    `await last.send()` sends the rest. Both raise WireCut and Failure.
    """

    def __init__(self, cargo: Sequence[Cargo], site: Site, wire: str) -> None:
        self._cargo = cargo
        self._site = site
        self._wire = wire
        self._prepared = asyncio.Event()
        self._stopped = asyncio.Event()
        self._sending: asyncio.Task[Sent] | None = None

    async def __aenter__(self) -> LastSend:
        roots = await cargoes.roots(self._cargo, self._site, dumps=True)
        await cargoes.refuse_strangers(roots, self._site)
        sender = Sender(self._site, roots, live=False)
        self._sending = asyncio.create_task(self._send(sender))
        prepared = asyncio.create_task(self._prepared.wait())
        try:
            await asyncio.wait({self._sending, prepared}, return_when=asyncio.FIRST_COMPLETED)
            self.refuse_ended()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        finally:
            prepared.cancel()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sending:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    def refuse_ended(self) -> None:
        """Raise what has ended it before anything was sent: nothing need stop for that."""
        if self._sending and self._sending.done():
            self._sending.result()

    async def send(self) -> Sent:
        """Send what is left. Everything must have stopped: whatever changes now is a Failure."""
        assert self._sending
        self._stopped.set()
        return await self._sending

    async def _send(self, sender: Sender) -> Sent:
        async def send(wire: Wire) -> None:
            async with talking(sender, wire) as talk:
                self._prepared.set()
                await talk.wait_for(self._stopped)
                if not talk.finished:
                    await talk.send(more=False)

        await peer.over(self._site, self._wire, send, lambda: sender.done)
        this = sender.rounds[-1]
        self._site.notes.log(
            f"last round: {this.bytes_sent} bytes in {this.files} files, {this.seconds:.1f} s"
        )
        return Sent(
            bytes=sum(one.bytes_sent for one in sender.rounds),
            files=this.files,
            seconds=this.seconds,
        )


async def send_last(cargo: Sequence[Cargo], site: Site, wire: str) -> Sent:
    """Send what is left, when everything has stopped. Raises WireCut, Failure."""
    async with LastSend(cargo, site, wire) as last:
        return await last.send()
