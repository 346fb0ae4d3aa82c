"""What of a node's word on its backups is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from composia.controller.saved import believed, refusals
from composia.model.backup import Backup, BackupStatus
from composia.model.task import Status, Step

ASKED = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def record(time: datetime, id_: str = "1", snapshot: str | None = "a" * 64) -> Backup:
    return Backup(
        id=id_, service="my-app", data_item="uploads", node="main", snapshot_id=snapshot,
        status=BackupStatus.SUCCESS, time=time,
    )  # fmt: skip


def step(*, ended: datetime | None = None) -> Step:
    return Step(
        name="save_data", node="main", status=Status.SUCCEEDED, started_at=ASKED, finished_at=ended
    )


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), ASKED),
        (datetime(2031, 1, 1, tzinfo=UTC), ASKED + HOUR),
        (ASKED + HOUR / 2, ASKED + HOUR / 2),
    ],
)
def test_a_time_is_brought_into_that_of_its_step(said: datetime, kept: datetime) -> None:
    (found,) = believed([record(said)], {"main": step(ended=ASKED + HOUR)}, ASKED + 2 * HOUR)

    assert found.time == kept


def test_a_clock_that_was_set_back_leaves_the_beginning() -> None:
    (found,) = believed([record(ASKED)], {"main": step()}, ASKED - HOUR)

    assert found.time == ASKED


def test_what_was_adopted_is_not_of_the_future() -> None:
    old, future = believed([record(ASKED - HOUR), record(ASKED + HOUR)], {}, ASKED)

    assert (old.time, future.time) == (ASKED - HOUR, ASKED)


def test_the_snapshot_of_another_record_is_refused() -> None:
    said = [record(ASKED, "1"), record(ASKED, "2", "b" * 64), record(ASKED, "3", "b" * 64)]

    found = refusals(said, {"a" * 64: "0"})

    assert set(found) == {"1", "3"}
    assert refusals(said[1:2], {"b" * 64: "2"}) == {}
