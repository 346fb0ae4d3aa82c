"""Migrate: where to, with what; the plan; and go."""

from __future__ import annotations

import hashlib
import json

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from composia.controller.api import nodes
from composia.controller.api.desk import ServiceName
from composia.controller.api.moves import planned
from composia.errors import ComposiaError, Conflict
from composia.model.config import Scope
from composia.model.names import Name
from composia.model.shown import ServiceView
from composia.web.charts import expected_parts
from composia.web.forms import asked, parsed
from composia.web.services import service_of
from composia.web.visit import AtVisit, Visit
from composia.workflows.migrate import MigratePlan
from composia.workflows.move import MigrateRequest
from composia.workflows.rescue import RescuePlan
from composia.workflows.staying import places

router = APIRouter(prefix="/services")

LISTS = ("data_items", "leave_behind")


class Wish(MigrateRequest):
    """What is asked for so far: perhaps no target yet."""

    target_node: Name = ""
    #: The form was sent: no data item named means none, and not all.
    chosen: bool = False
    #: The plan that was looked at, as `_mark` has it.
    seen: str = Field(default="", max_length=64)

    @property
    def request(self) -> MigrateRequest:
        """As the API takes it."""
        named = self.model_dump(exclude={"chosen", "seen"})
        if self.chosen and self.data_items is None:
            named["data_items"] = ()
        return MigrateRequest.model_validate(named)


@router.get("/{service}/migrate")
async def ask_migrate(visit: AtVisit, service: ServiceName) -> Response:
    """Where to, and with what."""
    visit.caller.must(Scope.OPERATE, service)
    found = await service_of(visit, service)
    wish = asked(visit.request, Wish, lists=LISTS)
    source = wish.source_node or next(iter(found.nodes), "")
    return visit.page(
        "migrate.html",
        service=found,
        wish=wish,
        source=source,
        nodes=[node for node in nodes.every(visit) if node.id not in found.nodes],
        items=_items(found),
        taken=_taken(found, wish),
        uncovered=await _uncovered(visit, found, wish, source),
    )


@router.get("/{service}/migrate/plan")
async def show_plan(visit: AtVisit, service: ServiceName) -> Response:
    """What would be done; both nodes are asked, which may take a moment."""
    visit.caller.must(Scope.OPERATE, service)
    wish = asked(visit.request, Wish, lists=LISTS)
    try:
        plan = await planned(visit, service, wish.request)
    except ComposiaError as error:
        return visit.page("migrate_plan.html", plan=None, told=error.as_told(), wish=wish)
    return visit.page(
        "migrate_plan.html",
        plan=plan,
        told=None,
        wish=wish,
        mark=_mark(plan),
        service=service,
        moving=_moving(plan) if isinstance(plan, MigratePlan) else (),
        expected=expected_parts(plan.downtime) if isinstance(plan, MigratePlan) else (),
    )


@router.post("/{service}/migrate")
async def migrate(visit: AtVisit, service: ServiceName) -> Response:
    """Do what was looked at. Raises Conflict where it would be another thing by now."""
    visit.caller.must(Scope.OPERATE, service)
    wish = await parsed(visit.request, Wish, lists=LISTS)
    plan = await planned(visit, service, wish.request)
    if wish.seen and wish.seen != _mark(plan):
        raise Conflict(
            "what would move has changed since you looked at the plan",
            hint="Press Show the plan, and look at it again.",
        )
    return await visit.submit(plan)


class Moving(BaseModel):
    """A data item on its way. In bytes."""

    model_config = ConfigDict(frozen=True)

    item: str
    dump: bool
    size: int | None
    places: tuple[str, ...]


def _moving(plan: MigratePlan) -> list[Moving]:
    return [
        Moving(
            item=one.item,
            dump=one.dump,
            size=plan.sizes.get(one.item),
            places=tuple(kept.source for kept in plan.moves if kept.item == one.item),
        )
        for one in plan.cargo
    ]


def _mark(plan: MigratePlan | RescuePlan) -> str:
    """Changes with what a person decides on; how much there is may change all the time."""
    shown = plan.model_dump(mode="json", exclude={"downtime", "sizes", "backup"})
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


def _items(service: ServiceView) -> list[str]:
    return [item.name for item in service.data_items if item.backup and item.restore]


def _taken(service: ServiceView, wish: Wish) -> tuple[str, ...]:
    """The data items to tick: those under `migrate.data`; where nothing is written, all."""
    if wish.data_items is not None or wish.chosen:
        return wish.data_items or ()
    named = service.definition.migrate.data if service.definition else ()
    return tuple(one.name for one in named) or tuple(_items(service))


async def _uncovered(visit: Visit, service: ServiceView, wish: Wish, source: str) -> list[str]:
    """Volumes and binds that no item covers, and about which nothing is written."""
    known = await visit.known()
    found = known.service(service.name)
    taken = _taken(service, wish)
    items = [item for item in found.meta.data_protect.data if item.name in taken]
    return [one.source for one in places(known, found, source, items, ()).staying if not one.how]
