"""`/live`: what changes, told to open pages; they fetch what they show of it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from composia.controller.api.office import Event
from composia.controller.api.streams import event, events
from composia.web.visit import AtVisit, Visit

router = APIRouter()

#: Paths whose caller is a stream: it is refused, and not led to the door.
STREAM = ("/live", "/live/session")
#: Seconds between two signs of life; pages say so when two are missing.
BEAT = 10.0


@router.get("/live/session")
async def is_signed_in(visit: AtVisit) -> Response:
    """204, or 401: whether a stream that was refused was refused for that."""
    return Response(status_code=204)


@router.get("/live")
async def listen(visit: AtVisit, after: str = "") -> StreamingResponse:
    """An event `hello` at first, `change` for each change, `beat` in between.

    `after`: the mark of the page that listens; `hello` says whether it has missed a change.
    """
    return events(visit, _told(visit, after))


async def _told(visit: Visit, after: str) -> AsyncIterator[bytes]:
    async with visit.office.events.subscribe() as changes:
        yield event("hello", {"missed": after != visit.office.events.mark})
        coming = asyncio.ensure_future(anext(changes, None))
        try:
            while True:
                await asyncio.wait({coming}, timeout=BEAT)
                if not coming.done():
                    yield event("beat", {})
                    continue
                change = coming.result()
                if change is None:
                    return
                if change.service is None or visit.caller.may_see(change.service):
                    yield event("change", _short(change))
                coming = asyncio.ensure_future(anext(changes, None))
        finally:
            coming.cancel()


def _short(change: Event) -> dict[str, Any]:
    """Enough to know what to fetch again: a page asks for the rest itself."""
    return {"kind": change.kind, "service": change.service, "id": change.data.get("id")}
