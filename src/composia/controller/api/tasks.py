"""`/tasks`: what is done, was done, and can still be asked of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.responses import PlainTextResponse

from composia import errors
from composia.controller.api.bodies import parsed
from composia.controller.api.desk import AtDesk, Cursor, Desk, Id, Limit, Once, Submit
from composia.controller.api.moves import RollbackRequest, plan_back
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers, asks, hands_in, reads
from composia.controller.api.streams import EVENT_STREAM, event, events
from composia.model.config import Scope
from composia.model.shown import Page
from composia.model.task import Status, Task
from composia.workflows.migrate import MigratePlan
from composia.workflows.restore import plan_rollback

router = api_router("tasks", "/tasks")


@router.get("", **answers())
async def list_tasks(
    desk: AtDesk,
    service: Annotated[str | None, Query(max_length=128)] = None,
    node: Annotated[str | None, Query(max_length=128)] = None,
    type_: Annotated[str | None, Query(alias="type", max_length=64)] = None,
    status: Status | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Task]:
    """All tasks, the newest first."""
    found = await desk.office.store.tasks(
        services=desk.services(service),
        node=node,
        type=type_,
        status=status,
        before=cursor,
        limit=limit + 1,
    )
    return Page[Task].cut(found, limit, lambda one: one.id)


@router.get("/{id}", **answers(errors.NotFound))
async def get_task(desk: AtDesk, id: Id) -> Task:  # noqa: A002  # as api.md names it
    """One task with its steps."""
    return await desk.task(id)


@router.get("/{id}/logs", **reads("text/plain", follow=EVENT_STREAM))
async def get_task_logs(
    desk: AtDesk,
    id: Id,  # noqa: A002  # as api.md names it
    *,
    follow: Annotated[bool, Query(description="Server-sent events, until the task ends.")] = False,
) -> Response:
    """Its log. Followed: an event `log` a line, at last `end` with the task."""
    task = await desk.task(id)
    if follow:
        return events(desk, _followed(desk, task.id))
    return PlainTextResponse(await desk.office.logs.read(task.id))


async def _followed(desk: Desk, task: str) -> AsyncIterator[bytes]:
    async for line in desk.office.logs.follow(task):
        yield event("log", line)
    ended = await desk.task(task)
    yield event("end", ended.model_dump(mode="json", by_alias=True))


@router.post("/{id}/cancel", **asks())
async def cancel(desk: AtDesk, id: Id, once: Once) -> Response:  # noqa: A002  # as api.md names it
    """Ask it to end as soon as it is safe."""
    task = await desk.task(id)
    desk.caller.must(Scope.OPERATE, task.service)
    return await once.ask(desk.office.runner.cancel(task.id, once.key))


@router.post("/{id}/retry", **asks(errors.Failure))
async def retry(desk: AtDesk, id: Id, once: Once) -> Response:  # noqa: A002  # as api.md names it
    """The same task, one attempt more, from the step that failed."""
    task = await desk.task(id)
    desk.caller.must(Scope.OPERATE, task.service)
    return await once.ask(desk.retry(task, once.key))


@router.post("/{id}/rollback", **hands_in(RollbackRequest, errors.Failure))
async def rollback(
    desk: AtDesk,
    id: Id,  # noqa: A002  # see above
    wanted: Annotated[RollbackRequest, Depends(parsed(RollbackRequest))],
    submit: Submit,
) -> Response:
    """Bring back what a restore replaced, while it is kept; or take back a move that is open."""
    task = await desk.task(id)
    desk.caller.must(Scope.OPERATE, task.service)
    plan = await desk.plan(task.id)
    if isinstance(plan, MigratePlan):
        return await submit.hand_in(await plan_back(desk, task, plan, wanted.data))
    earlier = await desk.brought_back_by(task)
    return await submit.hand_in(plan_rollback(await desk.known(), task, plan, earlier))


@router.post("/{id}/abandon", **asks())
async def abandon(desk: AtDesk, id: Id, once: Once) -> Response:  # noqa: A002  # as api.md names it
    """Give up waiting for a node, or its Docker engine, that will never answer.

    Where an undo waits for the target of a move (step `undo_stop_target`), it is a person's word
    that nothing runs there any more: the service starts again on the source.
    """
    task = await desk.task(id)
    desk.caller.must(Scope.OPERATE, task.service)
    return await once.ask(desk.office.runner.abandon(task.id, once.key))
