"""A service whose machine has burnt: started elsewhere, from its last backups."""

from __future__ import annotations

from typing import Any, Literal

from composia.errors import ComposiaError, Failure, told
from composia.model.dns import DnsTarget
from composia.model.service import CaddyRef, ServiceRef
from composia.operations.arriving import ClearTarget, PrepareTarget, StartOnTarget
from composia.operations.caddy import PlaceFragment
from composia.operations.leaving import ResumeSource, StopStale
from composia.operations.surveying import SourceSeen, SurveyTarget
from composia.workflows.check import check
from composia.workflows.dns import update_dns
from composia.workflows.migrate import PATIENCE, begin_move
from composia.workflows.nodes import write_back
from composia.workflows.plan import Hold, LeftOpen, OnOneNode, Plan, Run, instance, placement
from composia.workflows.restore import RestorePlan

#: What a person does whose node is there after all.
NOT_GONE = "Migrate without `source_is_gone`, or end its agent and engine first."


def not_gone(node: str) -> str:
    """Why a node that is connected is not given up."""
    return f"node {node} is connected: it is not gone"


class RescuePlan(Plan):
    """A move whose source a person has given up; it is asked nothing."""

    plan: Literal["rescue"] = "rescue"
    service: ServiceRef
    gone: str
    target: str
    nodes_before: tuple[str, ...]
    nodes_after: tuple[str, ...]
    #: The last good backups of all that moves; None where nothing does.
    restore: RestorePlan | None = None
    caddy_on_target: CaddyRef | None = None
    #: For when it comes back after all.
    caddy_on_gone: CaddyRef | None = None
    records: tuple[DnsTarget, ...] = ()
    our_addresses: tuple[str, ...] = ()
    #: The open move by which the service had come to the node that is gone.
    of_task: str | None = None
    #: What a person should know before.
    remarks: tuple[str, ...] = ()

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def holds(self) -> tuple[Hold, ...]:
        own = (Hold(name=placement(self.service.name)),)
        held = self.restore.holds if self.restore else ()
        here = (Hold(name=instance(self.service.name, self.target)),)
        return (*own, *here, *(one for one in held if one.name == "repository"))

    @property
    def takes_over(self) -> str | None:
        return self.of_task

    def __str__(self) -> str:
        return f"Rescue {self.service} from {self.gone}, which is gone, to {self.target}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Migrate", without those of the source."""
        begun = await begin_move(run, "0_begin", self.service, self.gone, self.target)
        # From here on the source is stopped as soon as it comes back.
        facts = begun["facts"]
        if not begun["answered"]:
            facts = await self._until_it_answers(run, half_done=begun["half_done"])
        try:
            return await self._settle(run, tuple(facts.get("warnings", ())))
        except Exception as error:
            hint = f"{self.service} runs on {self.target}: retry goes on, abandon leaves it so."
            raise LeftOpen.of(told(error), self.service, hint) from error

    async def _until_it_answers(self, run: Run, *, half_done: bool) -> dict[str, Any]:
        service, target, warnings = self.service, self.target, [*self.remarks]
        # Whether there may be something on the target that an undo has to clear.
        reached = half_done
        for remark in self.remarks:
            run.log(f"Warning: {remark}")
        try:
            await run.control("0_gone", "refuse_connected", task=run.task, node=self.gone)
            found = await run.on(target, "0_check", SurveyTarget(service=service))
            check(service, self.gone, target, SourceSeen(running=("gone",)), found)
            reached = True
            await run.on(target, "0_prepare", PrepareTarget(service=service, images={}))
            if self.caddy_on_target:
                # A Caddy that does not run yet is no reason to leave the service down.
                rehearsal = PlaceFragment(
                    service=service, caddy=self.caddy_on_target, rehearse=True, must_run=False
                )
                await run.on(target, "0_check_caddy", rehearsal)
            if self.restore:
                brought = await self.restore.bring(run, "4_fetch_data", "4_restore_data")
                warnings += brought["warnings"]
            await run.on(target, "5_start_on_target", StartOnTarget(service=service))
        except Exception as error:
            if reached:
                await self._clear(run, told(error).as_error())
            await self._resume(run, told(error).as_error())
            await run.control("undone", "note_move", task=run.task, stage="undone", facts={})
            if self.of_task:
                raise self._given_back(told(error).as_error(), self.of_task) from error
            raise
        facts = {"warnings": warnings}
        await run.control("5_answered", "note_move", task=run.task, stage="answered", facts=facts)
        return facts

    async def _resume(self, run: Run, error: ComposiaError) -> None:
        """What came back meanwhile and was stopped is wanted again. Raises where it is down."""
        if not await run.control("undo_look", "source_stopped", task=run.task):
            return
        run.log(f"{self.gone} came back meanwhile and was stopped; it is started again")
        resume = ResumeSource(service=self.service)
        try:
            await run.on(self.gone, "undo_source", resume, insist=True, patience=PATIENCE)
        except ComposiaError as second:
            message = (
                f"{error.message}; {self.gone} came back meanwhile and was stopped, and could not"
                f" be started again: {second.message}"
            )
            if self.of_task:
                raise self._down(message, second) from second
            await run.control("undone", "note_move", task=run.task, stage="undone", facts={})
            hint = f"Nothing runs now: `composia deploy {self.service} --node {self.gone}`."
            raise Failure(message, hint=hint) from second
        await self._serve_again(run)

    async def _serve_again(self, run: Run) -> None:
        if self.caddy_on_gone is None:
            return
        place = PlaceFragment(service=self.service, caddy=self.caddy_on_gone, must_run=False)
        try:
            placed = await run.on(self.gone, "undo_caddy", place, insist=True, patience=PATIENCE)
            remarks = placed.warnings
        except ComposiaError as error:
            remarks = (f"{error.message}: `composia services caddy-sync {self.service}`",)
        for remark in remarks:
            run.log(f"Warning: Caddy on {self.gone} may not serve it: {remark}")

    def _down(self, message: str, error: ComposiaError) -> LeftOpen:
        hint = f"Nothing runs now: retry brings it to {self.target} after all."
        return LeftOpen.of(error, self.service, hint, message=message)

    def _given_back(self, error: ComposiaError, of_task: str) -> LeftOpen:
        """It was undone: the move whose hold it took over is open as it was before."""
        hint = f"Task {of_task} is open as before: see `composia task show {of_task}`."
        return LeftOpen.of(error, self.service, hint, holder=of_task)

    async def _clear(self, run: Run, error: ComposiaError) -> None:
        try:
            clear = ClearTarget(service=self.service)
            await run.on(self.target, "undo_target", clear, insist=True)
        except Exception as problem:
            second = told(problem)
            message = f"{error.message}; and it could not be undone: {second.message}"
            hint = f"It may run on {self.target}: retry clears it there first."
            raise LeftOpen.of(second, self.service, hint, message=message) from problem

    async def _settle(self, run: Run, warnings: tuple[str, ...]) -> dict[str, Any]:
        if self.caddy_on_target:
            place = PlaceFragment(service=self.service, caddy=self.caddy_on_target)
            await run.on(self.target, "6_reload_caddy", place)
        updated = await update_dns(run, "7_update_dns", self.records, self.our_addresses)
        revision = await write_back(run, self.service, self.nodes_after, self.nodes_before)
        await run.control("9_give_up_source", "give_up", task=run.task)
        items = self.restore.items if self.restore else ()
        return {
            "gone": self.gone,
            "from_backups": [item.wanted.backup_id for item in items],
            "dns": [record.model_dump(mode="json") for record in updated.records],
            "revision": revision,
            **({"warnings": [*warnings]} if warnings else {}),
        }


class StopStalePlan(OnOneNode):
    """A node that was given up has come back: what still runs of the service there is stopped."""

    plan: Literal["stop-stale"] = "stop-stale"
    of_task: str
    caddy: CaddyRef | None = None

    @property
    def holds(self) -> tuple[Hold, ...]:
        # It starts nothing, so it need not wait until the service was started elsewhere.
        return (Hold(name=instance(self.service.name, self.node), shared=True),)

    def __str__(self) -> str:
        return f"Stop what still runs of {self.service} on {self.node}, which had been given up"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """Stopped, served no more, and noted. The result names the overlap."""
        operation = StopStale(service=self.service, of_task=self.of_task)
        found = await run.on(self.node, "stop_stale", operation)
        # Before: once it is noted, a rescue that is undone starts and serves it again.
        warnings = await self._serve_no_more(run)
        wanted = await run.control("noted", "note_source_stopped", task=self.of_task)
        if wanted is False:
            raise Failure(
                f"{self.service} was stopped on {self.node} for a rescue that was undone meanwhile",
                hint=f"Nothing runs now: `composia deploy {self.service} --node {self.node}`.",
            )
        return {
            "overlap": {
                name: {"since": since, "until": found.stopped_at.isoformat()}
                for name, since in found.ran.items()
            },
            **({"warnings": [*warnings]} if warnings else {}),
        }

    async def _serve_no_more(self, run: Run) -> tuple[str, ...]:
        """Whoever has the old address still would be sent to what does not run."""
        if self.caddy is None:
            return ()
        nothing = self.caddy.without_fragment
        place = PlaceFragment(service=self.service, caddy=nothing, must_run=False)
        try:
            return (await run.on(self.node, "reload_caddy", place)).warnings
        except ComposiaError as error:
            return (f"Caddy on {self.node} may still serve it: {error.message}",)
