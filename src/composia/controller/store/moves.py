"""Moves: how far each has come, and the placements that questions are meant for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.database import Database
from composia.controller.store.schema import EPOCHS, MOVES, STEPS

BEGUN, ANSWERED, GIVEN_UP, DONE, UNDONE = "begun", "answered", "given_up", "done", "undone"
#: A move that is over: questions of an older placement are refused from then on.
OVER = (GIVEN_UP, DONE, UNDONE)


class Moves:
    """The tables of moves and epochs."""

    _db: Database

    async def begin_move(
        self, task: str, service: str, source: str, target: str
    ) -> tuple[str, dict[str, Any]]:
        """The stage and facts of a move, which begins where it had not or was undone."""
        async with self._db.write() as db:
            row = (await db.execute(select(MOVES).where(MOVES.c.task == task))).first()
            if row is not None and row.stage != UNDONE:
                return row.stage, json.loads(row.facts)
            values = {"service": service, "source": source, "target": target}
            values |= {"stage": BEGUN, "facts": "{}"}
            statement = insert(MOVES).values(task=task, **values)
            await db.execute(statement.on_conflict_do_update(index_elements=["task"], set_=values))
            await _raise(db, service)
        return BEGUN, {}

    async def note_move(self, task: str, stage: str, facts: Mapping[str, Any]) -> None:
        """How far it has come; facts are added to what was known."""
        async with self._db.write() as db:
            row = (await db.execute(select(MOVES).where(MOVES.c.task == task))).first()
            if row is None:
                return
            known = json.dumps({**json.loads(row.facts), **facts})
            changed = update(MOVES).where(MOVES.c.task == task).values(stage=stage, facts=known)
            await db.execute(changed)
            if stage in OVER and row.stage not in OVER:
                await _raise(db, row.service)

    async def given_up(self, node: str) -> list[tuple[str, str]]:
        """Tasks and services of rescues from this node, which has not come back since."""
        query = select(MOVES.c.task, MOVES.c.service).where(
            MOVES.c.source == node, MOVES.c.stage == GIVEN_UP
        )
        async with self._db.read() as db:
            return [(row.task, row.service) for row in await db.execute(query)]

    async def between_steps(self, task: str, first: str, second: str) -> float:
        """Seconds from the end of one step on the source to the begin of another one."""
        query = (
            select(STEPS.c.name, STEPS.c.node, STEPS.c.started_at, STEPS.c.finished_at)
            .where(STEPS.c.task == task, STEPS.c.name.in_((first, second)))
            .order_by(STEPS.c.id)
        )
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
            source = await db.scalar(select(MOVES.c.source).where(MOVES.c.task == task))
        ended = [one.finished_at for one in rows if one.name == first and one.node == source]
        begun = [one.started_at for one in rows if one.name == second]
        if not ended or not begun or ended[-1] is None:
            return 0.0
        span = datetime.fromisoformat(begun[-1]) - datetime.fromisoformat(ended[-1])
        return max(span.total_seconds(), 0.0)

    async def epoch(self, service: str) -> int:
        """How many times it has been placed anew."""
        async with self._db.read() as db:
            query = select(EPOCHS.c.epoch).where(EPOCHS.c.service == service)
            return await db.scalar(query) or 0

    async def know_epochs(self, epochs: Mapping[str, int]) -> None:
        """What a node knows of placements that a lost store does not."""
        for service, epoch in epochs.items():
            if epoch > await self.epoch(service):
                async with self._db.write() as db:
                    await _set(db, service, epoch)


async def _raise(db: AsyncConnection, service: str) -> None:
    before = await db.scalar(select(EPOCHS.c.epoch).where(EPOCHS.c.service == service)) or 0
    await _set(db, service, before + 1)


async def _set(db: AsyncConnection, service: str, epoch: int) -> None:
    statement = insert(EPOCHS).values(service=service, epoch=epoch)
    await db.execute(
        statement.on_conflict_do_update(index_elements=["service"], set_={"epoch": epoch})
    )
