"""Tasks, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pydantic_core
from pydantic import BaseModel, ValidationError
from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.actions import actions_of
from composia.controller.store import holds, keys
from composia.controller.store.database import Database
from composia.controller.store.moves import superseded
from composia.controller.store.schema import BACKUPS, ENDED_TASKS, HOLDS, STEPS, TASKS
from composia.controller.store.times import now
from composia.errors import Conflict
from composia.model.task import Key, Status, Step, Task, TaskError, Waiting
from composia.workflows import PLANS, AnyPlan
from composia.workflows.plan import Plan
from composia.workflows.restore import EXCHANGE

NOT_ENDED = (Status.PENDING, Status.RUNNING)


class NewTask(BaseModel):
    """A task to be admitted."""

    id: str
    created_by: str
    source: str
    idempotency_key: str | None = None
    request_hash: str | None = None


class Tasks:
    """The table of tasks."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def admit(self, new: NewTask, plan: Plan) -> holds.Holder | None:
        """Store the task with its holds, or tell who holds one of them. Raises KeyTaken."""
        async with self._db.write() as db:
            await keys.refuse_taken(db, new.created_by, new.idempotency_key)
            if holder := await holds.take_over(db, plan):
                return holder
            await db.execute(insert(TASKS).values(_values(new, plan)))
            await holds.take(db, new.id, plan.holds)
        return None

    async def readmit(self, task: str, plan: Plan, key: Key | None = None) -> holds.Holder | None:
        """Give a task that has ended one attempt more, or tell who holds what it needs.

        Raises KeyTaken.
        """
        async with self._db.write() as db:
            if holder := await holds.take_over(db, plan, task):
                return holder
            await keys.keep(db, task, key)
            blank: dict[str, Any] = dict.fromkeys(("finished_at", "error", "result", "waiting"))
            changes = {"status": Status.PENDING, "cancel_asked": False, **blank}
            await db.execute(
                update(TASKS)
                .where(TASKS.c.id == task, TASKS.c.status.not_in(NOT_ENDED))
                .values(attempt=TASKS.c.attempt + 1, **changes)
            )
            await holds.take(db, task, plan.holds)
        return None

    async def begin(self, task: str) -> None:
        """It is being carried out."""
        started = func.coalesce(TASKS.c.started_at, now())
        async with self._db.write() as db:
            await db.execute(
                update(TASKS)
                .where(TASKS.c.id == task, TASKS.c.status == Status.PENDING)
                .values(status=Status.RUNNING, started_at=_not_before(started, TASKS.c.created_at))
            )

    async def end(
        self,
        task: str,
        status: Status,
        *,
        error: TaskError | None = None,
        result: Mapping[str, Any] | None = None,
        keeps: str | None = None,
        holder: str | None = None,
    ) -> None:
        """How it ended, and nothing held any more but what it `keeps`: one transaction.

        `holder`: the task that has that from then on, instead of this one.
        """
        stamp = now()
        async with self._db.write() as db:
            ended = await db.execute(
                update(TASKS)
                .where(TASKS.c.id == task, TASKS.c.status.in_(NOT_ENDED))
                .values(
                    status=status,
                    finished_at=_not_before(stamp, TASKS.c.started_at),
                    waiting=None,
                    error=error.model_dump_json() if error else None,
                    result=pydantic_core.to_json(result).decode() if result is not None else None,
                )
            )
            if ended.rowcount:
                await _cancel_open_steps(db, task, stamp)
                await holds.free(db, task, but=keeps, holder=holder)
                await db.execute(insert(ENDED_TASKS).values(task=task))

    async def let_go(self, task: str, key: Key | None = None) -> None:
        """What a task that has ended still holds is free. Raises KeyTaken."""
        async with self._db.write() as db:
            await keys.keep(db, task, key)
            await holds.free(db, task)

    async def ask_to_cancel(self, task: str, key: Key | None = None) -> None:
        """Write down that somebody asked for it. Raises KeyTaken."""
        async with self._db.write() as db:
            await keys.keep(db, task, key)
            await db.execute(update(TASKS).where(TASKS.c.id == task).values(cancel_asked=True))

    async def set_waiting(self, task: str, waiting: Waiting | None) -> None:
        """Why it stands still, or that it goes on."""
        text = waiting.model_dump_json(by_alias=True) if waiting else None
        async with self._db.write() as db:
            await db.execute(update(TASKS).where(TASKS.c.id == task).values(waiting=text))

    async def task(self, task: str) -> Task | None:
        """As the API shows it."""
        found = await self._shown(select(TASKS).where(TASKS.c.id == task))
        return found[0] if found else None

    async def plan(self, task: str) -> AnyPlan | None:
        """What is, was or will be carried out; None where there is no such task.

        Raises Conflict for a plan that this version cannot read.
        """
        async with self._db.read() as db:
            text = await db.scalar(select(TASKS.c.plan).where(TASKS.c.id == task))
        if text is None:
            return None
        if plan := _readable(text):
            return plan
        raise Conflict(
            f"task {task} was planned by another version of Composia: this one cannot read it",
            hint="Ask for the same anew; or start the version that planned it.",
        )

    async def tasks(
        self,
        *,
        services: Sequence[str] | None = None,
        node: str | None = None,
        type: str | None = None,  # noqa: A002  # a field's name
        status: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Task]:
        """The newest first."""
        query = select(TASKS).order_by(TASKS.c.id.desc()).limit(limit)
        if services is not None:
            query = query.where(TASKS.c.service.in_(services))
        if node is not None:
            query = query.where(TASKS.c.on_nodes.contains(f",{node},", autoescape=True))
        if type is not None:
            query = query.where(TASKS.c.type == type)
        if status is not None:
            query = query.where(TASKS.c.status == status)
        if before is not None:
            query = query.where(TASKS.c.id < before)
        return await self._shown(query)

    async def left_open(self) -> Sequence[Task]:
        """Tasks that have ended half-way, and hold on until a person decides."""
        holding = TASKS.c.id.in_(select(HOLDS.c.task))
        return await self._shown(select(TASKS).where(holding, TASKS.c.status.not_in(NOT_ENDED)))

    async def holders(self, word: str) -> Sequence[str]:
        """The tasks that hold it now."""
        query = select(HOLDS.c.task).where(HOLDS.c.name == word)
        async with self._db.read() as db:
            return (await db.scalars(query.order_by(HOLDS.c.task))).all()

    async def unfinished(self) -> Sequence[tuple[str, int]]:
        """Ids and attempts of the tasks that have not ended, the oldest first."""
        query = select(TASKS.c.id, TASKS.c.attempt).where(TASKS.c.status.in_(NOT_ENDED))
        async with self._db.read() as db:
            rows = (await db.execute(query.order_by(TASKS.c.id))).all()
        return [(row.id, row.attempt) for row in rows]

    async def attempt(self, task: str) -> int:
        """Which attempt it is in."""
        async with self._db.read() as db:
            return await db.scalar(select(TASKS.c.attempt).where(TASKS.c.id == task)) or 0

    async def cancel_asked(self, task: str) -> bool:
        """Whether somebody asked for its end."""
        async with self._db.read() as db:
            return bool(await db.scalar(select(TASKS.c.cancel_asked).where(TASKS.c.id == task)))

    async def first_of(self, created_by: str, key: str) -> tuple[str, str] | None:
        """The task of an idempotency key, and the hash of what was asked for."""
        async with self._db.read() as db:
            return await keys.first_of(db, created_by, key)

    async def keep(self, task: str, key: Key | None) -> None:
        """Something was asked of a task under this key. Raises KeyTaken."""
        async with self._db.write() as db:
            await keys.keep(db, task, key)

    async def tasks_of(self, created_by: str, prefix: str) -> Mapping[str, str]:
        """The tasks whose idempotency keys begin so, by what follows."""
        key = TASKS.c.idempotency_key
        query = select(key, TASKS.c.id).where(
            TASKS.c.created_by == created_by, key.startswith(prefix, autoescape=True)
        )
        async with self._db.read() as db:
            rows = await db.execute(query.order_by(TASKS.c.id))
            return {row[0].removeprefix(prefix): row.id for row in rows}

    async def statuses(self, tasks: Collection[str]) -> Mapping[str, Status]:
        """How each of these is."""
        query = select(TASKS.c.id, TASKS.c.status).where(TASKS.c.id.in_(tasks))
        async with self._db.read() as db:
            return {row.id: Status(row.status) for row in await db.execute(query)}

    async def newest_id(self) -> str | None:
        """The highest that was given: to a task, or to what a later attempt of one has saved."""
        again = select(TASKS.c.id).where(TASKS.c.attempt > 1)
        saved = func.json_extract(BACKUPS.c.record, "$.task_id").in_(again)
        async with self._db.read() as db:
            found = [
                await db.scalar(select(func.max(TASKS.c.id))),
                await db.scalar(select(func.max(BACKUPS.c.id)).where(saved)),
            ]
        return max(filter(None, found), default=None)

    async def task_counts(self) -> Sequence[tuple[str, str, int]]:
        """How many of each type and status."""
        query = select(TASKS.c.type, TASKS.c.status, func.count()).group_by(
            TASKS.c.type, TASKS.c.status
        )
        async with self._db.read() as db:
            return [(row[0], row[1], row[2]) for row in await db.execute(query)]

    async def _shown(self, query: Select[Any]) -> list[Task]:
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
            if not rows:
                return []
            held = await db.scalars(
                select(HOLDS.c.task).where(HOLDS.c.task.in_([row.id for row in rows])).distinct()
            )
            holding = set(held)
            moved_on = set(await db.scalars(superseded([row.id for row in rows])))
            steps = await db.execute(
                select(STEPS).where(STEPS.c.task.in_([row.id for row in rows])).order_by(STEPS.c.id)
            )
        of_task: dict[tuple[str, int], list[Step]] = {}
        for step in steps:
            of_task.setdefault((step.task, step.attempt), []).append(_step(step))
        replacing = {
            task
            for (task, _), of_attempt in of_task.items()
            if any(step.name == EXCHANGE for step in of_attempt)
        }
        return [
            _task(
                row,
                of_task.get((row.id, row.attempt), []),
                holds=row.id in holding,
                superseded=row.id in moved_on,
                replacing=row.id in replacing,
            )
            for row in rows
        ]


async def _cancel_open_steps(db: AsyncConnection, task: str, stamp: str) -> None:
    await db.execute(
        update(STEPS)
        .where(STEPS.c.task == task, STEPS.c.status.in_(NOT_ENDED))
        .values(status=Status.CANCELLED, finished_at=_not_before(stamp, STEPS.c.started_at))
    )


def _values(new: NewTask, plan: Plan) -> dict[str, Any]:
    return {
        **new.model_dump(),
        "type": plan.plan,
        "service": plan.service_name,
        "nodes": json.dumps(plan.nodes),
        "on_nodes": f",{','.join(plan.nodes)},",
        "status": Status.PENDING,
        "title": str(plan),
        "plan": plan.model_dump_json(),
        "created_at": now(),
    }


def _not_before(stamp: Any, earlier: Any) -> Any:
    """A time, but none before what came first: the clock may have been set back between."""
    return func.max(func.coalesce(earlier, stamp), stamp)


def _task(
    row: Row[Any], steps: Sequence[Step], *, holds: bool, superseded: bool, replacing: bool
) -> Task:
    status, result = Status(row.status), json.loads(row.result) if row.result else None
    return Task(
        id=row.id,
        type=row.type,
        service=row.service,
        nodes=tuple(json.loads(row.nodes)),
        status=status,
        title=row.title,
        created_by=row.created_by,
        source=row.source,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        steps=tuple(steps),
        waiting=Waiting.model_validate_json(row.waiting) if row.waiting else None,
        error=TaskError.model_validate_json(row.error) if row.error else None,
        result=result,
        actions=actions_of(
            status,
            _readable(row.plan),
            result,
            cancel_asked=row.cancel_asked,
            waiting=row.waiting is not None,
            holds=holds,
            superseded=superseded,
            replacing_until=row.finished_at if replacing else None,
        ),
    )


def _readable(plan: str) -> AnyPlan | None:
    try:
        return PLANS.validate_json(plan)
    except ValidationError:
        return None


def _step(row: Row[Any]) -> Step:
    return Step.model_validate(
        {
            "name": row.name,
            "node": row.node or None,
            "status": row.status,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "error": json.loads(row.error) if row.error else None,
            "progress": json.loads(row.progress) if row.progress else None,
        }
    )
