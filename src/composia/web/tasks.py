"""`/tasks`: the list, and a task as it is carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from composia.controller.api.desk import Cursor, Id
from composia.controller.api.moves import RollbackRequest, plan_back
from composia.controller.api.streams import event, events
from composia.model.config import Scope
from composia.model.shown import Page
from composia.model.task import Status, Task
from composia.web.charts import outages
from composia.web.forms import parsed
from composia.web.journey import journey
from composia.web.logs import batched
from composia.web.pace import Pace
from composia.web.visit import AtVisit, to_task
from composia.workflows.migrate import MigratePlan
from composia.workflows.restore import plan_rollback

router = APIRouter(prefix="/tasks")

#: On one page.
LIMIT = 50


@router.get("")
async def list_tasks(
    visit: AtVisit,
    service: Annotated[str, Query(max_length=128)] = "",
    node: Annotated[str, Query(max_length=128)] = "",
    status: Annotated[str, Query(max_length=16)] = "",
    cursor: Cursor = None,
) -> Response:
    """All tasks, the newest first."""
    found = await visit.office.store.tasks(
        services=visit.services(service or None),
        node=node or None,
        status=status or None,
        before=cursor,
        limit=LIMIT + 1,
    )
    tasks = Page[Task].cut(found, LIMIT, lambda one: one.id)
    chosen = {"service": service, "node": node, "status": status}
    return visit.page("tasks.html", tasks=tasks, chosen=chosen, statuses=list(Status))


@router.get("/{id}")
async def show_task(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # as api.md names it
    """Its steps, its log, and what can be asked of it."""
    task = await visit.task(id)
    now = datetime.now(UTC)
    paces = {number: Pace.of(step, now) for number, step in enumerate(task.steps)}
    outage = next(iter(outages([task])), None)
    return visit.page("task.html", task=task, paces=paces, outage=outage, legs=journey(task))


@router.get("/{id}/log")
async def follow_log(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """Its log as it grows: events `log` with some lines each, at last `end`."""
    task = await visit.task(id)
    return events(visit, _followed(visit.office.logs.follow(task.id)))


@router.get("/{id}/log.txt")
async def whole_log(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """All of it so far, to keep."""
    task = await visit.task(id)
    headers = {"Content-Disposition": f'attachment; filename="task-{task.id}.log"'}
    return PlainTextResponse(await visit.office.logs.read(task.id), headers=headers)


@router.post("/{id}/cancel")
async def cancel(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """Ask it to end as soon as it is safe."""
    task = await visit.task(id)
    visit.caller.must(Scope.OPERATE, task.service)
    return to_task(await visit.office.runner.cancel(task.id))


@router.post("/{id}/retry")
async def retry(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """One attempt more, from the step that failed."""
    task = await visit.task(id)
    visit.caller.must(Scope.OPERATE, task.service)
    return to_task(await visit.retry(task))


@router.post("/{id}/abandon")
async def abandon(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """Leave it as it stands."""
    task = await visit.task(id)
    visit.caller.must(Scope.OPERATE, task.service)
    return to_task(await visit.office.runner.abandon(task.id))


@router.get("/{id}/rollback")
async def ask_rollback(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """What a rollback brings back, and what becomes of what was written since."""
    task = await visit.task(id)
    visit.caller.must(Scope.OPERATE, task.service)
    is_move = isinstance(await visit.plan(task.id), MigratePlan)
    back = f"/tasks/{task.id}"
    return visit.dialog("rollback_dialog.html", back=back, task=task, is_move=is_move)


@router.post("/{id}/rollback")
async def rollback(visit: AtVisit, id: Id, request: Request) -> Response:  # noqa: A002  # see above
    """Bring back what was replaced, or take a move back."""
    task = await visit.task(id)
    visit.caller.must(Scope.OPERATE, task.service)
    wanted = await parsed(request, RollbackRequest)
    plan = await visit.plan(task.id)
    if isinstance(plan, MigratePlan):
        return await visit.submit(await plan_back(visit, task, plan, wanted.data))
    earlier = await visit.brought_back_by(task)
    return await visit.submit(plan_rollback(await visit.known(), task, plan, earlier))


async def _followed(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    yield event("begin", "")
    async for some in batched(lines):
        yield event("log", some)
    yield event("end", "")
