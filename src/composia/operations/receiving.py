"""The target's part of the talk: what comes is put beside the live data, never into it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Failure, WireCut
from composia.operations import kept, landing, peer
from composia.operations.base import Operation
from composia.operations.cargo import Cargo
from composia.operations.exchanging import refuse_overlap, refuse_what_others_keep
from composia.operations.intake import Intake
from composia.operations.landing import LANDED, Landed, Landing
from composia.operations.restore import Ready
from composia.strategies import contents
from composia.strategies.aside import Aside
from composia.strategies.base import Site
from composia.tools import delta_frames as frames
from composia.tools import durable, exchange, manifest
from composia.tools.manifest import Manifest
from composia.tools.threads import in_thread
from composia.tools.wire import Wire
from composia.tools.wording import FEW

SOURCE_MANIFEST = "source-manifest.gz"
#: Seconds for a source whose connection broke at the very end to ask how it ended.
LINGER = 10.0
#: Seconds after which it is shown again that the copy is still being worked on.
ALIVE = 600.0


class Received(BaseModel):
    """What lies beside the live data now."""

    model_config = ConfigDict(frozen=True)

    bytes_received: int
    rounds: int


class Receive(Operation[Received]):
    """Take what a source sends, and keep it beside the live data until it is exchanged."""

    op: Literal["receive_data"] = "receive_data"
    wire: str
    cargo: tuple[Cargo, ...]
    #: The round after which the source is not written to any more.
    last: bool = False

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = Received

    async def perform(self, site: Site) -> Received:
        known = await landing.landed(site)
        landings = await landing.landings(self.cargo, site)
        await refuse_what_others_keep(site, [one.swap for one in landings.values() if one.swap])
        known = known.model_copy(update={"landings": tuple(landings.values())})
        await site.notes.note("receiving", folder=str(Aside(site.aside, site.task).folder))
        return await _Receiver(site, known, last=self.last).receive(self.wire)


async def compare_received(site: Site) -> Mapping[str, Manifest]:
    """What has landed, by the keys of the trees.

    Raises Failure unless it is what the source had when it was stopped.
    """
    aside = Aside(site.aside, site.task)
    known = aside.read(LANDED, Landed)
    written = aside.folder / SOURCE_MANIFEST
    if known is None or not written.is_file():
        raise Failure(
            f"task {site.task} has not received all of its data on {site.node}",
            hint="Start the move again.",
        )
    source = peer.read_manifest(await in_thread(written.read_bytes))
    there = {one.key: await in_thread(landing.look, one) for one in known.landings}
    wrong = [
        f"{one.known_as}/{difference}" if difference.path else f"{one.known_as} {difference}"
        for one in known.landings
        for difference in await in_thread(
            manifest.differences, source.within(one.key), there[one.key]
        )
    ]
    if wrong:
        raise Failure(
            f"{len(wrong)} paths on {site.node} are not as on the source: "
            + ", ".join(wrong[:FEW]),
            hint="Nothing was put in place. Start the move again.",
        )
    return there


class _Receiver:
    """The target over all connections of one operation."""

    def __init__(self, site: Site, known: Landed, *, last: bool) -> None:
        self._site = site
        self._known = known
        self._last = last
        self._landings: Mapping[str, Landing] = {one.key: one for one in known.landings}
        self._aside = Aside(site.aside, site.task)
        self._received = 0
        self._rounds = 0
        #: The session whose last round is on the disk.
        self._finished: str | None = None
        self._alive = time.monotonic()

    async def receive(self, wire: str) -> Received:
        """Until the source has nothing more. Raises WireCut, Failure."""
        try:
            await peer.over(self._site, wire, self._talk, lambda: self._received, self._patience)
        except (WireCut, TimeoutError):
            # A source that knows how it ended does not come again.
            if self._finished is None:
                raise
        return Received(bytes_received=self._received, rounds=self._rounds)

    def _patience(self) -> float | None:
        return None if self._finished is None else LINGER

    async def _talk(self, wire: Wire) -> None:
        if self._last:
            # What others have written is on the disk before anything stops.
            await in_thread(_settle, self._known.landings)
        self._keep(settled=self._known.settled)
        hello = {"version": peer.VERSION, "copy": self._known.copy_id, "finished": self._finished}
        await wire.send(frames.said(hello=hello))
        keys, more = await self._agreed(wire)
        while more:
            copies = await self._tell(wire, keys)
            what = peer.heard(await wire.receive())
            with Intake(self._landings, copies) as intake:
                more = await peer.beside(self._round(wire, what, intake), intake.answer(wire))
        await wire.receive()

    async def _agreed(self, wire: Wire) -> tuple[Sequence[str], bool]:
        """The trees that the source has for us, and whether it does more than ask how it ended."""
        what = peer.heard(await wire.receive())
        with frames.understood():
            keys, ends = [str(key) for key in what["roots"]], bool(what["ends"])
        if unknown := [key for key in keys if key not in self._landings]:
            raise Failure(f"the source sends {', '.join(unknown)}, which was not asked for")
        # A volume may bind something else here than on the source.
        refuse_overlap([one.swap for one in map(self._landings.__getitem__, keys) if one.swap])
        if self._last and not ends:
            # What the source leaves out is no part of the exchange.
            there = tuple(self._landings[key] for key in keys)
            self._known = self._known.model_copy(update={"landings": there})
        return keys, not ends

    async def _tell(self, wire: Wire, keys: Sequence[str]) -> Mapping[str, Manifest]:
        copies = {key: await in_thread(landing.look, self._landings[key]) for key in keys}
        for key, copy in copies.items():
            await peer.send_manifest(wire, copy, manifest={"key": key})
        return copies

    async def _round(self, wire: Wire, what: Mapping[str, Any], intake: Intake) -> bool:
        """One round; answers whether another one follows."""
        with frames.understood():
            need, total = what["round"]["need"], int(what["round"]["total"])
            await in_thread(self._make_room, need)
        self._keep(settled=False)
        before = self._received
        while (said := await intake.take(await wire.receive())) is None:
            self._received = before + intake.written
            self._show(intake.written, total)
        return await self._end(wire, said)

    async def _end(self, wire: Wire, said: Mapping[str, Any]) -> bool:
        with frames.understood():
            end, size = said["end"], said["size"]
            session, more = str(end["session"]), bool(end["more"])
        written = await peer.receive_manifest(wire.receive, size)
        await in_thread(_settle, self._known.landings)
        if self._last:
            self._keep_last(written)
        self._keep(settled=True)
        self._rounds += 1
        self._finished = None if more else session
        await wire.send(frames.said(done=True))
        return more

    def _keep_last(self, written: bytes) -> None:
        durable.write(self._aside.folder / SOURCE_MANIFEST, written)
        swaps = tuple(one.swap for one in self._known.landings if one.swap)
        self._aside.write(kept.STAGED, Ready(swaps=swaps))

    def _keep(self, *, settled: bool) -> None:
        self._known = landing.keep(self._site, self._known, settled=settled)

    def _make_room(self, need: Mapping[str, int]) -> None:
        disks: dict[int, tuple[int, Path]] = {}
        for key, size in need.items():
            near = exchange.existing(self._landings[key].path)
            disk = os.stat(near).st_dev
            disks[disk] = (disks.get(disk, (0, near))[0] + size, near)
        for size, near in disks.values():
            contents.make_room(size, near)

    def _show(self, done: int, total: int) -> None:
        self._site.notes.progress(done, total)
        if time.monotonic() - self._alive > ALIVE:
            # What has not changed for a day is taken for left behind.
            self._alive = time.monotonic()
            os.utime(self._aside.folder / LANDED)


def _settle(landings: Sequence[Landing]) -> None:
    """Have all of it on the disk."""
    there = [one.path for one in landings if os.path.lexists(one.path)]
    for path in {os.lstat(path).st_dev: path.parent for path in there}.values():
        exchange.flush(path)
