from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composia.tools.cron import due_times, fields, last_due, next_due, runs_within


@pytest.mark.parametrize(
    ("schedule", "five"),
    [("0 2 * * *", "0 2 * * *"), ("0 3 * * Sun", "0 3 * * Sun"), ("@daily", "0 0 * * *"),
     ("*/5 * * * *", "*/5 * * * *"), ("none", None)],
)  # fmt: skip
def test_a_schedule_stands_for_five_fields(schedule: str, five: str | None) -> None:
    assert fields(schedule) == five


@pytest.mark.parametrize(
    "schedule", ["", "daily", "61 * * * *", "* * * *", "0 0 0 * * *", "@reboot"]
)
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        fields(schedule)


BERLIN = "Europe/Berlin"
YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def days(schedule: str, timezone: str, start: str, end: str) -> list[str]:
    """All times between two, as UTC without the date of the year."""
    until = datetime.fromisoformat(end)
    found = itertools.takewhile(
        lambda due: due <= until, due_times(schedule, timezone, datetime.fromisoformat(start))
    )
    return [f"{due:%m-%d %H:%M}" for due in found]


@pytest.mark.parametrize(
    ("schedule", "start", "end", "due"),
    [
        # The clock goes from 02:00 to 03:00: what is meant for the hour between comes at 03:00.
        ("30 2 * * *", "2026-03-28T12:00Z", "2026-03-30T12:00Z", ["03-29 01:00", "03-30 00:30"]),
        ("*/30 2 * * *", "2026-03-28T12:00Z", "2026-03-29T12:00Z", ["03-29 01:00"]),
        ("0 3 * * *", "2026-03-28T12:00Z", "2026-03-29T12:00Z", ["03-29 01:00"]),
        # The hour from 02:00 to 03:00 comes twice: it runs in the first.
        ("30 2 * * *", "2026-10-24T12:00Z", "2026-10-26T12:00Z", ["10-25 00:30", "10-26 01:30"]),
        ("*/30 2 * * *", "2026-10-24T12:00Z", "2026-10-25T12:00Z", ["10-25 00:00", "10-25 00:30"]),
        # Every hour is every hour, on both days.
        ("0 * * * *", "2026-10-24T23:30Z", "2026-10-25T02:30Z",
         ["10-25 00:00", "10-25 01:00", "10-25 02:00"]),
        ("0 * * * *", "2026-03-28T23:30Z", "2026-03-29T02:30Z",
         ["03-29 00:00", "03-29 01:00", "03-29 02:00"]),
    ],
)  # fmt: skip
def test_both_changes_of_the_clock(schedule: str, start: str, end: str, due: list[str]) -> None:
    assert days(schedule, BERLIN, start, end) == due


def test_in_the_second_of_two_like_hours_the_run_is_over() -> None:
    between = datetime.fromisoformat("2026-10-25T01:15Z")  # 02:15, for the second time

    assert next_due("30 2 * * *", BERLIN, between) == datetime.fromisoformat("2026-10-26T01:30Z")
    assert last_due("30 2 * * *", BERLIN, between) == datetime.fromisoformat("2026-10-25T00:30Z")


def test_none_is_never_due() -> None:
    assert next_due("none", "UTC", datetime.now(UTC)) is None
    assert last_due("none", "UTC", datetime.now(UTC)) is None


@given(
    st.sampled_from(["30 2 * * *", "* * * * *", "*/7 1-3 * * *", "0 */2 * * *", "15 2 * * Sun"]),
    st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe"]),
    st.integers(0, 365 * 24 * 60).map(lambda minutes: YEAR + timedelta(minutes=minutes)),
)
@settings(max_examples=200, deadline=None)
def test_the_last_and_the_next_have_nothing_between_them(
    schedule: str, timezone: str, at: datetime
) -> None:
    last, coming = last_due(schedule, timezone, at), next_due(schedule, timezone, at)

    assert last is not None
    assert coming is not None
    assert last <= at < coming
    assert next_due(schedule, timezone, last) == coming
    assert last_due(schedule, timezone, coming - timedelta(seconds=1)) == last


@pytest.mark.parametrize(
    ("schedule", "runs"), [("0 4 * * Sun", 4), ("@daily", 30), ("* * * * *", 1000), ("none", 0)]
)
def test_runs_are_counted_up_to_a_thousand(schedule: str, runs: int) -> None:
    assert runs_within(schedule, 30, datetime.fromisoformat("2026-11-24T12:00Z")) == runs
