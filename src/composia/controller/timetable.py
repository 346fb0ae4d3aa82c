"""Schedules as people see them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from composia.controller.store.schedules import DueRun, RunState
from composia.model.schedule import Schedule
from composia.model.shown import LastRunView, MissedRunView, ScheduleView, WaitingRunView
from composia.model.task import Status

#: Times of a schedule on a node that are looked at.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class History:
    """The newest runs of every schedule, and how their tasks are."""

    #: By the schedule's key, the newest first.
    runs: Mapping[str, Sequence[DueRun]]
    statuses: Mapping[str, Status]

    @classmethod
    def of(cls, runs: Iterable[DueRun], statuses: Mapping[str, Status]) -> History:
        """From all of them, the newest first."""
        found: dict[str, list[DueRun]] = {}
        for run in runs:
            found.setdefault(run.schedule, []).append(run)
        return cls(found, statuses)


def views(schedules: Sequence[Schedule], history: History, now: datetime) -> list[ScheduleView]:
    """In the order of the schedules."""
    return [_view(one, history.runs.get(one.key, ()), history.statuses, now) for one in schedules]


def _view(
    schedule: Schedule, runs: Sequence[DueRun], statuses: Mapping[str, Status], now: datetime
) -> ScheduleView:
    return ScheduleView(
        key=schedule.key,
        kind=schedule.kind,
        service=schedule.service,
        data_items=[schedule.data_item] if schedule.data_item else [],
        nodes=list(schedule.nodes),
        schedule=schedule.expression,
        timezone=schedule.timezone,
        next=schedule.next(now),
        last=_last([run for run in runs if run.state is RunState.TAKEN], statuses),
        waiting=[
            WaitingRunView(time=run.slot, node=run.node or None, for_=run.reason or "its turn")
            for run in runs
            if run.state is RunState.WAITING
        ],
        missed=[_missed(run) for run in runs if run.state is RunState.MISSED],
    )


def _last(taken: Sequence[DueRun], statuses: Mapping[str, Status]) -> LastRunView | None:
    newest = [run for run in taken if run.slot == taken[0].slot]
    shown = [
        LastRunView(
            time=run.slot,
            node=run.node or None,
            task=run.task,
            status=statuses.get(run.task) if run.task else None,
            remark=run.reason,
        )
        for run in newest
    ]
    failed = [one for one in shown if one.status is Status.FAILED]
    return next(iter(failed or shown), None)


def _missed(run: DueRun) -> MissedRunView:
    return MissedRunView(
        time=run.slot,
        first=run.first,
        times=run.times,
        node=run.node or None,
        reason=run.reason or "it could not begin before the next time",
    )
