"""Moves: how far each has come, and the placements that questions are meant for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.database import Database
from composia.controller.store.schema import EPOCHS, MOVES, STEPS, TASKS
from composia.errors import Conflict
from composia.model.names import NAME_PATTERN
from composia.model.task import OpenMove

BEGUN, ANSWERED, GIVEN_UP, DONE, UNDONE = "begun", "answered", "given_up", "done", "undone"
#: A move that is over: questions of an older placement are refused from then on.
OVER = (GIVEN_UP, DONE, UNDONE)
#: The target has answered: from then on the service is there.
ARRIVED = (ANSWERED, GIVEN_UP, DONE)
#: Of a rescue: its source may still run what has been started elsewhere.
NOT_SETTLED = (BEGUN, ANSWERED, GIVEN_UP)
#: Of a rescue: what still ran on its source, which came back, has been stopped; or on a target
#: that was given up.
SOURCE_STOPPED = "source_stopped"
#: Of a move that was undone: its target was given up, and may run still what had been started.
TARGET_GONE = "target_gone"


#: So many services a node may know epochs of, and so far one may be ahead of ours.
MANY = 10_000
FAR = 10_000
_NAME = re.compile(NAME_PATTERN)


class Moves:
    """The tables of moves and epochs."""

    _db: Database

    async def begin_move(
        self, task: str, service: str, source: str, target: str
    ) -> tuple[str, dict[str, Any]]:
        """The stage and facts as they were noted: "" for one that begins, or was undone before.

        The same attempt may ask twice: until it is answered nothing of the move is done. Raises
        Conflict where another move has moved the service on since.
        """
        async with self._db.write() as db:
            row = (await db.execute(select(MOVES).where(MOVES.c.task == task))).first()
            attempt = await db.scalar(select(TASKS.c.attempt).where(TASKS.c.id == task)) or 0
            if row is not None and row.stage != UNDONE:
                if row.stage == BEGUN and row.attempt == attempt:
                    return "", {}
                if await db.scalar(select(_later_than(row.number, service).exists())):
                    raise Conflict(
                        f"{service} has been moved since: what task {task} began is no longer so",
                        hint=f"Start a new move: `composia migrate {service} --to NODE`.",
                    )
                return row.stage, json.loads(row.facts)
            values: dict[str, Any] = {"service": service, "source": source, "target": target}
            number = (await db.scalar(select(func.max(MOVES.c.number))) or 0) + 1
            facts = json.dumps(_still_so(row.facts if row else "{}"))
            values |= {"stage": BEGUN, "facts": facts, "number": number, "attempt": attempt}
            statement = insert(MOVES).values(task=task, **values)
            await db.execute(statement.on_conflict_do_update(index_elements=["task"], set_=values))
            if not await _another_is_open(db, service, task):
                await _raise(db, service)
        return "", {}

    async def note_move(self, task: str, stage: str, facts: Mapping[str, Any]) -> None:
        """How far it has come; facts are added to what was known."""
        async with self._db.write() as db:
            row = (await db.execute(select(MOVES).where(MOVES.c.task == task))).first()
            if row is not None:
                await _note(db, row, stage, facts)

    async def half_done(self, task: str) -> str | None:
        """The service of a move that has begun, and is neither done nor undone."""
        query = select(MOVES.c.service).where(MOVES.c.task == task, MOVES.c.stage.not_in(OVER))
        async with self._db.read() as db:
            found: str | None = await db.scalar(query)
        return found

    async def give_up(self, task: str) -> None:
        """A rescue is over; its source is to be stopped when it comes back, if it was not yet."""
        await self.note_move(task, DONE if await self.source_stopped(task) else GIVEN_UP, {})

    async def source_stopped(self, task: str) -> bool:
        """Whether the source of a rescue has come back, and been stopped."""
        async with self._db.read() as db:
            facts = await db.scalar(select(MOVES.c.facts).where(MOVES.c.task == task))
        return _says(SOURCE_STOPPED, facts or "{}")

    async def note_target_gone(self, task: str, *, gone: bool) -> None:
        """A person's word on the target of a move that is being undone."""
        await self._note(task, {TARGET_GONE: gone, SOURCE_STOPPED: False})

    async def _note(self, task: str, facts: Mapping[str, Any]) -> None:
        async with self._db.read() as db:
            stage = await db.scalar(select(MOVES.c.stage).where(MOVES.c.task == task))
        if stage is not None:
            await self.note_move(task, stage, facts)

    async def note_source_stopped(self, task: str) -> bool:
        """The source of a rescue has come back, and nothing runs there any more.

        False, and nothing noted, where the rescue was undone meanwhile: it is wanted there, and
        what was put up there since must not stand in its way.
        """
        async with self._db.write() as db:
            row = (await db.execute(select(MOVES).where(MOVES.c.task == task))).first()
            undone = row is not None and row.stage == UNDONE
            if row is not None and undone and not _says(TARGET_GONE, row.facts):
                if not await _another_is_at_work(db, row.service):
                    await _raise(db, row.service)
                return False
            if row is not None:
                after = DONE if row.stage == GIVEN_UP else row.stage
                await _note(db, row, after, {SOURCE_STOPPED: True})
        return True

    async def left_behind(self, node: str) -> list[str]:
        """Tasks of moves that have a service run elsewhere, or are about to, and not on this node.

        Also of those that were undone when their target had been given up.

        Only where the service has not come here since, nor was seen to have been stopped here.
        """
        query = select(MOVES).order_by(MOVES.c.number)
        found: dict[str, Any] = {}
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
        for row in rows:
            if row.target == node and row.stage in ARRIVED:
                found.pop(row.service, None)
                continue
            given_up = row.target == node and _says(TARGET_GONE, row.facts)
            if given_up or (row.source == node and row.stage in NOT_SETTLED):
                found[row.service] = row
        return [row.task for row in found.values() if not _says(SOURCE_STOPPED, row.facts)]

    async def way_of(self, service: str, node: str) -> list[str]:
        """Where the service was before it came to the node, the latest first."""
        query = select(MOVES).where(MOVES.c.service == service, MOVES.c.stage.in_(ARRIVED))
        async with self._db.read() as db:
            rows = list(await db.execute(query.order_by(MOVES.c.number.desc())))
        way: list[str] = []
        for row in rows:
            if row.target == node:
                node = row.source
                way.append(node)
        return way

    async def open_moves(self) -> list[OpenMove]:
        """Moves whose target has answered, and that neither are over nor were taken back since."""
        async with self._db.read() as db:
            return [
                OpenMove(task=row.task, service=row.service, source=row.source, target=row.target)
                for row in await db.execute(_open())
            ]

    async def between_ends(self, task: str, first: str, second: str) -> float:
        """Seconds from the end of one step on the source to the end of another one."""
        query = (
            select(STEPS.c.name, STEPS.c.node, STEPS.c.finished_at)
            .where(STEPS.c.task == task, STEPS.c.name.in_((first, second)))
            .order_by(STEPS.c.id)
        )
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
            source = await db.scalar(select(MOVES.c.source).where(MOVES.c.task == task))
        ended = [one.finished_at for one in rows if one.name == first and one.node == source]
        answered = [one.finished_at for one in rows if one.name == second]
        if not ended or not answered or ended[-1] is None or answered[-1] is None:
            return 0.0
        span = datetime.fromisoformat(answered[-1]) - datetime.fromisoformat(ended[-1])
        return max(span.total_seconds(), 0.0)

    async def epoch(self, service: str) -> int:
        """How many times it has been placed anew."""
        async with self._db.read() as db:
            query = select(EPOCHS.c.epoch).where(EPOCHS.c.service == service)
            return await db.scalar(query) or 0

    async def know_epochs(self, node: str, epochs: Mapping[str, int]) -> None:
        """What a node knows of placements that a lost store does not.

        A newer epoch opens fences: so it is believed only of a service of which no move is known,
        or one that came to the node or left it, and only a little at once.
        """
        for service, epoch in islice(epochs.items(), MANY):
            known = await self.epoch(service)
            if epoch > known and _NAME.match(service) and await self._may_know(node, service):
                async with self._db.write() as db:
                    await _set(db, service, min(epoch, known + FAR))

    async def _may_know(self, node: str, service: str) -> bool:
        query = select(MOVES.c.source, MOVES.c.target).where(MOVES.c.service == service)
        async with self._db.read() as db:
            moves = (await db.execute(query)).all()
        return not moves or any(node in move for move in moves)


async def _note(db: AsyncConnection, row: Any, stage: str, facts: Mapping[str, Any]) -> None:
    known = json.dumps({**json.loads(row.facts), **facts})
    changed = update(MOVES).where(MOVES.c.task == row.task).values(stage=stage, facts=known)
    await db.execute(changed)
    if stage not in OVER or row.stage == stage:
        return
    if stage != UNDONE or not await _another_is_open(db, row.service, row.task):
        await _raise(db, row.service)


def _says(name: str, facts: str) -> bool:
    return bool(json.loads(facts).get(name))


def _still_so(facts: str) -> dict[str, Any]:
    """What of an attempt that was undone holds in the next one: what its target may run still."""
    known = json.loads(facts)
    if not known.get(TARGET_GONE):
        return {}
    return {name: known[name] for name in (TARGET_GONE, SOURCE_STOPPED) if name in known}


def superseded(tasks: Collection[str]) -> Select[tuple[str]]:
    """Those of the moves after which another one has moved the service on."""
    this = MOVES.alias()
    later = _later_than(this.c.number, this.c.service).exists()
    return select(this.c.task).where(this.c.task.in_(tasks), this.c.stage != UNDONE, later)


def _open() -> Select[Any]:
    this = MOVES.alias()
    later = _later_than(this.c.number, this.c.service).exists()
    return select(this).where(this.c.stage == ANSWERED, ~later)


async def _another_is_at_work(db: AsyncConnection, service: str) -> bool:
    stages = (BEGUN, ANSWERED)
    query = select(MOVES.c.task).where(MOVES.c.service == service, MOVES.c.stage.in_(stages))
    return bool(await db.scalar(query.limit(1)))


async def _another_is_open(db: AsyncConnection, service: str, task: str) -> bool:
    """Whether the fence of another move must hold on: one that comes to nothing opens it not."""
    rows = await db.execute(_open())
    return any(row.service == service and row.task != task for row in rows)


def _later_than(number: Any, service: Any) -> Select[tuple[str]]:
    return select(MOVES.c.task).where(
        MOVES.c.service == service, MOVES.c.number > number, MOVES.c.stage.in_(ARRIVED)
    )


async def _raise(db: AsyncConnection, service: str) -> None:
    before = await db.scalar(select(EPOCHS.c.epoch).where(EPOCHS.c.service == service)) or 0
    await _set(db, service, before + 1)


async def _set(db: AsyncConnection, service: str, epoch: int) -> None:
    statement = insert(EPOCHS).values(service=service, epoch=epoch)
    await db.execute(
        statement.on_conflict_do_update(index_elements=["service"], set_={"epoch": epoch})
    )
