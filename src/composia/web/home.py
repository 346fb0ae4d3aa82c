"""`/`: what needs attention, and how everything is now; and the palette's entries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Response

from composia.controller.api import nodes, services
from composia.model.shown import NodeView
from composia.model.task import Status, Task
from composia.web.attention import attention
from composia.web.charts import outages
from composia.web.visit import AtVisit, Visit

router = APIRouter()

#: As in the navigation, templates/layout.html.
PLACES = (
    "Home",
    "Services",
    "Backups",
    "Tasks",
    "Schedules",
    "Nodes",
    "Repository",
    "Notifications",
    "Settings",
)
#: So many of the newest tasks and backups are shown.
NEWEST = 6


@router.get("/")
async def show_home(visit: AtVisit) -> Response:
    """Is everything well?"""
    store, mine = visit.office.store, visit.services(None)
    every, machines = await services.every(visit), await nodes_shown(visit)
    moves = await store.tasks(services=mine, type="migrate", limit=NEWEST)
    running = await _under_way(visit)
    schedules = [one for one in await visit.office.scheduler.views() if visit.sees(one.service)]
    return visit.page(
        "home.html",
        needs=attention(every, machines, [*running, *moves], schedules),
        services=every,
        nodes=machines,
        running=running,
        moves=moves,
        outages={one.task.id: one for one in outages(moves)},
        backups=await store.backups(services=mine, limit=NEWEST),
    )


@router.get("/palette")
async def palette(visit: AtVisit) -> list[dict[str, Any]]:
    """Where one can go, and what one can start: filtered in the browser."""
    return [*_places(visit)]


async def nodes_shown(visit: Visit) -> list[NodeView]:
    """All nodes as they are now."""
    holders = (await visit.known()).repository_nodes()
    return [nodes.shown(visit, node, holders) for node in visit.office.config.nodes]


async def _under_way(visit: Visit) -> list[Task]:
    mine = visit.services(None)
    found: list[Task] = []
    for status in (Status.RUNNING, Status.PENDING):
        found += await visit.office.store.tasks(services=mine, status=status, limit=50)
    return found


def _places(visit: Visit) -> Iterator[dict[str, Any]]:
    # The words are those of the navigation.
    for name in PLACES:
        if name == "Repository" and not visit.may("read"):
            continue
        yield _entry(name, "page", "/" if name == "Home" else f"/{name.lower()}")
    yield from _services(visit)
    for node in visit.office.config.nodes:
        yield _entry(node.id, "node", f"/nodes/{node.id}")
    if visit.may("admin"):
        yield _entry("Add a node", "action", "/add-node")


def _services(visit: Visit) -> Iterator[dict[str, Any]]:
    for service in sorted(visit.office.catalog.view().services):
        if not visit.caller.may_see(service):
            continue
        yield _entry(service, "service", f"/services/{service}")
        if visit.may("operate", service):
            yield _entry(f"Back up {service}", "action", f"/services/{service}/backup")
            yield _entry(f"Restore {service}", "action", f"/backups?service={service}")
            yield _entry(f"Deploy {service}", "action", f"/services/{service}/change/deploy")
            yield _entry(f"Migrate {service}", "action", f"/services/{service}/migrate")
        if visit.may("admin", service):
            yield _entry(f"Edit files of {service}", "action", f"/services/{service}/files")


def _entry(label: str, hint: str, href: str) -> dict[str, Any]:
    return {"label": label, "hint": hint, "href": href}
