"""Bringing a service's fragments to what the catalog says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from composia.model.service import CaddyRef, ServiceRef
from composia.operations.caddy import PlaceFragment
from composia.operations.fragments import Placed
from composia.tools.wording import names
from composia.workflows.known import Known
from composia.workflows.objections import Objections
from composia.workflows.plan import Hold, Plan, Run, instance
from composia.workflows.service import ServiceRequest
from composia.workflows.sides import settle


class CaddySyncPlan(Plan):
    """The service's fragment where it is to be served, and none where it is not."""

    plan: Literal["caddy-sync"] = "caddy-sync"
    service: ServiceRef
    caddy: Mapping[str, CaddyRef]

    @property
    def service_name(self) -> str:
        return self.service.name

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(self.caddy)

    @property
    def holds(self) -> tuple[Hold, ...]:
        return tuple(Hold(name=instance(self.service.name, node)) for node in self.caddy)

    def __str__(self) -> str:
        return f"Bring Caddy's fragment of {self.service} on {names(self.nodes)} up to date"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """One step of its name on each node."""
        outcomes = await run.on_each(
            "caddy_sync",
            {
                node: PlaceFragment(
                    service=self.service, caddy=ref, from_catalog=True, must_run=False
                )
                for node, ref in self.caddy.items()
            },
        )
        placed = {node: out for node, out in outcomes.items() if isinstance(out, Placed)}
        result: dict[str, Any] = {"changed": {node: out.changed for node, out in placed.items()}}
        if warned := {node: out.warnings for node, out in placed.items() if out.warnings}:
            result["warnings"] = warned
        settle(outcomes, result=result)
        return result


def plan_caddy_sync(known: Known, service: str, request: ServiceRequest) -> CaddySyncPlan:
    """Raises ComposiaError, with all that stands in the way."""
    found, wrong = known.service(service), Objections()
    on = known.nodes_with_instances(found, request.nodes, wrong)
    known.object_to_what_has_left(found, on, wrong)
    caddy = known.caddy(found, known.active_nodes(found))
    for place, node in enumerate(request.nodes or ()):
        if node in known.nodes and node not in caddy:
            wrong.conflict(
                ("nodes", place),
                f"node {node} has no Caddy",
                "Add it to `nodes` of the service with `infra.caddy`.",
            )
    wanted = {node: caddy[node] for node in on if node in caddy}
    if not wanted:
        wrong.conflict(
            (),
            f"none of the nodes of {service} has a Caddy",
            "Add one to `nodes` of the service with `infra.caddy`.",
        )
    wrong.settle()
    return CaddySyncPlan(service=found.ref, caddy=wanted)
