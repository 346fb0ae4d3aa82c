"""Deploying, updating, stopping and restarting a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import ComposiaError, joined
from composia.model.backup import BackupKind
from composia.model.names import Name
from composia.model.service import CaddyRef
from composia.operations.service import Deploy, Deployed, Restart, Stop
from composia.tools.wording import names
from composia.workflows.backup import BackupPlan, BackupRequest, plan_backup
from composia.workflows.known import Known
from composia.workflows.objections import Objections
from composia.workflows.plan import (
    Hold,
    OnNodes,
    PartlyCancelled,
    PartlyDone,
    Run,
    instance,
    partly,
    placement,
)
from composia.workflows.sides import settle


class ServiceRequest(BaseModel):
    """Which nodes to work on; by default all that the service is meant for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nodes: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Ids of nodes; by default the service's nodes."
    )


class UpdateRequest(ServiceRequest):
    """The same, and whether its data is saved first."""

    backup_first: bool = Field(
        default=False,
        description="Save all items under `backup.data` first, and update nothing where one was"
        " not saved whole.",
    )


class _ServicePlan(OnNodes):
    @property
    def holds(self) -> tuple[Hold, ...]:
        return (
            Hold(name=placement(self.service.name), shared=True),
            *(Hold(name=instance(self.service.name, node)) for node in self.on),
        )


class StartPlan(_ServicePlan):
    """A plan after which the service runs on some nodes, and is to run on those alone."""

    #: Nodes that it is not meant for: nobody may be at work on it there while it starts here. What
    #: such a task has stopped looks stopped, and it starts that again in the end.
    elsewhere: tuple[str, ...] = ()

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (*super().holds, *(_watched(self.service.name, node) for node in self.elsewhere))


class _DeployingPlan(StartPlan):
    #: Compose services that run when they are needed: made, and not started.
    on_demand: tuple[str, ...] = ()
    #: The Caddy of each node that has one.
    caddy: Mapping[str, CaddyRef] = {}

    async def _deploy(self, run: Run, *, pull: bool) -> dict[str, Any]:
        operations = {
            node: Deploy(
                service=self.service,
                pull=pull,
                on_demand=self.on_demand,
                caddy=self.caddy.get(node),
            )
            for node in self.on
        }
        return _changed(await run.on_each("deploy", operations))


class DeployPlan(_DeployingPlan):
    """Files and containers as the catalog has them."""

    plan: Literal["deploy"] = "deploy"

    def __str__(self) -> str:
        return f"Deploy {self.service} on {names(self.on)}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The step of docs/design.md, "Deploy"."""
        return await self._deploy(run, pull=False)


class UpdatePlan(_DeployingPlan):
    """The same with newer images."""

    plan: Literal["update"] = "update"
    #: Saved first: a newer image may change data so that the older one reads it no more.
    backup: BackupPlan | None = None

    @property
    def holds(self) -> tuple[Hold, ...]:
        held = super().holds
        return (
            *held,
            *(one for one in (self.backup.holds if self.backup else ()) if one not in held),
        )

    def __str__(self) -> str:
        first = "Back up and update" if self.backup else "Update"
        return f"{first} {self.service} on {names(self.on)}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Deploy"; images are pulled first."""
        if self.backup is None:
            return await self._deploy(run, pull=True)
        saved = await _save_first(run, self.backup)
        try:
            return {**saved, **await self._deploy(run, pull=True)}
        except ComposiaError as error:
            # What was saved is wanted now more than ever.
            raise partly(error, saved) from error


class StopPlan(_ServicePlan):
    """Containers stop, and stay stopped."""

    plan: Literal["stop"] = "stop"

    def __str__(self) -> str:
        return f"Stop {self.service} on {names(self.on)}"

    async def carry_out(self, run: Run) -> None:
        """One step of its name."""
        operation = Stop(service=self.service)
        settle(await run.on_each("stop", dict.fromkeys(self.on, operation)))


class RestartPlan(StartPlan):
    """The same containers stop and start."""

    plan: Literal["restart"] = "restart"

    def __str__(self) -> str:
        return f"Restart {self.service} on {names(self.on)}"

    async def carry_out(self, run: Run) -> None:
        """One step of its name."""
        operation = Restart(service=self.service)
        settle(await run.on_each("restart", dict.fromkeys(self.on, operation)))


def plan_deploy(known: Known, service: str, request: ServiceRequest) -> DeployPlan:
    """Raises ComposiaError, with all that stands in the way."""
    return DeployPlan(**_to_start(known, service, request))


def plan_update(known: Known, service: str, request: UpdateRequest) -> UpdatePlan:
    """Raises ComposiaError, with all that stands in the way of the update, else of its backup."""
    return UpdatePlan(
        **_to_start(known, service, request), backup=_safety_copy(known, service, request)
    )


def _safety_copy(known: Known, service: str, request: UpdateRequest) -> BackupPlan | None:
    if not request.backup_first:
        return None
    wanted = BackupRequest(nodes=request.nodes)
    return plan_backup(known, service, wanted, BackupKind.BEFORE_UPDATE)


def plan_stop(known: Known, service: str, request: ServiceRequest) -> StopPlan:
    """Raises ComposiaError, with all that stands in the way."""
    found, wrong = known.service(service), Objections()
    on = known.nodes_with_instances(found, request.nodes, wrong)
    known.object_to_foreign_projects(found.ref, on, wrong)
    wrong.settle()
    return StopPlan(service=found.ref, on=on)


def plan_restart(known: Known, service: str, request: ServiceRequest) -> RestartPlan:
    """Raises ComposiaError, with all that stands in the way."""
    found, wrong = known.service(service), Objections()
    on = known.nodes_with_instances(found, request.nodes, wrong)
    known.object_to_a_disabled(found, wrong)
    known.object_to_foreign_projects(found.ref, on, wrong)
    known.object_to_a_new_start(found, on, wrong)
    known.object_to_a_second_place(found, on, wrong)
    known.object_to_what_has_left(found, on, wrong)
    wrong.settle()
    return RestartPlan(service=found.ref, on=on, elsewhere=known.elsewhere(found, on))


def _to_start(known: Known, service: str, request: ServiceRequest) -> dict[str, Any]:
    found, wrong = known.service(service), Objections()
    on = known.nodes_meant_for(found, request.nodes, wrong)
    known.object_to_a_disabled(found, wrong)
    known.object_to_foreign_projects(found.ref, on, wrong)
    known.object_to_a_second_project(found.ref, on, wrong)
    known.object_to_a_second_place(found, on, wrong)
    known.object_to_what_has_left(found, on, wrong)
    wrong.settle()
    caddy = known.caddy_if_any(found)
    return {
        "service": found.ref,
        "on": on,
        "elsewhere": known.elsewhere(found, on),
        "on_demand": _on_demand(known, service),
        "caddy": {node: ref for node, ref in caddy.items() if node in on},
    }


def _watched(service: str, node: str) -> Hold:
    why = f"{service} is not meant for {node}: whether it runs there is known when that has ended."
    return Hold(name=instance(service, node), shared=True, why=why)


async def _save_first(run: Run, backup: BackupPlan) -> dict[str, Any]:
    try:
        return await backup.save(run, "back_up")
    except (PartlyDone, PartlyCancelled) as error:
        raise partly(error, {}, hint=joined(error.hint, "Nothing was updated.")) from error


def _on_demand(known: Known, service: str) -> tuple[str, ...]:
    # Without a command of ours rustic says how it is used, and ends with an error.
    rustic = known.service(service).meta.infra.rustic
    return (rustic.compose_service,) if rustic else ()


def _changed(outcomes: Mapping[str, Deployed | ComposiaError]) -> dict[str, Any]:
    deployed = {node: out for node, out in outcomes.items() if isinstance(out, Deployed)}
    result: dict[str, Any] = {"changed": {node: found.changed for node, found in deployed.items()}}
    if warned := {node: found.warnings for node, found in deployed.items() if found.warnings}:
        result["warnings"] = warned
    settle(outcomes, result=result)
    return result
