from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from composia.controller.late import late
from composia.controller.store.schedules import DueRun, Mark, RunState
from composia.model.notification import EventName, Matter
from composia.model.schedule import Kind, Schedule, overdue

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SLOT = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
OF = ("my-app", "uploads", "main")
DAILY = Schedule(
    key="backup:my-app/uploads",
    kind=Kind.BACKUP,
    expression="0 2 * * *",
    timezone="UTC",
    service="my-app",
    data_item="uploads",
    nodes=("main",),
)


def found(last_good: datetime | None, *runs: DueRun) -> list[Matter]:
    long_ago = NOW - timedelta(days=30)
    mark = Mark(
        key=DAILY.key, expression="0 2 * * *", timezone="UTC", since=long_ago, seen=long_ago
    )
    good = {OF: last_good} if last_good else {}
    missing = overdue([DAILY], good, {DAILY.on("main"): mark.since}, NOW)
    return late(missing, [DAILY], runs, NOW, lambda node: node == "main")


def run(state: RunState, node: str = "main") -> DueRun:
    reason = "node main is offline" if state is RunState.MISSED else None
    return DueRun(schedule=DAILY.key, node=node, slot=SLOT, state=state, reason=reason, first=SLOT)


def test_a_backup_of_last_night_is_not_late() -> None:
    assert found(SLOT + timedelta(minutes=5), run(RunState.TAKEN)) == []


def test_one_that_has_not_come_twice_is_overdue() -> None:
    [matter] = found(SLOT - timedelta(days=3))

    assert matter.event is EventName.BACKUP_OVERDUE
    assert matter.subject == "overdue:my-app/uploads@main"
    assert "2026-11-21 02:00" in matter.reason
    assert "composia backup my-app --item uploads --node main" in str(matter.hint)


def test_a_run_that_was_missed_is_told_with_its_reason() -> None:
    [matter] = found(SLOT, run(RunState.MISSED))

    assert matter.event is EventName.BACKUP_MISSED
    assert matter.reason == "It was to begin at 2026-11-24 02:00 UTC: node main is offline"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.BACKUP])
def test_care_that_was_missed_is_told_too(kind: Kind) -> None:
    copy = "s3" if kind is Kind.COPY else None
    care = Schedule(str(kind), kind, "0 6 * * *", "UTC", copy=copy)
    missed = run(RunState.MISSED, node="").model_copy(update={"schedule": care.key})

    [matter] = late([], [care], [missed], NOW, bool)

    assert matter.event is EventName.SCHEDULE_MISSED
    assert matter.subject == f"missed:{care.key}"
    assert "node main is offline" in matter.reason
    assert str(matter.hint).startswith("composia ")
    assert late([], [], [missed], NOW, bool) == []


def test_one_that_waits_for_hours_is_told_with_what_it_waits_for() -> None:
    waiting = run(RunState.WAITING).model_copy(update={"reason": "is held by task 01T"})
    short = waiting.model_copy(update={"slot": NOW - timedelta(hours=1)})

    [matter] = found(SLOT, waiting)

    assert (matter.event, matter.title) == (
        EventName.BACKUP_MISSED, "Backup waits: uploads of my-app on main",
    )  # fmt: skip
    assert "02:00 UTC: is held by task 01T" in matter.reason
    assert found(SLOT, short) == []


def test_one_that_waits_for_a_node_that_is_away_is_not_told_besides_that() -> None:
    edge = replace(DAILY, nodes=("edge",))
    assert late([], [edge], [run(RunState.WAITING, "edge")], NOW, lambda node: False) == []


def test_one_that_waits_hides_no_missed_one_but_one_that_was_begun_ends_it() -> None:
    day = timedelta(days=1)
    waiting = run(RunState.WAITING).model_copy(update={"slot": SLOT + day})
    begun = run(RunState.TAKEN).model_copy(update={"slot": SLOT + day})

    assert [one.event for one in found(SLOT, waiting, run(RunState.MISSED))] == [
        EventName.BACKUP_MISSED
    ]
    assert found(SLOT, begun, run(RunState.MISSED)) == []


def test_a_run_on_a_node_that_it_is_not_meant_for_any_more_is_nothing() -> None:
    assert found(SLOT, run(RunState.MISSED, node="edge")) == []
