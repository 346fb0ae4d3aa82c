"""`/schedules`: what happens by itself, when it did last, and what has kept it from happening."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Response

from composia.web.visit import AtVisit

router = APIRouter(prefix="/schedules")

NEVER = datetime.max.replace(tzinfo=UTC)


@router.get("")
async def list_schedules(visit: AtVisit) -> Response:
    """All of them, what begins next first."""
    found = [one for one in await visit.office.scheduler.views() if visit.sees(one.service)]
    found.sort(key=lambda one: (one.next or NEVER, one.key))
    return visit.page("schedules.html", schedules=found)
