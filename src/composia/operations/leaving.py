"""The source of a move: what it sends, what holds it down, and how it comes back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Failure
from composia.operations import fence, hold
from composia.operations.base import Files, Nothing, Operation
from composia.operations.caddy import RemoveFragment
from composia.operations.cargo import Cargo, dump_of
from composia.operations.carrying import LastSend
from composia.operations.fence import Fence, Left
from composia.operations.held import as_it_is
from composia.operations.hold import NotStartedAgain
from composia.operations.left_behind import KEPT
from composia.operations.project import containers_of
from composia.operations.stopping import let_stop, stop_for_good
from composia.operations.turns import turn_of
from composia.strategies.base import Site
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.put_back import Target, is_at_or_below, target
from composia.strategies.sources import key_of
from composia.tools.cancelling import to_the_end
from composia.tools.paths import parse_include

#: Linux's name of the clock that ctimes are taken from; it is a little late.
CLOCK_OF_CTIMES = 5


class DumpToTake(BaseModel):
    """A database that moves by dump and import."""

    model_config = ConfigDict(frozen=True)

    item: str
    strategy: PgDumpAll


class DataExported(BaseModel):
    """What left the source after the stop."""

    model_config = ConfigDict(frozen=True)

    #: Seconds from the first stop signal to the end of it.
    held_seconds: float
    #: Seconds of it that dumps took, and that the last round took.
    dump_seconds: float
    send_seconds: float
    bytes_sent: int


class ExportData(Operation[DataExported]):
    """Put up the fence, stop everything for good, dump what is dumped, send what has changed.

    Whatever goes wrong here, the same containers start again with their policies.
    """

    op: Literal["export_data"] = "export_data"
    wire: str
    cargo: tuple[Cargo, ...]
    dumps: tuple[DumpToTake, ...] = ()

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = DataExported

    async def perform(self, site: Site) -> DataExported:
        own = await containers_of(site)
        async with (
            LastSend(self.cargo, site, self.wire) if self.cargo else nullcontext() as last,
            turn_of(own, site),
        ):
            # The target is there and has told what it has: only now does anything stop.
            return await self._stop_and_export(site, last)

    async def _stop_and_export(self, site: Site, last: LastSend | None) -> DataExported:
        if last:
            last.refuse_ended()
        held = await hold.to_leave_stopped(site)
        there = Fence(task=site.task, side="source", epoch=self.epoch, held=held)
        fence.put_up(site.state, there)
        began = time.monotonic()
        try:
            await hold.leave_stopped(held, site)
            starts = await hold.starts(site)
            there = there.model_copy(update={"starts": starts})
            fence.put_up(site.state, there)
            stopped = time.monotonic()
            await self._dump(site)
            dumped = time.monotonic()
            # Before the last look: what somebody writes behind it is not sent, and is not lost.
            at = time.clock_gettime_ns(CLOCK_OF_CTIMES) - 1
            sent = await last.send() if last else None
            ended = time.monotonic()
            await hold.prove_stopped(site, starts)
            left = Left(task=site.task, at=at, cargo=self.cargo)
            fence.put_up(site.state, there.model_copy(update={"left": left}))
        except BaseException:
            await to_the_end(_resume(site))
            raise
        return DataExported(
            held_seconds=ended - began,
            dump_seconds=dumped - stopped,
            send_seconds=ended - dumped,
            bytes_sent=sent.bytes if sent else 0,
        )

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Start again what was stopped: nobody was told that it was."""
        await let_stop(site, notes)
        await _resume(site)

    async def _dump(self, site: Site) -> None:
        for dump in self.dumps:
            site.notes.log(f"Dumping {dump.item}")
            await dump.strategy.dump_alone(dump.item, dump_of(site, dump.item), site)
        await site.notes.note("exported")


class StopSource(Operation[Nothing]):
    """Prove that it is stopped for good: every container has exited, and none has run since.

    Then Caddy's fragment is taken away.
    """

    op: Literal["stop_source"] = "stop_source"

    urgent: ClassVar[bool] = True

    async def perform(self, site: Site) -> Nothing:
        found = fence.read(site.state)
        if found is None or found.task != site.task:
            raise Failure(
                f"{site.service} is not fenced on {site.node} by this move: it may be started",
                hint="Something has removed what the agent keeps in its state_dir.",
            )
        await hold.prove_stopped(site, found.starts)
        if site.caddy:
            await RemoveFragment(service=self.service, caddy=self.caddy).perform(site)
        return Nothing()


class ResumeSource(Operation[Nothing]):
    """Undo of a move: the same containers with the same policies. Harmless when it was done."""

    op: Literal["resume_source"] = "resume_source"

    urgent: ClassVar[bool] = True
    shown: ClassVar[bool] = True

    async def perform(self, site: Site) -> Nothing:
        await _resume(site)
        return Nothing()


async def _resume(site: Site) -> None:
    """Start what this move has stopped here, then take its fence down.

    Raises NotStartedAgain, as often as it is asked: until all runs again the fence stays, and is
    open, so that a person may start the service.
    """
    found = fence.read(site.state)
    if found is None or found.task != site.task:
        return
    # Of a rescue: its source came back, and was stopped.
    if found.side != "source" and not (found.side == "left" and found.held):
        return
    try:
        if found.held:
            await hold.start_again(found.held, site)
    except NotStartedAgain:
        fence.put_up(site.state, found.model_copy(update={"open": True}))
        raise
    fence.take_down(site.state)


class SourceRetired(BaseModel):
    """What is left on the source, and until when."""

    model_config = ConfigDict(frozen=True)

    kept_until: datetime
    kept: tuple[str, ...]


class RetireSource(Operation[SourceRetired]):
    """Remove containers and networks; the data stays for 7 days, and a return starts from it."""

    op: Literal["retire_source"] = "retire_source"
    cargo: tuple[Cargo, ...]

    result: ClassVar[type[BaseModel]] = SourceRetired

    async def perform(self, site: Site) -> SourceRetired:
        await containers_of(site)
        await hold.prove_stopped(site, await hold.starts(site))
        paths, volumes, spared = await self._left(site)
        before = fence.read(site.state)
        own = before if before and before.task == site.task else None
        left = Fence(
            task=site.task,
            side="left",
            epoch=self.epoch,
            # Until they are removed: a way back may start the same containers.
            held=own.held if own else None,
            kept_until=datetime.now(UTC) + KEPT,
            volumes_left=volumes,
            paths_left=paths,
            spared_left=spared,
            left=own.left if own else None,
        )
        fence.put_up(site.state, left)
        await site.compose.down()
        fence.put_up(site.state, left.model_copy(update={"held": None}))
        assert left.kept_until
        return SourceRetired(
            kept_until=left.kept_until, kept=(*left.paths_left, *left.volumes_left)
        )

    async def _left(self, site: Site) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """The paths and volumes that have arrived elsewhere, and what of them has not.

        Nothing else is ever removed.
        """
        found, spared = list[Target](), list[str]()
        for one in self.cargo:
            left_out = [key_of(parse_include(text)) for text in one.exclude]
            for named in map(parse_include, one.include):
                place = await target(named, site)
                if any(is_at_or_below(place.key, key) for key in left_out):
                    continue
                found.append(place)
                below = [key for key in left_out if is_at_or_below(key, place.key)]
                spared += [str(place.part(key).path) for key in below]
        shared = {
            one.name for one in (await site.compose.config()).volumes.values() if one.external
        }
        found = [one for one in found if one.volume not in shared]
        paths = tuple(str(one.path) for one in found if not one.docker_keeps)
        volumes = tuple(one.volume for one in found if one.docker_keeps and one.volume)
        return paths, volumes, tuple(spared)


class StaleStopped(BaseModel):
    """What still ran of a service whose node had been given up."""

    model_config = ConfigDict(frozen=True)

    #: The containers that ran beside those on the other node, and since when.
    ran: dict[str, str]
    stopped_at: datetime


class StopStale(Operation[StaleStopped]):
    """The source of a rescue has come back: nothing of the service may run here."""

    op: Literal["stop_stale"] = "stop_stale"
    #: The rescue.
    of_task: str

    urgent: ClassVar[bool] = True
    files: ClassVar[Files] = Files.NOT_NEEDED
    result: ClassVar[type[BaseModel]] = StaleStopped

    async def perform(self, site: Site) -> StaleStopped:
        # Refuses a project that is not ours, before anything is written about it.
        async with turn_of(await containers_of(site), site):
            return await self._perform(site)

    async def _perform(self, site: Site) -> StaleStopped:
        there = await containers_of(site)
        before = fence.read(site.state)
        held = before.held if before else None
        if not (before and before.task == self.of_task and before.side == "target"):
            # What was noted first knows the policies, which are gone when it is asked again; what
            # the move itself has made here is wanted by nobody.
            held = held or as_it_is(there)
        ran = {one.name: one.started_at for one in there if one.at_work and not one.is_one_off}
        if before and (before.task, before.side) == (self.of_task, "left"):
            # Asked again: what ran then has stopped meanwhile, perhaps.
            ran = {**before.starts, **ran}
        found = Fence(task=self.of_task, side="left", epoch=self.epoch, held=held, starts=ran)
        fence.put_up(site.state, found)
        await stop_for_good(site)
        return StaleStopped(ran=ran, stopped_at=datetime.now(UTC))

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        await let_stop(site, notes)
