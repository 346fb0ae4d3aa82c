"""What has become of a service: the commits of its folder, and its tasks."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from composia.controller.api.desk import ServiceName
from composia.web.comparison import in_lines
from composia.web.files import service_or_broken
from composia.web.visit import AtVisit

router = APIRouter(prefix="/services")

#: So many commits and so many tasks are shown.
NEWEST = 50
#: Lines of a commit that are shown.
LINES = 2000
Revision = Annotated[str, Path(pattern="^[0-9a-f]{40}$")]


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


@router.get("/{service}/history/{revision}")
async def show_commit(visit: AtVisit, service: ServiceName, revision: Revision) -> Response:
    """What a commit says, and what it changed in the service's folder."""
    found = await service_or_broken(visit, service)
    changes = await visit.office.catalog.commit(revision, found.folder)
    return visit.page(
        "service_commit.html",
        service=found,
        tab="history",
        commit=changes.commit,
        files=in_lines(changes.files, LINES),
        more=changes.more,
    )
