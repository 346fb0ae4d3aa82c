"""Telling people: what has happened and what is wrong becomes messages, until it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol

from pydantic import SecretStr
from sqlalchemy.exc import SQLAlchemyError
from structlog import get_logger

from composia.controller import standing as look
from composia.controller.matters import Ended, Over, news_of
from composia.controller.ping import ping
from composia.controller.standing import NodeSeen, Seen
from composia.controller.store.notifications import Addressee, Due, News, Settled, Told
from composia.controller.store.store import Store
from composia.controller.store.times import Ids
from composia.controller.store.writing import until_written
from composia.controller.targets import Target, every_target, targets_for
from composia.controller.wording import Message, message, trial
from composia.controller.worktree import CatalogStatus
from composia.errors import Conflict, Failure
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.notification import (
    GOOD_NEWS,
    LOSES_DATA,
    EventName,
    Matter,
    Notification,
    NotificationState,
    Tried,
)
from composia.workflows.plan import Plan
from composia.workflows.verify import VerifyPlan

#: Seconds between looks.
PACE = 5.0
#: What happens within so long is one message to a target.
WINDOW = timedelta(seconds=30)
#: Seconds after which a target that could not be reached is tried again, doubled each time.
FIRST_RETRY = 30.0
LAST_RETRY = 3600.0
#: Seconds that a stop waits for a message which is on its way.
GOODBYE = 5.0
PRUNING = timedelta(hours=6)

Clock = Callable[[], datetime]
_log = get_logger("composia.notify")


class Courier(Protocol):
    """Whoever brings a message to an address."""

    async def bring(self, url: SecretStr, message: Message) -> None:
        """Raises Failure with the reason."""
        ...


class World(Protocol):
    """What is looked at."""

    @property
    def config(self) -> ControllerConfig: ...

    def nodes(self) -> Mapping[str, NodeSeen]: ...

    def catalog(self) -> tuple[CatalogView, CatalogStatus]: ...

    async def late(self, now: datetime) -> Sequence[Matter]:
        """Backups that are overdue, and runs that were missed."""
        ...

    def schedules_run(self) -> bool:
        """Whether what has to begin by itself does."""
        ...


class Notifier:
    """Looks every few seconds. What it has to tell is in the store, so that a crash loses none."""

    def __init__(
        self,
        world: World,
        store: Store,
        courier: Courier,
        *,
        clock: Clock = lambda: datetime.now(UTC),
        pinging: Callable[..., Awaitable[bool]] = ping,
    ) -> None:
        self._world = world
        self._store = store
        self._courier = courier
        self._clock = clock
        self._pinging = pinging
        self._ids = Ids()
        self._since = clock()
        self._pinged = self._pruned = datetime.min.replace(tzinfo=UTC)
        self._working: asyncio.Task[None] | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        #: Deliveries whose message is written, and those of them that have arrived.
        self._under_way: set[int] = set()
        self._arrived: set[int] = set()

    def start(self) -> None:
        """Tell, until `aclose`."""
        self._since = self._clock()
        self._working = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """What is on its way arrives, or goes again at the next start."""
        if self._working:
            self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working
        sending = list(self._sending.values())
        if sending:
            await asyncio.wait(sending, timeout=GOODBYE)
        for one in sending:
            one.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    async def turn(self) -> None:
        """One look: what is new is kept, what is due is sent."""
        now = self._clock()
        await self._hear(now)
        await self._look(now)
        await self._catch_up(now)
        await self._repeat(now)
        await self._send(now)
        await self._ping(now)
        if abs(now - self._pruned) > PRUNING:
            self._pruned = now
            await self._store.prune_notifications(now)

    async def sent(self) -> None:
        """Wait until nothing is on its way."""
        await asyncio.gather(*self._sending.values())

    async def test(self) -> list[Tried]:
        """A message to every target, and whether it arrived."""
        targets = every_target(self._world.config.notifications).values()
        return list(await asyncio.gather(*(self._try(target) for target in targets)))

    async def _work(self) -> None:
        while True:
            try:
                await self.turn()
            except Exception:
                # What could not be told now is told with the next look.
                _log.exception("not told")
            await asyncio.sleep(PACE)

    async def _hear(self, now: datetime) -> None:
        """The ends of tasks: each is heard once, in the transaction that keeps its news."""
        for row, task in await self._store.ended_tasks():
            news = await self._news(task)
            told = [self._told(one, anew=True) for one in news if isinstance(one, Matter)]
            settled = [
                Settled(subject=one.subject, by=one.by, below=one.below)
                for one in news
                if isinstance(one, Over)
            ]
            kept = [one for one in told if one.to or not one.over]
            await self._store.keep_news(
                News(told=tuple(kept), settled=tuple(settled), heard=(row,)),
                now,
                WINDOW,
                self._under_way,
            )

    async def _news(self, task: str) -> list[Matter | Over]:
        try:
            found = await self._ended(task)
            return list(news_of(found)) if found else []
        except SQLAlchemyError:
            # What cannot be read now is heard with a later look.
            raise
        except Exception:
            # One that cannot be understood must not keep the next ones waiting for ever.
            _log.exception("not understood", task=task)
            return []

    async def _ended(self, task: str) -> Ended | None:
        found = await self._store.task(task)
        if found is None or not found.status.ended:
            return None
        plan = await self._plan(task)
        if isinstance(plan, VerifyPlan):
            looked_at = await self._store.backup(plan.wanted.backup_id)
            return Ended(found, plan, [looked_at] if looked_at else [])
        return Ended(found, plan, await self._store.backups_of_task(task))

    async def _plan(self, task: str) -> Plan | None:
        try:
            return await self._store.plan(task)
        except Conflict:
            # Another version has planned it.
            return None

    async def _look(self, now: datetime) -> None:
        known = await self._store.unsettled()
        seen = await self._seen(now, known)
        matters = look.standing(seen)
        fresh = [one for one in matters if one.subject not in seen.told]
        over = look.ended(known, seen, matters)
        settled = [
            Settled(subject=one.subject, by=over[one.subject], to=self._also(one))
            for one in known
            if one.subject in over
        ]
        told = tuple(self._told(one, anew=False) for one in fresh)
        if news := News(told=told, settled=tuple(settled)):
            await self._store.keep_news(news, now, WINDOW, self._under_way)

    async def _seen(self, now: datetime, known: Sequence[Notification]) -> Seen:
        view, status = self._world.catalog()
        return Seen(
            now=now,
            since=self._since,
            nodes=self._world.nodes(),
            catalog=view,
            catalog_status=status,
            open_moves=[
                (move, await self._plan(move.id)) for move in await self._store.left_open()
            ],
            moved=await self._store.open_moves(),
            late=await self._world.late(now),
            missing=await self._store.missing_backups(),
            kept=frozenset([one.subject for one in known if await self._is_kept(one)]),
            told=frozenset(one.subject for one in known),
        )

    async def _is_kept(self, one: Notification) -> bool:
        """Whether a backup that could not be proven is there, or another one that is damaged."""
        if one.event is not EventName.VERIFY_FAILED or one.service is None:
            return False
        plan = await self._plan(one.task_id) if one.task_id else None
        looked_at = plan.wanted.backup_id if isinstance(plan, VerifyPlan) else None
        records = await self._store.backups(
            services=(one.service,), data_item=one.data_item, node=one.node
        )
        return any(looked_at in (None, record.id) or record.damaged for record in records)

    def _also(self, one: Notification) -> tuple[Addressee, ...]:
        """Who hears of the end of it, without having heard of it."""
        if one.event is not EventName.NODE_OFFLINE:
            return ()
        return targets_for(self._world.config.notifications, EventName.NODE_BACK, None)

    def _told(self, matter: Matter, *, anew: bool) -> Told:
        to = targets_for(self._world.config.notifications, matter.event, matter.service)
        over = matter.event in GOOD_NEWS
        return Told(id=self._ids.next(), matter=matter, to=to, anew=anew, over=over)

    async def _catch_up(self, now: datetime) -> None:
        """What is open is told to whoever has an address in config.yaml only since then."""
        config = self._world.config.notifications
        to = {
            one.id: targets_for(config, one.event, one.service)
            for one in await self._store.unsettled()
            if one.state is NotificationState.OPEN
        }
        known = await self._store.addressed([id_ for id_, targets in to.items() if targets])
        new = {
            id_: others
            for id_, addressed in known.items()
            if (others := [one for one in to[id_] if one.key not in addressed])
        }
        if new:
            await self._store.tell_others(new, now)

    async def _repeat(self, now: datetime) -> None:
        """What may lose data is told again until somebody has taken notice."""
        config = self._world.config.notifications
        again = {}
        for one in await self._store.unsettled():
            if one.event not in LOSES_DATA or one.state is not NotificationState.OPEN:
                continue
            due = (one.told_at or one.time) + timedelta(seconds=config.repeat)
            to = targets_for(config, one.event, one.service)
            if to and due <= now:
                again[one.id] = to
        if again:
            await self._store.tell_again(again, now)

    async def _send(self, now: datetime) -> None:
        """Each target by itself: one that does not answer keeps no other waiting."""
        targets = every_target(self._world.config.notifications)
        # What ends during the question would look as if it still had to go.
        busy = set(self._sending)
        for due in await self._store.due(now):
            target = targets.get(due.target)
            if target is None:
                await self._store.drop_deliveries(due.deliveries)
            elif due.target not in busy:
                self._under_way.update(due.deliveries)
                sending = asyncio.create_task(self._bring(target, due))
                self._sending[due.target] = sending

    async def _bring(self, target: Target, due: Due) -> None:
        try:
            # What could only not be written down has arrived, and does not go again.
            arrived = self._arrived.intersection(due.deliveries)
            if arrived or await self._has_arrived(target, due):
                await self._note_arrived(arrived or due.deliveries)
        except Exception:
            _log.exception("not noted", target=target.label)
        finally:
            self._under_way.difference_update(due.deliveries)
            self._sending.pop(due.target, None)

    async def _has_arrived(self, target: Target, due: Due) -> bool:
        config = self._world.config
        told = message(
            due.notifications, public_url=config.public_url, repeat=config.notifications.repeat
        )
        try:
            await self._courier.bring(target.url, told)
        except Failure as error:
            wait = min(FIRST_RETRY * 2 ** min(due.attempts, 20), LAST_RETRY)
            again = self._clock() + timedelta(seconds=wait)
            _log.warning("not delivered", target=target.label, reason=error.message)
            put_off = partial(self._store.not_delivered, due.deliveries, error.message, again)
            await until_written(put_off, "that a message has not arrived")
            return False
        return True

    async def _note_arrived(self, deliveries: Collection[int]) -> None:
        self._arrived.update(deliveries)
        note = partial(self._store.delivered, deliveries, self._clock())
        await until_written(note, "that a message has arrived")
        self._arrived.difference_update(deliveries)

    async def _try(self, target: Target) -> Tried:
        try:
            await self._courier.bring(target.url, trial(target.label))
        except Failure as error:
            return Tried(target=target.label, ok=False, error=error.message)
        return Tried(target=target.label, ok=True)

    async def _ping(self, now: datetime) -> None:
        config = self._world.config.notifications
        interval = timedelta(seconds=config.ping_interval)
        # A clock that was set back must not keep it from pinging.
        if config.ping_url is None or abs(now - self._pinged) < interval:
            return
        self._pinged = now
        await self._pinging(config.ping_url, well=await self.well())

    async def well(self) -> bool:
        """Whether schedules run and nothing is open that may lose data."""
        return self._world.schedules_run() and not _dire(await self._store.unsettled())


def _dire(known: Iterable[Notification]) -> bool:
    return any(one.event in LOSES_DATA and one.state is NotificationState.OPEN for one in known)
