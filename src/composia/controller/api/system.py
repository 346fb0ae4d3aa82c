"""What belongs to no one service: the configuration, and what happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from composia import errors
from composia.controller.api.desk import AtDesk, Desk
from composia.controller.api.problems import responses
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers
from composia.controller.api.streams import EVENT_SCHEMA, EVENT_STREAM, event, events, may_hear
from composia.model.config import Scope
from composia.model.shown import Reloaded

router = api_router("system")


@router.post("/config/reload", **answers(errors.Conflict, errors.Failure))
async def reload_config(desk: AtDesk) -> Reloaded:
    """Read config.yaml again; a wrong file changes nothing.

    All of it counts at once, but for `listen_addr`, the folders and `git`: these are read when the
    controller starts.
    """
    desk.caller.must(Scope.ADMIN)
    changed = await desk.office.reload()
    config = desk.office.config
    return Reloaded(
        access_tokens=[token.name for token in config.access_tokens if token.enabled],
        nodes=[node.id for node in config.nodes],
        needs_restart=changed,
    )


@router.get(
    "/events",
    response_model=None,
    responses={
        200: {
            "description": "Server-sent events.",
            "content": {EVENT_STREAM: {"schema": EVENT_SCHEMA}},
        },
        **responses(),
    },
)
async def get_events(desk: AtDesk) -> StreamingResponse:
    """Changes of tasks, backups, nodes and services, as they come."""
    return events(desk, _changes(desk))


async def _changes(desk: Desk) -> AsyncIterator[bytes]:
    async with desk.office.events.subscribe() as changes:
        yield b": listening\n\n"
        async for change in changes:
            if may_hear(desk.caller, change):
                yield event(change.kind, dict(change.data))
