"""Schedules: up to when each was looked at, and what became of every time that was due."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Row, delete, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.database import Database
from composia.controller.store.schema import RUNS, SCHEDULES
from composia.controller.store.times import stored

#: Rows of a schedule on a node that are kept.
KEPT = 500


class RunState(StrEnum):
    WAITING = "waiting"
    TAKEN = "taken"
    MISSED = "missed"


class Mark(BaseModel):
    """Up to when a schedule was looked at, and since when it is as it is.

    A backup has another one for each of its nodes: since when it is made there.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    expression: str
    timezone: str
    since: datetime
    seen: datetime


class DueRun(BaseModel):
    """A time of a schedule on a node, and what became of it."""

    model_config = ConfigDict(frozen=True)

    schedule: str
    node: str
    slot: datetime
    state: RunState = RunState.WAITING
    reason: str | None = None
    #: Of several that were missed at once: the first of them, and how many.
    first: datetime
    times: int = 1
    batch: str | None = None
    task: str | None = None


class Schedules:
    """The tables of schedules and their runs."""

    _db: Database
    #: Grows with every change of these tables; and what was found after so many.
    _schedule_changes: int = 0
    _marks: tuple[int, Mapping[str, Mark]] = (-1, MappingProxyType({}))
    _runs: Mapping[int, tuple[int, Sequence[DueRun]]] = MappingProxyType({})

    @asynccontextmanager
    async def _changing_schedules(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes schedules or runs; what was found before is found again."""
        try:
            async with self._db.write() as db:
                yield db
        finally:
            self._schedule_changes += 1

    async def marks(self) -> Mapping[str, Mark]:
        """Every schedule that is known, by its key; the same one until something has changed."""
        changes = self._schedule_changes
        if self._marks[0] != changes:
            async with self._db.read() as db:
                rows = await db.execute(select(SCHEDULES))
                found = {row.key: Mark.model_validate(dict(row._mapping)) for row in rows}
            self._marks = (changes, MappingProxyType(found))
        return self._marks[1]

    async def note_due(
        self, marks: Sequence[Mark], runs: Sequence[DueRun], gone: Collection[str] = ()
    ) -> None:
        """What was looked at, and what is due, in one transaction.

        A time that was taken stays so. One that still waits when the next comes is missed.
        """
        async with self._changing_schedules() as db:
            for mark in marks:
                await _keep_mark(db, mark)
            await db.execute(delete(SCHEDULES).where(SCHEDULES.c.key.in_(gone)))
            for run in runs:
                await _keep_run(db, run)
                await _older_missed(db, run)

    async def waiting_runs(self) -> Sequence[DueRun]:
        """What is due and was not begun, the oldest first."""
        query = select(RUNS).where(RUNS.c.state == RunState.WAITING)
        async with self._db.read() as db:
            rows = await db.execute(query.order_by(RUNS.c.slot, RUNS.c.schedule, RUNS.c.node))
            return [_run(row) for row in rows]

    async def hand_runs_in(self, runs: Sequence[DueRun], batch: str) -> None:
        """Note under which key they are about to become a task."""
        await self._change(runs, batch=batch)

    async def put_runs_off(self, runs: Sequence[DueRun], reason: str) -> None:
        """They wait; nothing was begun."""
        await self._change(runs, RUNS.c.state == RunState.WAITING, batch=None, reason=reason)

    async def explain_runs(self, runs: Sequence[DueRun], reason: str) -> None:
        """Why they are not begun; whether they were is still to be found out."""
        await self._change(runs, RUNS.c.state == RunState.WAITING, reason=reason)

    async def take_runs(self, runs: Sequence[DueRun], task: str | None, reason: str | None) -> None:
        """They have become a task, or there was nothing to do; `reason`: what was not done."""
        await self._change(runs, state=RunState.TAKEN, task=task, reason=reason)

    async def miss_runs(self, runs: Sequence[DueRun], reason: str) -> None:
        """They will not happen any more."""
        await self._change(runs, state=RunState.MISSED, batch=None, reason=reason)

    async def newest_runs(self, limit: int = 50) -> Sequence[DueRun]:
        """So many of each schedule on each node, the newest first."""
        # All rows are ranked for it, and pages ask all the time.
        changes, found = self._runs.get(limit, (-1, ()))
        if changes != self._schedule_changes:
            changes, found = self._schedule_changes, await self._look_for_runs(limit)
            self._runs = MappingProxyType({**self._runs, limit: (changes, found)})
        return found

    async def _look_for_runs(self, limit: int) -> Sequence[DueRun]:
        ranked = _ranked()
        query = select(ranked).where(ranked.c.rank <= limit).order_by(ranked.c.slot.desc())
        async with self._db.read() as db:
            return tuple(_run(row) for row in await db.execute(query))

    async def prune_runs(self) -> None:
        """Forget what is long ago."""
        ranked = _ranked()
        old = select(ranked.c.schedule, ranked.c.node, ranked.c.slot).where(ranked.c.rank > KEPT)
        async with self._changing_schedules() as db:
            await db.execute(delete(RUNS).where(_PLACE.in_(old)))

    async def _change(
        self, runs: Sequence[DueRun], *where: ColumnElement[bool], **values: Any
    ) -> None:
        places = [(run.schedule, run.node, stored(run.slot)) for run in runs]
        async with self._changing_schedules() as db:
            await db.execute(update(RUNS).where(_PLACE.in_(places), *where).values(**values))


_PLACE = tuple_(RUNS.c.schedule, RUNS.c.node, RUNS.c.slot)


def _ranked() -> Any:
    of = (RUNS.c.schedule, RUNS.c.node)
    rank = func.row_number().over(partition_by=of, order_by=RUNS.c.slot.desc()).label("rank")
    return select(RUNS, rank).subquery()


async def _keep_mark(db: AsyncConnection, mark: Mark) -> None:
    values = {
        "expression": mark.expression,
        "timezone": mark.timezone,
        "since": stored(mark.since),
        "seen": stored(mark.seen),
    }
    await db.execute(
        insert(SCHEDULES)
        .values(key=mark.key, **values)
        .on_conflict_do_update(index_elements=["key"], set_=values)
    )


async def _keep_run(db: AsyncConnection, run: DueRun) -> None:
    """One that was only missed may come again: the clock was set forward, and then back."""
    row = insert(RUNS).values(_row(run))
    if run.state is RunState.WAITING:
        await db.execute(
            row.on_conflict_do_update(
                index_elements=["schedule", "node", "slot"],
                set_=_row(run),
                where=RUNS.c.state == RunState.MISSED,
            )
        )
    else:
        await db.execute(row.on_conflict_do_nothing())


async def _older_missed(db: AsyncConnection, run: DueRun) -> None:
    """A run that is being handed in stays: whether it has become a task is found out first."""
    await db.execute(
        update(RUNS)
        .where(
            RUNS.c.schedule == run.schedule,
            RUNS.c.node == run.node,
            RUNS.c.slot < stored(run.slot),
            RUNS.c.state == RunState.WAITING,
            RUNS.c.batch.is_(None),
        )
        .values(state=RunState.MISSED)
    )


def _row(run: DueRun) -> dict[str, Any]:
    return {**run.model_dump(), "slot": stored(run.slot), "first": stored(run.first)}


def _run(row: Row[Any]) -> DueRun:
    return DueRun.model_validate({name: row._mapping[name] for name in DueRun.model_fields})
