"""What has become of a service: the commits of its folder, and its tasks."""

from __future__ import annotations

from fastapi import APIRouter, Response

from composia.controller.api.desk import ServiceName
from composia.web.files import service_or_broken
from composia.web.visit import AtVisit

router = APIRouter(prefix="/services")

#: So many commits and so many tasks are shown.
NEWEST = 50


@router.get("/{service}/history")
async def show_history(visit: AtVisit, service: ServiceName) -> Response:
    """Who has changed what, and what was done."""
    found = await service_or_broken(visit, service)
    tasks = await visit.office.store.tasks(services=(service,), limit=NEWEST)
    seen = visit.office.catalog.view().revision
    commits = await visit.office.catalog.history(found.folder, NEWEST, seen)
    return visit.page(
        "service_history.html", service=found, tab="history", tasks=tasks, commits=commits
    )
