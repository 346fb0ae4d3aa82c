"""`/schedules`: what happens by itself."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

from composia.controller.api.desk import AtDesk, Limit
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers
from composia.model.schedule import Kind
from composia.model.shown import Page, ScheduleView

router = api_router("schedules", "/schedules")


@router.get("", **answers())
async def list_schedules(
    desk: AtDesk,
    service: Annotated[str | None, Query(max_length=128)] = None,
    kind: Kind | None = None,
    limit: Limit = 1000,
    cursor: Annotated[
        str | None,
        Query(max_length=512, description="`next_cursor` of the page before."),
    ] = None,
) -> Page[ScheduleView]:
    """All schedules, each with its last, next, waiting and missed times, by their keys."""
    wanted = desk.services(service)
    found = [
        one
        for one in sorted(await desk.office.scheduler.views(), key=lambda one: one.key)
        if (wanted is None or one.service in wanted)
        and (kind is None or one.kind is kind)
        and one.key > (cursor or "")
    ]
    return Page[ScheduleView].cut(found, limit, lambda one: one.key)
