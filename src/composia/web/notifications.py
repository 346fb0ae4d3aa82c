"""`/notifications`: what people were told of, and whether it arrived."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from composia.controller.api import notifications
from composia.controller.api.desk import Cursor, Id
from composia.model.notification import NotificationState
from composia.web.visit import AtVisit, to

router = APIRouter(prefix="/notifications")

#: On one page, and of those that are open at most.
LIMIT = 50
OPEN = 200


@router.get("")
async def show_notifications(
    visit: AtVisit,
    service: Annotated[str, Query(max_length=128)] = "",
    cursor: Cursor = None,
) -> Response:
    """What is open first; then what is over, the newest first."""
    pressing = await notifications.list_notifications(
        visit, service=service or None, state=NotificationState.OPEN, limit=OPEN
    )
    every = await notifications.list_notifications(
        visit, service=service or None, limit=LIMIT, cursor=cursor
    )
    return visit.page(
        "notifications.html",
        pressing=[] if cursor else pressing.items,
        earlier=[one for one in every.items if one.state is not NotificationState.OPEN],
        next_cursor=every.next_cursor,
        cursor=cursor,
        targets=visit.may("operate"),
    )


@router.post("/test")
async def send_test(visit: AtVisit) -> Response:
    """A message to every target now, and whether it arrived."""
    return visit.page("tried.html", tried=(await notifications.test_notifications(visit)).items)


@router.post("/{id}/acknowledge")
async def acknowledge(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # as api.md names it
    """Tell it no more, unless it happens anew."""
    await notifications.acknowledge(visit, id)
    return to("/notifications")
