"""`/`: what needs attention, and how everything is now; and the palette's entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from composia.controller.api import nodes, services
from composia.model.notification import NotificationState
from composia.model.shown import InstanceState, ServiceView
from composia.model.task import Status, Task
from composia.web.attention import attention
from composia.web.charts import DAYS, DayChart, outages
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
#: So many open matters are looked at.
MOST_OPEN = 200


class Tiles(BaseModel):
    """Everything in four numbers."""

    model_config = ConfigDict(frozen=True)

    instances: int
    running: int
    #: Data items that are saved somehow, and those with a good backup.
    items: int
    saved: int
    newest: datetime | None

    @classmethod
    def of(cls, every: Sequence[ServiceView]) -> Tiles:
        """From all services."""
        states = [one.state for service in every for one in service.instances]
        items = [item for service in every for item in service.data_items if item.backup]
        times = [item.last_backup.time for item in items if item.last_backup]
        return cls(
            instances=len(states),
            running=states.count(InstanceState.RUNNING),
            items=len(items),
            saved=len(times),
            newest=max(times, default=None),
        )


@router.get("/")
async def show_home(visit: AtVisit) -> Response:
    """Is everything well?"""
    store, mine = visit.office.store, visit.services(None)
    every, machines = await services.every(visit), nodes.every(visit)
    moves = await store.tasks(services=mine, type="migrate", limit=NEWEST)
    running = await _under_way(visit)
    matters = await store.notifications(
        services=mine, state=NotificationState.OPEN, limit=MOST_OPEN
    )
    schedules = [one for one in await visit.office.scheduler.views() if visit.sees(one.service)]
    return visit.page(
        "home.html",
        needs=attention(every, machines, [*running, *moves], schedules, matters),
        tiles=Tiles.of(every),
        services=every,
        nodes=machines,
        running=running,
        moves=moves,
        outages={one.task.id: one for one in outages(moves)},
        backups=await store.backups(services=mine, limit=NEWEST),
        days=await _days(visit),
    )


@router.get("/palette")
async def palette(visit: AtVisit) -> list[dict[str, Any]]:
    """Where one can go, and what one can start: filtered in the browser."""
    return [*_places(visit)]


async def _under_way(visit: Visit) -> list[Task]:
    mine = visit.services(None)
    found: list[Task] = []
    for status in (Status.RUNNING, Status.PENDING):
        found += await visit.office.store.tasks(services=mine, status=status, limit=50)
    return found


async def _days(visit: Visit) -> DayChart:
    today = datetime.now(UTC).date()
    since = datetime.combine(today - timedelta(days=DAYS - 1), time(), UTC)
    return DayChart.of(await visit.office.store.backup_days(since, visit.services(None)), today)


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
            yield _entry(f"Restore {service}", "action", f"/services/{service}/restore")
            yield _entry(f"Deploy {service}", "action", f"/services/{service}/change/deploy")
            yield _entry(f"Migrate {service}", "action", f"/services/{service}/migrate")
        if visit.may("admin", service):
            yield _entry(f"Edit files of {service}", "action", f"/services/{service}/files")


def _entry(label: str, hint: str, href: str) -> dict[str, Any]:
    return {"label": label, "hint": hint, "href": href}
