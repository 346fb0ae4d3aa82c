"""`/notifications`: what people are told of, and whether it arrives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from composia import errors
from composia.controller.api.desk import AtDesk, Cursor, Id, Limit
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers
from composia.model.config import Scope
from composia.model.notification import EventName, Notification, NotificationState, TriedAll
from composia.model.shown import Page
from composia.workflows.objections import not_found

router = api_router("notifications", "/notifications")


@router.get("", **answers())
async def list_notifications(
    desk: AtDesk,
    service: Annotated[str | None, Query(max_length=128)] = None,
    state: NotificationState | None = None,
    event: EventName | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Notification]:
    """What was told or is to be, the newest first, with what became of each message."""
    found = await desk.office.store.notifications(
        services=desk.services(service), state=state, event=event, before=cursor, limit=limit + 1
    )
    return Page[Notification].cut(found, limit, lambda one: one.id)


@router.post("/test", **answers())
async def test_notifications(desk: AtDesk) -> TriedAll:
    """Send a message to every target now, and say which arrived."""
    desk.caller.must(Scope.OPERATE)
    return TriedAll(items=await desk.office.notifier.test())


@router.post("/{id}/acknowledge", **answers(errors.NotFound))
async def acknowledge(desk: AtDesk, id: Id) -> Notification:  # noqa: A002  # as api.md names it
    """Tell it no more, unless it happens anew; its end is told all the same."""
    found = await _found(desk, id)
    desk.caller.must(Scope.OPERATE, found.service)
    await desk.office.store.acknowledge(id, desk.caller.created_by, datetime.now(UTC))
    return await _found(desk, id)


async def _found(desk: AtDesk, notification: str) -> Notification:
    found = await desk.office.store.notification(notification)
    if found is None:
        raise not_found("notification", notification, ())
    desk.caller.must_see(found.service)
    return found
