"""Who holds what: the words that keep other tasks off."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import BaseModel
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.schema import HOLDS, TASKS
from composia.errors import Conflict, joined
from composia.model.task import Status
from composia.workflows.plan import Hold, Plan


class Holder(BaseModel):
    """The task that holds a word."""

    word: str
    task: str
    type: str
    since: str
    #: It has ended half-way, and holds on until a person decides.
    ended: bool = False
    #: Why whoever wants the word has to wait for it, where that is not plain.
    why: str | None = None

    def conflict(self) -> Conflict:
        """The error for whoever wants it too."""
        if self.ended:
            return Conflict(
                f"{self.word} is held by task {self.task} ({self.type}), which has ended half-way",
                hint=f"`composia task retry|rollback|abandon {self.task}` settles it.",
            )
        return Conflict(
            f"{self.word} is held by task {self.task} ({self.type}), which runs since {self.since}",
            hint=joined(
                self.why,
                f"Wait until it has ended, or cancel it: `composia task cancel {self.task}`.",
            ),
        )


async def take_over(db: AsyncConnection, plan: Plan, task: str | None = None) -> Holder | None:
    """Free what the task itself has, and what its plan takes over; or tell who else holds it."""
    own = [task] if task else []
    # From one that is at work nobody takes anything.
    if plan.takes_over and await _has_ended(db, plan.takes_over):
        own.append(plan.takes_over)
    if holder := await _holder(db, plan.holds, own):
        return holder
    await db.execute(delete(HOLDS).where(HOLDS.c.task.in_(own)))
    return None


async def take(db: AsyncConnection, task: str, holds: Sequence[Hold]) -> None:
    """The task has all of them from now on."""
    for hold in dict.fromkeys(holds):
        await db.execute(insert(HOLDS).values(name=hold.name, task=task, shared=hold.shared))


async def free(
    db: AsyncConnection, task: str, *, but: str | None = None, holder: str | None = None
) -> None:
    """What the task has is free, `but` one word: the `holder` has that from then on, if any."""
    await db.execute(delete(HOLDS).where(HOLDS.c.task == task, HOLDS.c.name != but))
    if holder:
        await db.execute(update(HOLDS).where(HOLDS.c.task == task).values(task=holder))


async def _holder(
    db: AsyncConnection, holds: Sequence[Hold], but: Collection[str]
) -> Holder | None:
    """Who holds one of them, other than the tasks `but`."""
    for hold in holds:
        query = (
            select(HOLDS.c.task, TASKS.c.type, TASKS.c.created_at, TASKS.c.status)
            .join(TASKS, TASKS.c.id == HOLDS.c.task)
            .where(HOLDS.c.name == hold.name, HOLDS.c.task.not_in(but))
        )
        if hold.shared:
            query = query.where(HOLDS.c.shared.is_(False))
        if row := (await db.execute(query.limit(1))).first():
            return Holder(
                word=hold.name,
                task=row.task,
                type=row.type,
                since=row.created_at,
                ended=Status(row.status).ended,
                why=hold.why,
            )
    return None


async def _has_ended(db: AsyncConnection, task: str) -> bool:
    status = await db.scalar(select(TASKS.c.status).where(TASKS.c.id == task))
    return status is not None and Status(status).ended
