"""Notifications, who is still to be told of them, and the ends of tasks that nobody heard of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Row, and_, delete, func, insert, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.database import Database
from composia.controller.store.schema import BACKUPS, DELIVERIES, ENDED_TASKS, NOTIFICATIONS
from composia.controller.store.times import stored
from composia.model.backup import Backup
from composia.model.notification import (
    Delivery,
    Matter,
    Notification,
    NotificationState,
)

#: How long what is over is kept.
KEPT = timedelta(days=90)
_UNSETTLED = NOTIFICATIONS.c.state != NotificationState.SETTLED


class Addressee(BaseModel):
    """A target, without its address: a hash of it, and where it stands in config.yaml."""

    model_config = ConfigDict(frozen=True)

    key: str
    label: str


class Told(BaseModel):
    """A matter that comes up."""

    model_config = ConfigDict(frozen=True)

    id: str
    matter: Matter
    to: tuple[Addressee, ...] = ()
    #: False for what stands: the same again is then no news.
    anew: bool = True
    #: True for good news: nothing has to be done about it.
    over: bool = False


class Settled(BaseModel):
    """The end of whatever there is about a subject; `to` hears of it besides those who know."""

    model_config = ConfigDict(frozen=True)

    subject: str
    by: str
    #: Of all subjects that begin so.
    below: bool = False
    to: tuple[Addressee, ...] = ()


class News(BaseModel):
    """What is kept in one transaction: what came up, what has ended, and which ends were heard."""

    model_config = ConfigDict(frozen=True)

    told: tuple[Told, ...] = ()
    settled: tuple[Settled, ...] = ()
    heard: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.told or self.settled or self.heard)


class Due(BaseModel):
    """What one target is to be told now."""

    model_config = ConfigDict(frozen=True)

    target: str
    label: str
    attempts: int
    deliveries: tuple[int, ...]
    notifications: tuple[Notification, ...]


class Notifications:
    """The tables of notifications and deliveries."""

    _db: Database

    async def ended_tasks(self, limit: int = 200) -> Sequence[tuple[int, str]]:
        """The ends that nobody has heard of, the oldest first."""
        query = select(ENDED_TASKS.c.id, ENDED_TASKS.c.task).order_by(ENDED_TASKS.c.id)
        async with self._db.read() as db:
            return [(row.id, row.task) for row in await db.execute(query.limit(limit))]

    async def backups_of_task(self, task: str) -> Sequence[Backup]:
        """The records that a task has left."""
        query = select(BACKUPS.c.record).where(BACKUPS.c.task_id == task)
        async with self._db.read() as db:
            return [Backup.model_validate_json(text) for text in await db.scalars(query)]

    async def keep_news(
        self, news: News, at: datetime, wait: timedelta, under_way: Collection[int] = ()
    ) -> None:
        """All of it in one transaction; messages are due after `wait`.

        `under_way`: deliveries whose messages are written, and say how it was before.
        """
        async with self._db.write() as db:
            desk = _Desk(db, at, wait, under_way)
            for told in news.told:
                await desk.tell(told)
            for settled in news.settled:
                await desk.settle(settled)
            if news.heard:
                await db.execute(delete(ENDED_TASKS).where(ENDED_TASKS.c.id.in_(news.heard)))

    async def tell_again(self, ids: Mapping[str, Sequence[Addressee]], at: datetime) -> None:
        """Messages of these notifications once more, at once."""
        async with self._db.write() as db:
            desk = _Desk(db, at, timedelta())
            for notification, to in ids.items():
                await desk.queue(notification, to)

    async def tell_others(self, to: Mapping[str, Sequence[Addressee]], at: datetime) -> None:
        """Messages of these notifications to those who were never to hear of them; at once."""
        async with self._db.write() as db:
            desk = _Desk(db, at, timedelta())
            for notification, addressees in to.items():
                await desk.queue(notification, addressees, again=False)

    async def addressed(self, notifications: Collection[str]) -> Mapping[str, set[str]]:
        """The keys of all who have heard of each of these, or are to."""
        query = select(DELIVERIES.c.notification, DELIVERIES.c.target).where(
            DELIVERIES.c.notification.in_(notifications)
        )
        found: dict[str, set[str]] = {one: set() for one in notifications}
        async with self._db.read() as db:
            for row in await db.execute(query.distinct()):
                found[row.notification].add(row.target)
        return found

    async def acknowledge(self, notification: str, by: str, at: datetime) -> None:
        """It is not told again until it happens anew; one that is settled stays as it is."""
        values = {"acknowledged_at": stored(at), "acknowledged_by": by}
        async with self._db.write() as db:
            await db.execute(
                update(NOTIFICATIONS)
                .where(
                    NOTIFICATIONS.c.id == notification,
                    NOTIFICATIONS.c.state == NotificationState.OPEN,
                )
                .values(state=NotificationState.ACKNOWLEDGED, **values)
            )

    async def due(self, at: datetime) -> Sequence[Due]:
        """By target; when one message is due the target hears all there is for it."""
        waiting = DELIVERIES.c.sent_at.is_(None)
        ready = (
            select(DELIVERIES.c.target)
            .where(waiting)
            .group_by(DELIVERIES.c.target)
            .having(func.min(DELIVERIES.c.due) <= stored(at))
        )
        query = select(DELIVERIES).where(waiting, DELIVERIES.c.target.in_(ready))
        async with self._db.read() as db:
            rows = (await db.execute(query.order_by(DELIVERIES.c.id))).all()
        known = {one.id: one for one in await self._notices_of({row.notification for row in rows})}
        targets = dict.fromkeys(row.target for row in rows)
        return [_due([row for row in rows if row.target == target], known) for target in targets]

    async def delivered(self, deliveries: Collection[int], at: datetime) -> None:
        """They have arrived."""
        await self._tried(deliveries, sent_at=stored(at), error=None)

    async def not_delivered(self, deliveries: Collection[int], error: str, due: datetime) -> None:
        """They have not, and are tried again then."""
        await self._tried(deliveries, due=stored(due), error=error)

    async def drop_deliveries(self, deliveries: Collection[int]) -> None:
        """Nobody is there any more to be told."""
        async with self._db.write() as db:
            await db.execute(delete(DELIVERIES).where(DELIVERIES.c.id.in_(deliveries)))

    async def notification(self, notification: str) -> Notification | None:
        """One of them."""
        found = await self._notices_of([notification])
        return found[0] if found else None

    async def notifications(
        self,
        *,
        services: Sequence[str] | None = None,
        state: str | None = None,
        event: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Notification]:
        """The newest first."""
        query = select(NOTIFICATIONS).order_by(NOTIFICATIONS.c.id.desc()).limit(limit)
        if services is not None:
            query = query.where(NOTIFICATIONS.c.service.in_(services))
        for column, wanted in ((NOTIFICATIONS.c.state, state), (NOTIFICATIONS.c.event, event)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(NOTIFICATIONS.c.id < before)
        return await self._notices(query)

    async def unsettled(self) -> Sequence[Notification]:
        """All that is open or acknowledged."""
        return await self._notices(select(NOTIFICATIONS).where(_UNSETTLED))

    async def notification_counts(self) -> Sequence[tuple[str, str, int]]:
        """Of each event and state that is not settled."""
        of = (NOTIFICATIONS.c.event, NOTIFICATIONS.c.state)
        query = select(*of, func.count()).where(_UNSETTLED).group_by(*of)
        async with self._db.read() as db:
            return [(row[0], row[1], row[2]) for row in await db.execute(query)]

    async def prune_notifications(self, at: datetime) -> None:
        """Drop what has been over for long."""
        old = NOTIFICATIONS.c.settled_at < stored(at - KEPT)
        async with self._db.write() as db:
            await db.execute(delete(NOTIFICATIONS).where(~_UNSETTLED, old))

    async def _tried(self, deliveries: Collection[int], **values: Any) -> None:
        async with self._db.write() as db:
            await db.execute(
                update(DELIVERIES)
                .where(DELIVERIES.c.id.in_(deliveries))
                .values(attempts=DELIVERIES.c.attempts + 1, **values)
            )

    async def _notices_of(self, ids: Collection[str]) -> list[Notification]:
        query = select(NOTIFICATIONS).where(NOTIFICATIONS.c.id.in_(ids))
        return await self._notices(query.order_by(NOTIFICATIONS.c.id))

    async def _notices(self, query: Any) -> list[Notification]:
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
            ids = [row.id for row in rows]
            sent = await db.execute(
                select(DELIVERIES)
                .where(DELIVERIES.c.notification.in_(ids))
                .order_by(DELIVERIES.c.id)
            )
            of: dict[str, list[Delivery]] = {}
            for row in sent:
                of.setdefault(row.notification, []).append(_delivery(row))
        return [_notification(row, of.get(row.id, [])) for row in rows]


class _Desk:
    """What is written of news, in one transaction."""

    def __init__(
        self,
        db: AsyncConnection,
        at: datetime,
        wait: timedelta,
        under_way: Collection[int] = (),
    ) -> None:
        self._db = db
        self._at = at
        self._wait = wait
        self._waits = and_(DELIVERIES.c.sent_at.is_(None), DELIVERIES.c.id.not_in(under_way))

    async def tell(self, told: Told) -> None:
        known = None if told.over else await self._unsettled(told.matter)
        if known is not None and not told.anew:
            return
        values = told.matter.model_dump(exclude={"since"})
        if known is not None:
            again = {"state": NotificationState.OPEN, "times": NOTIFICATIONS.c.times + 1}
            blank = dict.fromkeys(("acknowledged_at", "acknowledged_by"))
            await self._update(known, {**values, **again, **blank})
        else:
            fresh = {"id": told.id, "time": stored(self._at), "since": stored(told.matter.since)}
            state: dict[str, Any] = {"state": NotificationState.OPEN}
            if told.over:
                state = {"state": NotificationState.SETTLED, "settled_at": stored(self._at)}
            await self._db.execute(insert(NOTIFICATIONS).values(**values, **fresh, **state))
        await self.queue(known or told.id, told.to)

    async def settle(self, settled: Settled) -> None:
        subject = NOTIFICATIONS.c.subject
        meant = (
            subject.startswith(settled.subject, autoescape=True)
            if settled.below
            else subject == settled.subject
        )
        query = select(NOTIFICATIONS.c.id).where(_UNSETTLED, meant)
        for known in (await self._db.scalars(query)).all():
            await self._update(
                known,
                {
                    "state": NotificationState.SETTLED,
                    "settled_at": stored(self._at),
                    "settled_by": settled.by,
                },
            )
            await self.queue(known, [*await self._told(known), *settled.to])

    async def queue(
        self, notification: str, to: Iterable[Addressee], *, again: bool = True
    ) -> None:
        """One message a target; a message that still waits says how it is when it goes.

        `again`: it counts as told now, so that it is told once more only after the usual time.
        """
        waiting = set(
            await self._db.scalars(
                select(DELIVERIES.c.target).where(
                    DELIVERIES.c.notification == notification, self._waits
                )
            )
        )
        for one in {one.key: one for one in to if one.key not in waiting}.values():
            values = {"target": one.key, "label": one.label, "queued_at": stored(self._at)}
            await self._db.execute(
                insert(DELIVERIES).values(
                    notification=notification, due=stored(self._at + self._wait), **values
                )
            )
        if again:
            await self._update(notification, {"told_at": stored(self._at)})

    async def _told(self, notification: str) -> list[Addressee]:
        query = select(DELIVERIES.c.target, DELIVERIES.c.label).where(
            DELIVERIES.c.notification == notification, not_(self._waits)
        )
        rows = await self._db.execute(query.distinct())
        return [Addressee(key=row.target, label=row.label) for row in rows]

    async def _unsettled(self, matter: Matter) -> str | None:
        query = select(NOTIFICATIONS.c.id).where(
            _UNSETTLED,
            NOTIFICATIONS.c.subject == matter.subject,
            NOTIFICATIONS.c.event == matter.event,
        )
        found: str | None = await self._db.scalar(query)
        return found

    async def _update(self, notification: str, values: Mapping[str, Any]) -> None:
        await self._db.execute(
            update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == notification).values(**values)
        )


def _due(rows: Sequence[Row[Any]], known: Mapping[str, Notification]) -> Due:
    return Due(
        target=rows[0].target,
        label=rows[0].label,
        attempts=max(row.attempts for row in rows),
        deliveries=tuple(row.id for row in rows),
        notifications=tuple(known[id_] for id_ in dict.fromkeys(row.notification for row in rows)),
    )


def _notification(row: Row[Any], deliveries: list[Delivery]) -> Notification:
    return Notification.model_validate({**row._mapping, "deliveries": deliveries})


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        target=row.label,
        queued_at=row.queued_at,
        sent_at=row.sent_at,
        attempts=row.attempts,
        error=row.error,
    )
