"""What happens by itself: every due time becomes a task, once, as soon as it can."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from structlog import get_logger

from composia.controller import timetable
from composia.controller.admit import Admit
from composia.controller.events import Event, Events
from composia.controller.knowing import KnownNodes, known
from composia.controller.latest import Latest
from composia.controller.marks import gone, mark_of, node_marks, of_broken
from composia.controller.store.schedules import DueRun, Mark, RunState
from composia.controller.store.store import Store
from composia.controller.store.times import stored
from composia.errors import ComposiaError
from composia.model.backup import Backup
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.schedule import Kind, Overdue, Schedule, overdue, scheduled
from composia.model.shown import ScheduleView
from composia.model.task import OpenMove, Status
from composia.workflows.known import Known
from composia.workflows.plan import Plan
from composia.workflows.scheduled import Planned, Work, plans_for
from composia.workflows.verify import VerifyPlan

#: Scheduled backups that run on one node at once.
PER_NODE = 2
#: Seconds after which the clock is looked at again, for it may have been set.
GLANCE = 60.0
#: Without a look for so long, it is not at work.
SILENCE = timedelta(minutes=5)
#: Times that are counted as missed at once; more is all the same.
COUNTED = 10_000
PRUNING = timedelta(hours=6)
BY = "schedule"

NOT_THERE = "the controller was not running then, or the clock was set"
INTERRUPTED = "the controller ended when it was to begin"
NOT_WANTED = "it is not scheduled there any more"

Clock = Callable[[], datetime]
_log = get_logger("composia.scheduler")


class Scheduler:
    """Looks when something is due or has changed. What it has taken is in the store."""

    def __init__(
        self,
        config: Callable[[], ControllerConfig],
        view: Callable[[], CatalogView],
        store: Store,
        nodes: KnownNodes,
        admit: Admit,
        events: Events,
        *,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._view = view
        self._store = store
        self._nodes = nodes
        self._admit = admit
        self._events = events
        self._clock = clock
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._looked: datetime | None = None
        #: What the schedules were made from, and who is late by what: pages ask often.
        self._scheduled = Latest[tuple[Schedule, ...]]()
        self._expected = Latest[tuple[Schedule, ...]]()
        self._late: tuple[object, tuple[Overdue, ...]] | None = None
        self._shown = Latest[Sequence[ScheduleView]]()
        self._pruned = datetime.min.replace(tzinfo=UTC)

    def start(self) -> None:
        """Look, until `aclose`."""
        self._looked = self._clock()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._work())]

    async def aclose(self) -> None:
        """Begin nothing more."""
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def wake(self) -> None:
        """Something has changed."""
        self._changed.set()

    @property
    def works(self) -> bool:
        """Whether what has to begin by itself does."""
        return self._looked is not None and abs(self._clock() - self._looked) < SILENCE

    def schedules(self) -> tuple[Schedule, ...]:
        """As catalog and configuration have them now."""
        view, config = self._view(), self._config()
        return self._scheduled.of((view, config), lambda: scheduled(view, config))

    async def expected(self) -> tuple[Schedule, ...]:
        """The same, and the backups of services that cannot be read now, as they were."""
        view, schedules, marks = self._view(), self.schedules(), await self._store.marks()
        known = (view, schedules, marks)
        return self._expected.of(known, lambda: (*schedules, *of_broken(marks, schedules, view)))

    async def views(self) -> list[ScheduleView]:
        """Every schedule with its last, next, waiting and missed times."""
        runs = await self._store.newest_runs(timetable.SHOWN)
        statuses = await self._store.statuses({run.task for run in runs if run.task})
        schedules, now = self.schedules(), self._clock()

        def views() -> Sequence[ScheduleView]:
            return timetable.views(schedules, timetable.History.of(runs, statuses), now)

        # Schedules come on whole minutes: within one nothing else is next.
        minute = now.replace(second=0, microsecond=0)
        return [*self._shown.of((schedules, runs, statuses, minute), views)]

    async def overdue(self) -> tuple[Overdue, ...]:
        """Data items whose last good backup is older than their schedule allows."""
        good, schedules = await self._store.newest_backups(good=True), await self.expected()
        marks, moves = await self._store.marks(), await self._store.open_moves()
        now = self._clock().replace(second=0, microsecond=0)
        known = (good, schedules, marks, moves, now)
        if self._late is None or self._late[0] != known:
            since = {key: mark.since for key, mark in marks.items()}
            last = _last_good(good, moves)
            found = await asyncio.to_thread(overdue, schedules, last, since, now)
            self._late = (known, found)
        return self._late[1]

    async def turn(self) -> None:
        """One look: what is due is noted, then begun if it can be."""
        now, schedules = self._clock(), self.schedules()
        await self._find_handed_in()
        kept = await self._note(schedules, now)
        await self._begin({one.key: one for one in schedules}, kept, now)
        self._looked = now

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.turn()
                await self._prune()
            except Exception:
                # What could not be begun now waits for the next look.
                _log.exception("not looked")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._seconds())

    def _seconds(self) -> float:
        """Until something is due. Seconds go on where a clock is set: so never long at once."""
        now = self._clock()
        coming = [due for one in self.schedules() if (due := one.next(now))]
        return min([GLANCE, *((due - now).total_seconds() for due in coming)])

    async def _listen(self) -> None:
        async with self._events.subscribe(closely=False) as events:
            async for event in events:
                if _matters(event):
                    self.wake()

    async def _prune(self) -> None:
        now = self._clock()
        if abs(now - self._pruned) > PRUNING:
            self._pruned = now
            await self._store.prune_runs()

    async def _find_handed_in(self) -> None:
        """What was being handed in when the controller died has become a task, or it waits."""
        for batch, runs in _by_batch(await self._store.waiting_runs()).items():
            if found := await self._store.first_of(BY, batch):
                await self._store.take_runs(runs, found[0], None)
            else:
                await self._store.put_runs_off(runs, INTERRUPTED)

    async def _note(self, schedules: Sequence[Schedule], now: datetime) -> set[str]:
        """Keep what is due; the keys of schedules that only cannot be read now."""
        marks = await self._store.marks()
        fresh, due = list[Mark](), list[DueRun]()
        for schedule in schedules:
            mark = mark_of(schedule, marks.get(schedule.key), now)
            runs = _due(schedule, mark, now)
            seen = max([mark.seen, *(run.slot for run in runs)])
            mark = mark.model_copy(update={"seen": seen})
            due += runs
            fresh += [mark, *node_marks(schedule, mark, marks, now)]
        wanted = {mark.key for mark in fresh}
        left = gone(marks, wanted, self._view())
        fresh = [mark for mark in fresh if mark != marks.get(mark.key)]
        if fresh or due or left:
            await self._store.note_due(fresh, due, left)
        return set(marks) - wanted - set(left)

    async def _begin(
        self, schedules: Mapping[str, Schedule], kept: Collection[str], now: datetime
    ) -> None:
        waiting = await self._store.waiting_runs()
        useless = [one for one in waiting if _is_useless(one, schedules, kept)]
        if useless:
            await self._store.miss_runs(useless, NOT_WANTED)
        groups = _by_unit([one for one in waiting if one not in useless], schedules)
        if not groups:
            return
        config, view = self._config(), self._view()
        knows = await known(config, view, self._nodes, self._store)
        busy, place = await self._busy(), {one: at for at, one in enumerate(schedules.values())}
        for unit, runs in groups.items():
            work = Work(
                schedules=sorted({schedules[one.schedule] for one in runs}, key=place.__getitem__),
                node=runs[0].node,
                known=knows,
                backups=await self._records(schedules[runs[0].schedule]),
                tried=await self._tried(schedules[runs[0].schedule]),
                begun=await self._begun(schedules[runs[0].schedule], _batch(unit, runs)),
                now=now,
                read_all_within=config.rustic.maintenance.read_all_within,
            )
            await self._try(unit, runs, work, busy)

    async def _records(self, schedule: Schedule) -> Sequence[Backup]:
        if schedule.kind in (Kind.FORGET, Kind.VERIFY):
            return await self._store.backups()
        return ()

    async def _tried(self, schedule: Schedule) -> Mapping[str, datetime]:
        return await self._store.tried() if schedule.kind is Kind.VERIFY else {}

    async def _begun(self, schedule: Schedule, batch: str) -> Mapping[str, str]:
        """Only a verification is begun in parts."""
        if schedule.kind is Kind.VERIFY:
            return await self._store.tasks_of(BY, f"{batch}/")
        return {}

    async def _try(self, unit: str, runs: Sequence[DueRun], work: Work, busy: Counter[str]) -> None:
        try:
            await self._submit(_batch(unit, runs), runs, work, _possible(work, busy))
            busy.update([work.place] if work.first.kind is Kind.BACKUP else [])
        except ComposiaError as error:
            await self._store.put_runs_off(runs, error.message)
        except Exception as error:
            # One that cannot be planned keeps no other from running.
            _log.exception("not begun", schedule=unit)
            await self._store.explain_runs(runs, f"it could not be begun: {type(error).__name__}")

    async def _submit(
        self, batch: str, runs: Sequence[DueRun], work: Work, planned: Planned
    ) -> None:
        """Begin what can be. Raises ComposiaError where something is left: that waits."""
        left, tasks = planned.left, list(work.begun.values())
        if planned.plans:
            await self._store.hand_runs_in(runs, batch)
        for plan in planned.plans:
            try:
                task = await self._admit.submit(
                    plan, created_by=BY, source=BY, idempotency_key=_key(batch, plan)
                )
                tasks.append(task.id)
            except ComposiaError as error:
                left = left or error.message
        if left:
            raise Waits(left)
        await self._store.take_runs(runs, next(iter(tasks), None), planned.without)

    async def _busy(self) -> Counter[str]:
        """How many scheduled backups each node has."""
        found = [
            task
            for status in (Status.PENDING, Status.RUNNING)
            for task in await self._store.tasks(type="backup", status=status)
            if task.source == BY
        ]
        return Counter(node for task in found for node in task.nodes)


def _matters(event: Event) -> bool:
    if event.kind == "task":
        return Status(event.data["status"]).ended
    return event.kind in ("node", "service")


def _due(schedule: Schedule, mark: Mark, now: datetime) -> list[DueRun]:
    """The last time of those since the mark, on each node; the others of them are missed."""
    last = schedule.last_slot(now)
    if last is None or last <= mark.seen:
        return []
    times = []
    for slot in schedule.slots(mark.seen, last):
        times.append(slot)
        if len(times) > COUNTED:
            break
    missed = [slot for slot in times if slot < last]
    runs = []
    for node in schedule.places:
        if missed:
            runs.append(
                DueRun(
                    schedule=schedule.key,
                    node=node,
                    slot=missed[-1],
                    state=RunState.MISSED,
                    reason=NOT_THERE,
                    first=missed[0],
                    times=len(missed),
                )
            )
        runs.append(DueRun(schedule=schedule.key, node=node, slot=last, first=last))
    return runs


def _is_useless(run: DueRun, schedules: Mapping[str, Schedule], kept: Collection[str]) -> bool:
    schedule = schedules.get(run.schedule)
    if schedule is None:
        return run.schedule not in kept
    return run.node not in schedule.places


def _by_batch(runs: Sequence[DueRun]) -> dict[str, list[DueRun]]:
    found: dict[str, list[DueRun]] = {}
    for run in runs:
        if run.batch:
            found.setdefault(run.batch, []).append(run)
    return found


def _last_good(
    good: Sequence[Backup], moves: Sequence[OpenMove]
) -> dict[tuple[str, str, str], datetime]:
    """By service, item and node; an open move has its target saved in place of its source."""
    place = {(move.service, move.target): move.source for move in moves}
    found: dict[tuple[str, str, str], datetime] = {}
    for one in good:
        for node in {one.node, place.get((one.service, one.node), one.node)}:
            key = (one.service, one.data_item, node)
            found[key] = max(one.time, found.get(key, one.time))
    return found


def _by_unit(runs: Sequence[DueRun], schedules: Mapping[str, Schedule]) -> dict[str, list[DueRun]]:
    """What becomes one task: all items of a service on a node, or one work on the repository."""
    found: dict[str, list[DueRun]] = {}
    for run in runs:
        if run.schedule not in schedules:
            continue
        service = schedules[run.schedule].service
        unit = f"backup:{service}@{run.node}" if service else run.schedule
        found.setdefault(unit, []).append(run)
    return found


def _possible(work: Work, busy: Counter[str]) -> Planned:
    """What can be begun now. Raises ComposiaError with what it waits for."""
    if work.first.kind is Kind.BACKUP:
        _refuse_offline(work.known, [work.place])
        if busy[work.place] >= PER_NODE:
            raise Waits(f"{PER_NODE} scheduled backups run on {work.place}, which is the limit")
    planned = plans_for(work)
    _refuse_offline(work.known, [node for plan in planned.plans for node in plan.nodes])
    return planned


class Waits(ComposiaError):  # named as all of the tree
    """It can be begun later."""


def _refuse_offline(knows: Known, nodes: Sequence[str]) -> None:
    for node in nodes:
        if not knows.answers(node):
            raise Waits(f"node {node} is offline")


def _batch(unit: str, runs: Sequence[DueRun]) -> str:
    """The same for the same times, whoever hands them in."""
    what = "\n".join(sorted(f"{run.schedule} {run.node} {stored(run.slot)}" for run in runs))
    newest = max(run.slot for run in runs)
    return f"{unit} {newest:%Y-%m-%dT%H:%MZ} {hashlib.sha256(what.encode()).hexdigest()[:16]}"


def _key(batch: str, plan: Plan) -> str:
    """Runs become one task, and those of a verification one for each backup."""
    return f"{batch}/{plan.wanted.backup_id}" if isinstance(plan, VerifyPlan) else batch
