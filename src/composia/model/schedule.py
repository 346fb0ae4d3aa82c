"""What happens by itself, and when. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import islice, pairwise

from composia.model.catalog import CatalogView, Service
from composia.model.config import ControllerConfig
from composia.tools import cron

#: Services that may begin at one minute; when there are more, all of that minute are spread.
TOGETHER = 2
#: Within so long, and never beyond half of the way to the next time.
SPREAD = timedelta(minutes=10)
#: What a backup may take until it counts as late.
GRACE = timedelta(hours=2)

#: Minutes of an hour, and one more: so many times show the shortest way between two.
_SAMPLE = 61
_SOMEWHEN = datetime(2026, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    BACKUP = "backup"
    FORGET = "forget"
    PRUNE = "prune"
    CHECK = "check"
    VERIFY = "verify"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One thing that is done again and again."""

    #: The same as long as it is about the same: `backup:my-app/uploads`, `prune`, `copy:s3`.
    key: str
    kind: Kind
    expression: str
    timezone: str
    #: How much later than its minute it begins, so that not all begin at once.
    offset: timedelta = timedelta(0)
    service: str | None = None
    data_item: str | None = None
    #: Of a backup, each with a run of its own.
    nodes: tuple[str, ...] = ()
    #: Which copy off site.
    copy: str | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """The nodes with a run each; what is about the repository has one, without a node."""
        return self.nodes if self.kind is Kind.BACKUP else ("",)

    def on(self, node: str) -> str:
        """The key of it on one of its nodes."""
        return f"{self.key}@{node}"

    def next(self, after: datetime) -> datetime | None:
        """When it begins next after a time."""
        slot = _next_slot(self.expression, self.timezone, _minute(after - self.offset))
        return slot + self.offset if slot else None

    def last_slot(self, now: datetime) -> datetime | None:
        """The last of its times that it should have begun for."""
        return _last_slot(self.expression, self.timezone, _minute(now - self.offset))

    def slots(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Its times between two, the later one included."""
        for slot in cron.due_times(self.expression, self.timezone, after):
            if slot > until:
                return
            yield slot


@dataclass(frozen=True, slots=True)
class Overdue:
    """A data item on a node whose last good backup is older than its schedule allows."""

    service: str
    data_item: str
    node: str
    last_good: datetime | None
    #: The time since when there should be one.
    allowed: datetime
    reason: str


def scheduled(catalog: CatalogView, config: ControllerConfig) -> tuple[Schedule, ...]:
    """All that happens by itself: backups by service and item, then what is about the repository.

    Disabled services, and whatever has `none` or no schedule at all, is not among them.
    """
    plain = [
        one
        for name in sorted(catalog.services)
        for one in _of_service(catalog.services[name], config)
    ]
    return (*_spread(plain), *_of_repository(config))


def _of_service(service: Service, config: ControllerConfig) -> Iterator[Schedule]:
    if not service.meta.enabled:
        return
    for entry in service.meta.backup.data:
        expression = entry.schedule or config.backup.default_schedule
        item = service.meta.item(entry.name)
        if expression in (None, cron.NEVER) or item is None or item.backup is None:
            continue
        yield Schedule(
            key=f"backup:{service.name}/{entry.name}",
            kind=Kind.BACKUP,
            expression=str(expression),
            timezone=config.backup.timezone,
            service=service.name,
            data_item=entry.name,
            nodes=service.meta.nodes,
        )


def _of_repository(config: ControllerConfig) -> Iterator[Schedule]:
    maintenance, timezone = config.rustic.maintenance, config.backup.timezone
    wanted: list[tuple[Kind, str | None, str | None]] = [
        (Kind.FORGET, maintenance.forget_schedule, None),
        (Kind.PRUNE, maintenance.prune_schedule, None),
        (Kind.CHECK, maintenance.check_schedule, None),
        (Kind.VERIFY, config.backup.verify_schedule, None),
        *((Kind.COPY, offsite.schedule, offsite.name) for offsite in config.offsite),
    ]
    for kind, expression, copy in wanted:
        if expression not in (None, cron.NEVER):
            key = f"{kind}:{copy}" if copy else str(kind)
            yield Schedule(key, kind, str(expression), timezone, copy=copy)


def _spread(plain: Sequence[Schedule]) -> Iterator[Schedule]:
    """The items of a service stay together: it is stopped once for all of them."""
    services = Counter(expression for _, expression in {(s.service, s.expression) for s in plain})
    crowded = {one.service for one in plain if services[one.expression] > TOGETHER}
    gaps: dict[str | None, timedelta] = {}
    for one in plain:
        gap = shortest_gap(one.expression)
        gaps[one.service] = min(gap, gaps.get(one.service, gap))
    for one in plain:
        within = gaps[one.service]
        offset = _offset(str(one.service), within) if one.service in crowded else timedelta(0)
        yield replace(one, offset=offset)


def _offset(name: str, gap: timedelta) -> timedelta:
    """Whole seconds, the same for a service whichever others there are."""
    within = min(SPREAD, gap / 2)
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    return timedelta(seconds=number % max(1, int(within.total_seconds())))


@lru_cache(maxsize=1024)
def shortest_gap(expression: str) -> timedelta:
    """The shortest time between two of a schedule's times."""
    times = list(islice(cron.due_times(expression, "UTC", _SOMEWHEN), _SAMPLE))
    return min((later - sooner for sooner, later in pairwise(times)), default=SPREAD * 2)


def overdue(
    schedules: Sequence[Schedule],
    last_good: Mapping[tuple[str, str, str], datetime],
    since: Mapping[str, datetime],
    now: datetime,
) -> tuple[Overdue, ...]:
    """Items without a good backup since the last time but one, by their node.

    `last_good`: by service, item and node. `since`: from when on a schedule is known on a node, by
    `Schedule.on`; one that is newer than two of its times has nothing to be late with.
    """
    found = (
        late
        for schedule in schedules
        if schedule.kind is Kind.BACKUP
        for node in schedule.nodes
        if (late := _late(schedule, node, last_good, since.get(schedule.on(node), now), now))
    )
    return tuple(found)


def _late(
    schedule: Schedule,
    node: str,
    last_good: Mapping[tuple[str, str, str], datetime],
    since: datetime,
    now: datetime,
) -> Overdue | None:
    allowed = _last_but_one(schedule, now - GRACE)
    service, item = str(schedule.service), str(schedule.data_item)
    last = last_good.get((service, item, node))
    if allowed is None or since > allowed or (last is not None and last >= allowed):
        return None
    what = f"the last good backup is of {last:%Y-%m-%d %H:%M}" if last else "it was never backed up"
    reason = (
        f"{what} UTC, and its schedule `{schedule.expression}` has come twice since"
        if last
        else f"{what}, and its schedule `{schedule.expression}` has come twice"
    )
    return Overdue(service, item, node, last, allowed, reason)


def _last_but_one(schedule: Schedule, now: datetime) -> datetime | None:
    last = schedule.last_slot(now)
    before = last - timedelta(minutes=1) if last else None
    return _last_slot(schedule.expression, schedule.timezone, before) if before else None


def _minute(time: datetime) -> datetime:
    """Schedules come on whole minutes: nothing is due between two of them."""
    return time.replace(second=0, microsecond=0)


# Thousands of schedules are the same few expressions, and are looked at in the same minute.
_next_slot = lru_cache(maxsize=4096)(cron.next_due)
_last_slot = lru_cache(maxsize=4096)(cron.last_due)
