"""A service whose machine has burnt: started elsewhere, from its last backups."""

from __future__ import annotations

from typing import Any, Literal

from composia.errors import ComposiaError
from composia.model.dns import DnsTarget
from composia.model.service import CaddyRef, ServiceRef
from composia.operations.arriving import ClearTarget, PrepareTarget, StartOnTarget
from composia.operations.caddy import PlaceFragment
from composia.operations.leaving import StopStale
from composia.operations.surveying import SourceSeen, SurveyTarget
from composia.workflows.check import check
from composia.workflows.dns import update_dns
from composia.workflows.nodes import write_back
from composia.workflows.plan import Hold, LeftOpen, OnOneNode, Plan, Run, instance, placement
from composia.workflows.restore import RestorePlan


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
    records: tuple[DnsTarget, ...] = ()
    our_addresses: tuple[str, ...] = ()

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

    def __str__(self) -> str:
        return f"Rescue {self.service} from {self.gone}, which is gone, to {self.target}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Migrate", without those of the source."""
        begun = await run.control(
            "0_begin",
            "begin_move",
            task=run.task,
            service=self.service.name,
            source=self.gone,
            target=self.target,
        )
        if not begun["answered"]:
            await self._until_it_answers(run)
        try:
            return await self._settle(run)
        except ComposiaError as error:
            hint = f"{self.service} runs on {self.target}: retry goes on, abandon leaves it so."
            raise LeftOpen(
                error.message,
                keeps=placement(self.service.name),
                result={},
                hint=" ".join(filter(None, (error.hint, hint))),
            ) from error

    async def _until_it_answers(self, run: Run) -> None:
        service, target = self.service, self.target
        found = await run.on(target, "0_check", SurveyTarget(service=service))
        check(service, self.gone, target, SourceSeen(running=("gone",)), found)
        try:
            await run.on(target, "0_prepare", PrepareTarget(service=service, images={}))
            if self.caddy_on_target:
                rehearsal = PlaceFragment(
                    service=service, caddy=self.caddy_on_target, rehearse=True
                )
                await run.on(target, "0_check_caddy", rehearsal)
            if self.restore:
                await self.restore.bring(run, "4_fetch_data", "4_restore_data")
            await run.on(target, "5_start_on_target", StartOnTarget(service=service))
        except ComposiaError:
            await run.on(target, "undo_target", ClearTarget(service=service), insist=True)
            await run.control("undone", "note_move", task=run.task, stage="undone", facts={})
            raise
        await run.control("5_answered", "note_move", task=run.task, stage="answered", facts={})

    async def _settle(self, run: Run) -> dict[str, Any]:
        if self.caddy_on_target:
            place = PlaceFragment(service=self.service, caddy=self.caddy_on_target)
            await run.on(self.target, "6_reload_caddy", place)
        updated = await update_dns(run, "7_update_dns", self.records, self.our_addresses)
        revision = await write_back(run, self.service, self.nodes_after, self.nodes_before)
        # From now on, whenever the node comes back, what still runs there is stopped first.
        await run.control("9_give_up_source", "give_up", task=run.task)
        items = self.restore.items if self.restore else ()
        return {
            "gone": self.gone,
            "from_backups": [item.wanted.backup_id for item in items],
            "dns": [record.model_dump(mode="json") for record in updated.records],
            "revision": revision,
        }


class StopStalePlan(OnOneNode):
    """A node that was given up has come back: what still runs of the service there is stopped."""

    plan: Literal["stop-stale"] = "stop-stale"
    of_task: str

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name=instance(self.service.name, self.node)),)

    def __str__(self) -> str:
        return f"Stop what still runs of {self.service} on {self.node}, which had been given up"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """One step, and the word that it was done. The result names the overlap."""
        operation = StopStale(service=self.service, of_task=self.of_task)
        found = await run.on(self.node, "stop_stale", operation)
        await run.control("noted", "note_move", task=self.of_task, stage="done", facts={})
        return {
            "overlap": {
                name: {"since": since, "until": found.stopped_at.isoformat()}
                for name, since in found.ran.items()
            }
        }
