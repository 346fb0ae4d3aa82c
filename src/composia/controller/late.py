"""What has not happened, as matters: overdue backups, and runs that were missed. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from composia.controller.store.schedules import DueRun, RunState
from composia.model.backup import place_of
from composia.model.notification import EventName, Matter
from composia.model.schedule import GRACE, Kind, Overdue, Schedule

#: What is done for all backups together, and how to have it done now.
_CARE = {
    Kind.FORGET: ("Forget", "composia repo forget"),
    Kind.PRUNE: ("Prune", "composia repo prune"),
    Kind.CHECK: ("Check of the repository", "composia repo check"),
    Kind.VERIFY: ("Proof of backups", "composia schedules"),
    Kind.COPY: ("Copy off site", "composia repo copy"),
}


def late(
    overdue: Iterable[Overdue],
    schedules: Iterable[Schedule],
    newest: Sequence[DueRun],
    now: datetime,
    online: Callable[[str], bool],
) -> list[Matter]:
    """`newest`: the last two runs of each schedule on each node, the newest first.

    One that waits for hours is told as if it was missed; but not where its node is away, for that
    is told by itself.
    """
    known = {one.key: one for one in schedules}
    missed = [one for one in _decided(newest) if one.state is RunState.MISSED]
    places = {(one.schedule, one.node) for one in missed}
    waiting = [
        one
        for one in newest
        if one.state is RunState.WAITING
        and now - one.slot >= GRACE
        and (one.schedule, one.node) not in places
        and (not one.node or online(one.node))
    ]
    return [*(_overdue(one) for one in overdue), *_missed(known, [*missed, *waiting])]


def _overdue(one: Overdue) -> Matter:
    return Matter(
        event=EventName.BACKUP_OVERDUE,
        subject=f"overdue:{place_of(one.service, one.data_item, one.node)}",
        title=f"Backup overdue: {one.data_item} of {one.service} on {one.node}",
        reason=one.reason,
        hint=f"composia schedules; composia backup {one.service} --item {one.data_item} "
        f"--node {one.node}",
        since=one.allowed,
        service=one.service,
        node=one.node,
        data_item=one.data_item,
    )


def _decided(newest: Iterable[DueRun]) -> Iterable[DueRun]:
    """The last of each of which it is known what became; one that waits hides no earlier one."""
    found: dict[tuple[str, str], DueRun] = {}
    for run in newest:
        if run.state is not RunState.WAITING:
            found.setdefault((run.schedule, run.node), run)
    return found.values()


def _missed(known: Mapping[str, Schedule], newest: Iterable[DueRun]) -> Iterator[Matter]:
    for run in newest:
        schedule = known.get(run.schedule)
        if schedule is None or run.node not in schedule.places:
            continue
        yield _backup(schedule, run) if schedule.kind is Kind.BACKUP else _care(schedule, run)


def _backup(schedule: Schedule, run: DueRun) -> Matter:
    service, item = str(schedule.service), str(schedule.data_item)
    return Matter(
        event=EventName.BACKUP_MISSED,
        subject=f"missed:{place_of(service, item, run.node)}",
        title=f"Backup {_what(run)}: {item} of {service} on {run.node}",
        reason=_reason(run),
        hint=f"composia backup {service} --item {item} --node {run.node}",
        since=run.first,
        service=service,
        node=run.node,
        data_item=item,
    )


def _care(schedule: Schedule, run: DueRun) -> Matter:
    what, command = _CARE[schedule.kind]
    to = f" to {schedule.copy}" if schedule.copy else ""
    return Matter(
        event=EventName.SCHEDULE_MISSED,
        subject=f"missed:{schedule.key}",
        title=f"{what}{to} {_what(run)}",
        reason=_reason(run),
        hint=command,
        since=run.first,
    )


def _what(run: DueRun) -> str:
    return "missed" if run.state is RunState.MISSED else "waits"


def _reason(run: DueRun) -> str:
    times = f", {run.times} times" if run.times > 1 else ""
    return f"It was to begin at {run.slot:%Y-%m-%d %H:%M} UTC{times}: {run.reason or ''}"
