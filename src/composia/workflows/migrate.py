"""Moving a service to another node: with its data, its site and its names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, GivenUp, Interrupted, told
from composia.model.dns import DnsTarget
from composia.model.service import CaddyRef, ServiceRef
from composia.operations.arriving import (
    ClearTarget,
    DumpToLoad,
    PrepareTarget,
    RestoreData,
    StartOnTarget,
    StopTarget,
)
from composia.operations.base import Operation
from composia.operations.caddy import PlaceFragment, ReloadCaddy
from composia.operations.cargo import Cargo
from composia.operations.carrying import PreCopy, Receive
from composia.operations.certificates import ReceiveCertificates, SendCertificates
from composia.operations.forward import ForwardHosts
from composia.operations.fragments import Placed
from composia.operations.leaving import (
    DumpToTake,
    ExportData,
    ResumeSource,
    RetireSource,
    StopSource,
)
from composia.operations.surveying import SurveySource, SurveyTarget
from composia.workflows.backup import BackupPlan
from composia.workflows.check import Checked, Downtime, check
from composia.workflows.dns import update_dns
from composia.workflows.nodes import write_back
from composia.workflows.plan import Hold, LeftOpen, Plan, Run, instance, placement

#: Seconds that names wait for the source, once the target has answered.
SOON = 5.0
#: Seconds that an undo waits for a target on which nothing runs any more, to clear it.
PATIENCE = 60.0


class Kept(BaseModel):
    """A place that holds data, and what becomes of it."""

    model_config = ConfigDict(frozen=True)

    source: str
    #: How it moves, or why it stays.
    how: str
    #: The data item with which it moves.
    item: str | None = None


@dataclass
class _Reached:
    """How far it has come: what an undo has to undo."""

    prepared: bool = False
    exported: bool = False
    unplugged: bool = False
    started: bool = False

    @classmethod
    def unknown(cls) -> _Reached:
        """By an attempt that could not be undone: it may have come as far as it gets."""
        return cls(prepared=True, exported=True, unplugged=True, started=True)


class MigratePlan(Plan):
    """Source to target; the other way round it is the rollback of such a move."""

    plan: Literal["migrate"] = "migrate"
    service: ServiceRef
    source: str
    target: str
    #: The nodes in composia-meta.yaml, as they are and as they will be.
    nodes_before: tuple[str, ...]
    nodes_after: tuple[str, ...]
    cargo: tuple[Cargo, ...]
    dumps_out: tuple[DumpToTake, ...] = ()
    dumps_in: tuple[DumpToLoad, ...] = ()
    #: The safety copy; none where nothing moves.
    backup: BackupPlan | None = None
    caddy_on_source: CaddyRef | None = None
    caddy_on_target: CaddyRef | None = None
    target_address: str | None = None
    records: tuple[DnsTarget, ...] = ()
    our_addresses: tuple[str, ...] = ()
    #: For people: every volume and writable bind, and what the outage is expected to be.
    moves: tuple[Kept, ...] = ()
    stays: tuple[Kept, ...] = ()
    #: Bytes of the items, as far as they are known: of a dump, those of the last one.
    sizes: Mapping[str, int] = {}
    downtime: Downtime
    #: The move that this one takes back.
    of_task: str | None = None

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.source, self.target)

    @property
    def holds(self) -> tuple[Hold, ...]:
        name = self.service.name
        return (
            Hold(name=placement(name)),
            Hold(name=instance(name, self.source)),
            Hold(name=instance(name, self.target)),
            *(hold for hold in (self.backup.holds if self.backup else ()) if "@" not in hold.name),
        )

    @property
    def takes_over(self) -> str | None:
        return self.of_task

    def __str__(self) -> str:
        back = "Roll back" if self.of_task else "Migrate"
        return f"{back} {self.service} from {self.source} to {self.target}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Migrate", under the same numbers."""
        service, source, target = self.service, self.source, self.target
        begun = await begin_move(run, "0_begin", service, source, target)
        if begun["half_done"]:
            # An earlier attempt was cut off, and nobody knows where: nothing goes on from there.
            await self._undo(run, _Reached.unknown(), Interrupted("an attempt was cut off"))
            begun = await begin_move(run, "0_begin_anew", service, source, target)
        facts = begun["facts"] if begun["answered"] else await self._until_it_answers(run)
        try:
            return await self._settle(run, facts)
        except Exception as error:
            # Whatever it is, the service runs on the target now, and a person is to decide.
            raise self._left_open(told(error).as_error(), facts) from error

    async def _until_it_answers(self, run: Run) -> dict[str, Any]:
        reached = _Reached()
        try:
            checked = await self._prepare(run, reached)
            return await self._cross(run, reached, checked)
        except Exception as error:
            # Even a bug of ours must not leave a service down: only an end of the controller does.
            wrong = told(error).as_error()
            await self._undo(run, reached, wrong)
            if self.of_task:
                raise self._left_open(wrong, {}) from error
            raise

    async def _prepare(self, run: Run, reached: _Reached) -> Checked:
        """Nothing has stopped yet."""
        source, target = self.source, self.target
        survey = SurveySource(service=self.service, cargo=self.cargo)
        seen = await run.on(source, "0_check", survey)
        names = tuple(seen.images)
        look = SurveyTarget(service=self.service, images=names, folders=tuple(seen.bound))
        found = await run.on(target, "0_check", look)
        check(self.service, source, target, seen, found)
        if self.backup:
            await self.backup.save(run, "0_back_up")
        reached.prepared = True
        prepare = PrepareTarget(service=self.service, images=seen.images, cargo=self.cargo)
        await run.on(target, "0_prepare", prepare)
        checked = (await self._look_at_caddy(run)).model_copy(update={"quiet": seen.quiet})
        if self.cargo:
            wire = f"{run.task}-0"
            copying = PreCopy(service=self.service, wire=wire, cargo=self.cargo)
            receiving = Receive(service=self.service, wire=wire, cargo=self.cargo, last=False)
            both: dict[str, Operation[Any]] = {source: copying, target: receiving}
            await run.on_both("0_pre_copy", both)
        return checked

    async def _look_at_caddy(self, run: Run) -> Checked:
        """On both sides: what it would refuse is found while nothing stops."""
        if caddy := self.caddy_on_target:
            rehearsal = PlaceFragment(service=self.service, caddy=caddy, rehearse=True)
            await run.on(self.target, "0_check_caddy", rehearsal)
        if self.caddy_on_source is None:
            return Checked()
        checked = await self._bring_certificates(run, self.caddy_on_source)
        # Validated now, so that only a reload is left for the time in which nobody answers.
        if forward := self._forwarding(checked):
            rehearsed = forward.model_copy(update={"rehearse": True})
            await run.on(self.source, "0_check_forward", rehearsed)
        else:
            nothing = self.caddy_on_source.without_fragment
            removal = PlaceFragment(service=self.service, caddy=nothing, rehearse=True)
            await run.on(self.source, "0_check_caddy", removal)
            checked = checked.warning(self._why_nothing_forwards())
        for warning in checked.warnings:
            run.log(f"Warning: {warning}")
        return checked

    async def _bring_certificates(self, run: Run, caddy: CaddyRef) -> Checked:
        """So that HTTPS answers at once."""
        if self.caddy_on_target is None:
            return Checked()
        service, target, wire = self.service, self.target, f"{run.task}-certificates"
        sending = SendCertificates(service=service, caddy=caddy, wire=wire)
        receiving = ReceiveCertificates(service=service, caddy=self.caddy_on_target, wire=wire)
        both: dict[str, Operation[Any]] = {self.source: sending, target: receiving}
        done = await run.on_both("0_bring_certificates", both)
        sent, received = done[self.source], done[target]
        return Checked(sites=sent.sites, trust=received.authorities, warnings=sent.warnings)

    async def _cross(self, run: Run, reached: _Reached, checked: Checked) -> dict[str, Any]:
        """The outage."""
        service, source, target = self.service, self.source, self.target
        reached.exported = True
        wire = f"{run.task}-1"
        export = ExportData(service=service, wire=wire, cargo=self.cargo, dumps=self.dumps_out)
        receive = Receive(service=service, wire=wire, cargo=self.cargo, last=True)
        both: dict[str, Operation[Any]] = {source: export}
        if self.cargo:
            both[target] = receive
        exported = (await run.on_both("1_export_data", both))[source]
        reached.unplugged = True
        stopping = StopSource(service=service, caddy=self.caddy_on_source)
        await run.on(source, "2_stop_source", stopping)
        if self.caddy_on_source:
            reload = ReloadCaddy(service=service, caddy=self.caddy_on_source)
            await run.on(source, "3_reload_caddy", reload)
        if self.cargo:
            restore = RestoreData(service=service, dumps=self.dumps_in)
            restored = await run.on(target, "4_restore_data", restore)
            checked = checked.warning(*restored.warnings)
            for warning in restored.warnings:
                run.log(f"Warning: {warning}")
        reached.started = True
        start = StartOnTarget(service=service, quiet=checked.quiet)
        started = await run.on(target, "5_start_on_target", start)
        answered: dict[str, Any] = await run.control(
            "5_answered",
            "answer_move",
            task=run.task,
            held_seconds=exported.held_seconds,
            start_seconds=started.start_seconds,
            facts={
                **checked.model_dump(mode="json"),
                "bytes_sent_last": exported.bytes_sent,
                "dump_seconds": exported.dump_seconds,
                "predicted_seconds": self.downtime.total_seconds,
            },
        )
        return answered

    async def _settle(self, run: Run, facts: dict[str, Any]) -> dict[str, Any]:
        """Nothing is undone any more; every step may be repeated."""
        known = {name: facts[name] for name in Checked.model_fields if name in facts}
        checked = Checked.model_validate(known)
        if self.caddy_on_target:
            await self._let_in(run, checked, self.caddy_on_target)
        updated = await update_dns(run, "7_update_dns", self.records, self.our_addresses)
        revision = await write_back(run, self.service, self.nodes_after, self.nodes_before)
        if forward := self._forwarding(checked, updated.forgotten_at):
            await run.on(self.source, "9_end_forward", forward)
        retire = RetireSource(service=self.service, cargo=self.cargo)
        retired = await run.on(self.source, "9_retire_source", retire)
        await run.control("9_done", "note_move", task=run.task, stage="done", facts={})
        dns = [record.model_dump(mode="json") for record in updated.records]
        kept_until = retired.kept_until.isoformat()
        return {**_shown(facts), "dns": dns, "revision": revision, "kept_until": kept_until}

    async def _let_in(self, run: Run, checked: Checked, caddy: CaddyRef) -> None:
        """At both doors at once: behind a proxy nobody is answered before."""
        doors: dict[str, Operation[Placed]] = {
            self.target: PlaceFragment(service=self.service, caddy=caddy)
        }
        if forward := self._forwarding(checked):
            doors[self.source] = forward
        placed = await run.on_each("6_reload_caddy", doors, patience={self.source: SOON})
        if isinstance(error := placed[self.target], ComposiaError):
            raise error
        if isinstance(refused := placed.get(self.source), ComposiaError):
            # Its names must not wait for a source that has died since; step 9 asks it again.
            run.log(f"{self.source} forwards nothing yet: {refused.message}")

    def _forwarding(self, checked: Checked, until: datetime | None = None) -> ForwardHosts | None:
        """For clients with the old address, until they have heard of the new one."""
        if not (self.caddy_on_source and self.target_address and checked.sites):
            return None
        return ForwardHosts(
            service=self.service,
            caddy=self.caddy_on_source,
            sites=checked.sites,
            to=self.target_address,
            until=until,
            trust=checked.trust,
        )

    def _why_nothing_forwards(self) -> str:
        if self.caddy_on_target is None:
            why = f"{self.target} has no Caddy"
        elif self.target_address is None:
            why = f"config.yaml has no public_ipv4 and no public_ipv6 of {self.target}"
        else:
            why = "its fragment makes no site of a host's own"
        return f"{self.source} will not forward clients with the old address: {why}"

    async def _undo(self, run: Run, reached: _Reached, error: ComposiaError) -> None:
        """Back to how it was: first nothing runs on the target, then the source starts again."""
        run.log(f"Undoing: {error.message}")
        gone = False
        try:
            if reached.started:
                gone = not await self._has_stopped(run)
            if reached.exported:
                resume = ResumeSource(service=self.service)
                await run.on(self.source, "undo_source", resume, insist=True)
            if reached.unplugged and self.caddy_on_source:
                place = PlaceFragment(service=self.service, caddy=self.caddy_on_source)
                await run.on(self.source, "undo_caddy", place, insist=True)
        except Exception as problem:
            second = told(problem)
            message = f"{error.message}; and it could not be undone: {second.message}"
            hint = (
                f"`composia task retry {run.task}` tries that again first. Nobody else may start it"
                f" before `composia task abandon {run.task}`."
            )
            raise LeftOpen.of(second, self.service, hint, message=message) from problem
        if reached.prepared and not gone:
            await self._clear(run)
        await run.control("undone", "note_move", task=run.task, stage="undone", facts={})

    async def _has_stopped(self, run: Run) -> bool:
        """Whether the target was seen to have stopped; else a person has said that it is gone."""
        stop = StopTarget(service=self.service)
        try:
            await run.on(self.target, "undo_stop_target", stop, insist=True)
        except GivenUp:
            # Raises Conflict where it is there. One that comes later is stopped.
            await run.control("undo_target_gone", "give_up_target", task=run.task, node=self.target)
            run.log(f"{self.target} was given up: should it come back, {self.service} is stopped")
            return False
        return True

    async def _clear(self, run: Run) -> None:
        """Of a target on which nothing runs: whatever comes of it, all is undone."""
        clear = ClearTarget(service=self.service)
        try:
            await run.on(self.target, "undo_target", clear, insist=True, patience=PATIENCE)
        except ComposiaError as error:
            # What lies aside is removed by its agent in a day, and the next deploy may pass.
            run.log(f"{self.target} was not cleared: {error.message}")

    def _left_open(self, error: ComposiaError, facts: dict[str, Any]) -> LeftOpen:
        where = f"{self.service} runs on {self.target}" if facts else "nothing has changed"
        hint = f"{where}. Retry goes on from here, rollback goes back, abandon leaves it so."
        return LeftOpen.of(error, self.service, hint, result=_shown(facts))


async def begin_move(
    run: Run, step: str, service: ServiceRef, source: str, target: str
) -> dict[str, Any]:
    """The step that notes that a move begins; see `Control.begin_move`."""
    begun: dict[str, Any] = await run.control(
        step, "begin_move", task=run.task, service=service.name, source=source, target=target
    )
    return begun


_SHOWN = (
    "downtime_seconds",
    "held_seconds",
    "between_seconds",
    "start_seconds",
    "predicted_seconds",
    "dump_seconds",
    "bytes_sent_last",
    "warnings",
)


def _shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What of the facts is a result for people."""
    return {name: facts[name] for name in _SHOWN if facts.get(name) not in (None, [])}
