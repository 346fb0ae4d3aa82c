"""The steps of tasks: what people see, and what was asked of which node."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select, update
from sqlalchemy.dialects.sqlite import insert

from composia.controller.store.database import Database
from composia.controller.store.schema import STEPS, TASKS
from composia.controller.store.tasks import NOT_ENDED
from composia.controller.store.times import now
from composia.model.task import Status, StepError, StepProgress


class Place(BaseModel):
    """A step's place: the task's attempt, its name, and the node; none for the controller's own."""

    model_config = ConfigDict(frozen=True)

    task: str
    attempt: int
    name: str
    node: str = ""


class Begun(BaseModel):
    """How often a step was asked in this attempt, and whether the last question was sent."""

    tries: int = 1
    sent: bool = False


class Steps:
    """The table of steps."""

    _db: Database

    async def begin_step(self, place: Place, *, sent: bool) -> Begun:
        """It is being done; what is known of it when it was begun before."""
        async with self._db.write() as db:
            row = (await db.execute(select(STEPS.c.tries, STEPS.c.sent).where(*_at(place)))).first()
            if row is None:
                values = {"status": Status.RUNNING, "started_at": now(), "sent": sent}
                await db.execute(insert(STEPS).values(**place.model_dump(), **values))
                return Begun(sent=False)
            if sent and not row.sent:
                await db.execute(update(STEPS).where(*_at(place)).values(sent=True))
        return Begun(tries=row.tries, sent=row.sent)

    async def step_sent(self, place: Place) -> None:
        """Its question leaves for the node: written down first, so that nobody forgets it."""
        async with self._db.write() as db:
            await db.execute(update(STEPS).where(*_at(place)).values(sent=True))

    async def ask_step_again(self, place: Place, tries: int) -> None:
        """It is asked once more, under a key of its own."""
        async with self._db.write() as db:
            changes = {"tries": tries, "sent": False, "progress": None}
            await db.execute(update(STEPS).where(*_at(place)).values(**changes))

    async def step_progress(self, place: Place, progress: StepProgress) -> None:
        """How far it is."""
        async with self._db.write() as db:
            await db.execute(
                update(STEPS)
                .where(*_at(place), STEPS.c.status == Status.RUNNING)
                .values(progress=progress.model_dump_json())
            )

    async def end_step(self, place: Place, status: Status, error: StepError | None) -> None:
        """How it ended; the first time counts."""
        async with self._db.write() as db:
            await db.execute(
                update(STEPS)
                .where(*_at(place), STEPS.c.status.in_(NOT_ENDED))
                .values(
                    status=status,
                    finished_at=func.max(STEPS.c.started_at, now()),
                    error=error.model_dump_json() if error else None,
                )
            )

    async def is_settled(self, place: Place, tries: int) -> bool:
        """Whether an answer to that question is not waited for any more."""
        query = (
            select(TASKS.c.status, TASKS.c.attempt, STEPS.c.status.label("step"), STEPS.c.tries)
            .join_from(TASKS, STEPS, (STEPS.c.task == TASKS.c.id) & _same(place), isouter=True)
            .where(TASKS.c.id == place.task)
        )
        async with self._db.read() as db:
            row: Any = (await db.execute(query)).first()
        if row is None or Status(row.status).ended or row.attempt > place.attempt:
            return True
        return row.step is not None and (Status(row.step).ended or row.tries > tries)


def _same(place: Place) -> Any:
    return (
        (STEPS.c.attempt == place.attempt)
        & (STEPS.c.name == place.name)
        & (STEPS.c.node == place.node)
    )


def _at(place: Place) -> tuple[Any, ...]:
    return (STEPS.c.task == place.task, _same(place))
