"""`/services`: the list, a service's page with its tabs, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from composia.controller.api import services
from composia.controller.api.desk import ServiceName
from composia.model.config import Scope
from composia.model.shown import ServiceView
from composia.web.charts import ServiceCharts
from composia.web.forms import parsed
from composia.web.visit import AtVisit, Visit
from composia.workflows.backup import BackupRequest, plan_backup
from composia.workflows.known import Known
from composia.workflows.plan import Plan
from composia.workflows.service import (
    ServiceRequest,
    UpdateRequest,
    plan_deploy,
    plan_restart,
    plan_stop,
    plan_update,
)

router = APIRouter(prefix="/services")

#: So many of a service's newest backups and moves are drawn.
DRAWN = 240
MOVES = 12


class Change(StrEnum):
    """What is done to containers; templates/change_dialog.html has the words."""

    DEPLOY = "deploy"
    UPDATE = "update"
    RESTART = "restart"
    STOP = "stop"


#: What is asked for, and the plan of it.
PLANNERS: dict[Change, tuple[type[ServiceRequest], Callable[[Known, str, Any], Plan]]] = {
    Change.DEPLOY: (ServiceRequest, plan_deploy),
    Change.UPDATE: (UpdateRequest, plan_update),
    Change.RESTART: (ServiceRequest, plan_restart),
    Change.STOP: (ServiceRequest, plan_stop),
}


@router.get("")
async def list_services(visit: AtVisit, q: Annotated[str, Query(max_length=200)] = "") -> Response:
    """All services, or those with these letters in their names."""
    every = await services.every(visit)
    found = [one for one in every if q.strip().lower() in one.name.lower()]
    return visit.page("services.html", services=found, total=len(every), q=q)


@router.get("/{service}")
async def show_overview(visit: AtVisit, service: ServiceName) -> Response:
    """What it is, and whether its data is safe; of a broken one the file that breaks it."""
    view = visit.office.catalog.view()
    if any(service in (one.name, one.folder) for one in view.broken):
        return RedirectResponse(f"/services/{service}/files", 303)
    found = await service_of(visit, service)
    tasks = await visit.office.store.tasks(services=(service,), limit=5)
    return visit.page("service_overview.html", service=found, tab="overview", tasks=tasks)


@router.get("/{service}/data")
async def show_data(visit: AtVisit, service: ServiceName) -> Response:
    """Its items, and what none of them covers."""
    found, store = await service_of(visit, service), visit.office.store
    backups = await store.backups(services=(service,), limit=DRAWN)
    moves = await store.tasks(services=(service,), type="migrate", limit=MOVES)
    drawn = ServiceCharts.of(backups, moves, datetime.now(UTC))
    return visit.page("service_data.html", service=found, tab="data", drawn=drawn)


@router.get("/{service}/backup")
async def ask_backup(visit: AtVisit, service: ServiceName) -> Response:
    """Which data items, on which nodes?"""
    visit.caller.must(Scope.OPERATE, service)
    found = await service_of(visit, service)
    return visit.dialog("backup_dialog.html", back=f"/services/{service}", service=found)


@router.post("/{service}/backup")
async def back_up(visit: AtVisit, service: ServiceName, request: Request) -> Response:
    """Save them."""
    visit.caller.must(Scope.OPERATE, service)
    wanted = await parsed(request, BackupRequest, lists=("data_items", "nodes"))
    return await visit.submit(plan_backup(await visit.known(), service, wanted))


@router.get("/{service}/change/{change}")
async def ask_change(visit: AtVisit, service: ServiceName, change: Change) -> Response:
    """Deploy, update, restart or stop it: on which nodes?"""
    visit.caller.must(Scope.OPERATE, service)
    found = await service_of(visit, service)
    back = f"/services/{service}"
    return visit.dialog("change_dialog.html", back=back, service=found, change=change)


@router.post("/{service}/change/{change}")
async def make_change(
    visit: AtVisit, service: ServiceName, change: Change, request: Request
) -> Response:
    """Do it."""
    visit.caller.must(Scope.OPERATE, service)
    model, planned = PLANNERS[change]
    wanted = await parsed(request, model, lists=("nodes",))
    return await visit.submit(planned(await visit.known_now(service), service, wanted))


async def service_of(visit: Visit, service: str) -> ServiceView:
    """A service that the visitor may see. Raises Denied, NotFound, or Invalid where broken."""
    visit.caller.must_see(service)
    return await services.shown(visit, service)
