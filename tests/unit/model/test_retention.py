"""Which backups stay: every rule, and a year of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.meta import Keep
from composia.model.retention import Verdict, counts, verdicts

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
USER_GUIDE = Keep(daily=7, monthly=12, yearly=-1)
LAST = Keep(last=1)


def saved(days_ago: float, **fields: Any) -> Backup:
    time = NOW - timedelta(days=days_ago)
    return Backup(
        **{
            "id": f"B{time:%Y%m%d%H%M%S}{fields.get('status', '')}{fields.get('kind', '')}",
            "service": "my-app",
            "data_item": "uploads",
            "node": "main",
            "snapshot_id": "5" * 64,
            "status": BackupStatus.SUCCESS,
            "time": time,
            "task_id": "01TASK",
        }
        | fields
    )


def judged(
    backups: Iterable[Backup], keep: Keep | None, now: datetime = NOW, **more: Any
) -> dict[str, Verdict]:
    return {one.backup_id: one for one in verdicts(backups, keep, zone=BERLIN, now=now, **more)}


def kept(backups: Iterable[Backup], keep: Keep | None, now: datetime = NOW) -> set[str]:
    return {id_ for id_, verdict in judged(backups, keep, now).items() if verdict.keeps}


# The rules of `keep`.


def test_without_a_policy_everything_stays() -> None:
    every = [saved(400), saved(300, status=BackupStatus.FAILED, snapshot_id=None), saved(1)]
    assert kept(every, None) == {one.id for one in every}


def test_the_one_made_last_stays_though_the_clock_was_set_back() -> None:
    before, after = saved(1, id="1-before"), saved(2, id="2-after")
    assert kept([before, after], LAST) == {"2-after"}


def test_the_last_ones_stay() -> None:
    every = [saved(day) for day in (1, 2, 3)]
    assert kept(every, Keep(last=2)) == {every[0].id, every[1].id}


def test_minus_one_keeps_all_of_a_kind() -> None:
    every = [saved(day * 400) for day in range(6)]
    assert kept(every, Keep(yearly=-1)) == {one.id for one in every}


def test_the_newest_of_a_day_stands_for_it() -> None:
    morning, evening, next_day = saved(1.4), saved(1.1), saved(0.3)
    assert kept([morning, evening, next_day], Keep(daily=2)) == {evening.id, next_day.id}


def test_a_day_begins_at_midnight_of_the_time_zone() -> None:
    # 23:30 and 00:30 in Berlin, of one day in UTC.
    before = saved(0, id="before", time=datetime(2026, 11, 22, 22, 30, tzinfo=UTC))
    after = saved(0, id="after", time=datetime(2026, 11, 22, 23, 30, tzinfo=UTC))
    assert kept([before, after], Keep(daily=2)) == {"before", "after"}


def test_weeks_are_the_calendars() -> None:
    # The last days of 2026 belong to week 53, as the first ones of 2027 do.
    ends = [datetime(2026, 12, 27, tzinfo=UTC), datetime(2026, 12, 28, tzinfo=UTC),
            datetime(2027, 1, 3, tzinfo=UTC)]  # fmt: skip
    every = [saved(0, id=f"{time:%Y%m%d}", time=time) for time in ends]
    assert kept(every, Keep(weekly=2), ends[-1]) == {"20261227", "20270103"}


def test_days_without_a_backup_do_not_count() -> None:
    every = [saved(day) for day in (100, 200, 300)]
    assert kept(every, Keep(daily=2)) == {every[0].id, every[1].id}


def test_a_backup_says_every_rule_that_keeps_it() -> None:
    newest, older = saved(1), saved(2)
    verdict = judged([newest, older], Keep(last=1, yearly=1))
    assert verdict[newest.id].why[:2] == ("last: 1 of 1", "yearly: the last of 2026")
    assert verdict[older.id].why == ("a younger one stands for each of its periods",)


# What does not count.


@pytest.mark.parametrize(
    "fields",
    [
        {"status": BackupStatus.PARTIAL},
        {"status": BackupStatus.FAILED, "snapshot_id": None},
        {"status": BackupStatus.UNPROVEN},
        {"missing": True},
        {"damaged": True},
        {"task_id": None},
    ],
    ids=["partial", "failed", "unproven", "missing", "damaged", "a stranger's"],
)
def test_what_is_not_proven_to_be_whole_pushes_nothing_out(fields: dict[str, Any]) -> None:
    good = saved(5)
    assert good.id in kept([good, saved(1, **fields)], LAST)


def test_an_adopted_one_that_is_verified_pushes_nothing_out_while_it_may_not_be_whole() -> None:
    old = saved(5)
    proven = saved(1, status=BackupStatus.UNPROVEN, verified_at=NOW)
    assert kept([old, proven], LAST) == {old.id, proven.id}


@pytest.mark.parametrize(
    "fault",
    [{"status": BackupStatus.PARTIAL}, {"status": BackupStatus.FAILED}, {"damaged": True}],
    ids=["partial", "failed", "damaged"],
)
def test_one_that_is_not_whole_goes_a_week_later_when_a_younger_one_is(
    fault: dict[str, Any],
) -> None:
    bad = saved(8, **fault)
    assert kept([bad, saved(7.5)], LAST).isdisjoint({bad.id})
    assert bad.id in kept([bad, saved(9)], LAST)
    assert bad.id in kept([bad, saved(7.5)], LAST, NOW - timedelta(days=2))


def test_an_unproven_one_never_goes_by_itself() -> None:
    old = saved(900, status=BackupStatus.UNPROVEN)
    assert old.id in kept([old, saved(1)], LAST)


def test_what_no_task_of_ours_saved_never_goes_by_itself() -> None:
    by_hand = saved(900, task_id=None, status=BackupStatus.UNPROVEN, verified_at=NOW)
    assert by_hand.id in kept([by_hand, saved(1, verified_at=NOW)], LAST)


def test_a_missing_one_goes_by_a_persons_word_only() -> None:
    gone, there = saved(900, missing=True), saved(1)
    assert judged([gone, there], LAST)[gone.id].keeps
    assert not judged([gone, there], LAST, drop_missing=True)[gone.id].keeps


# What stays in any case.


def test_the_last_verified_one_stays() -> None:
    older, verified = (saved(day, verified_at=NOW) for day in (90, 80))
    verdict = judged([older, verified, saved(1)], LAST)
    assert verdict[verified.id].why == ("the last verified one",)
    assert not verdict[older.id].keeps


def test_a_partial_one_takes_no_verified_whole_ones_place() -> None:
    proven = saved(90, verified_at=NOW)
    partial = saved(80, verified_at=NOW, status=BackupStatus.PARTIAL)
    assert proven.id in kept([proven, partial, saved(1)], LAST)


def test_where_no_whole_one_is_verified_the_last_of_the_others_stays() -> None:
    partial = saved(80, verified_at=NOW, status=BackupStatus.PARTIAL)
    assert partial.id in kept([saved(90), partial, saved(1)], LAST)


def test_a_missing_one_is_not_the_last_verified() -> None:
    verified, gone = saved(90, verified_at=NOW), saved(80, verified_at=NOW, missing=True)
    assert verified.id in kept([verified, gone, saved(1)], LAST)


def test_a_copy_of_what_was_replaced_takes_no_days_place() -> None:
    night, copy = saved(1.4), saved(1.1, kind=BackupKind.BEFORE_RESTORE)
    assert kept([night, copy], Keep(daily=1)) == {night.id, copy.id}


def test_a_copy_of_what_was_replaced_stays_for_a_week() -> None:
    young, old = (saved(age, kind=BackupKind.BEFORE_RESTORE) for age in (6.9, 7.1))
    assert kept([young, old, saved(1)], LAST) == {young.id, saved(1).id}


@pytest.mark.parametrize("kind", [BackupKind.MIGRATION, BackupKind.BEFORE_UPDATE])
def test_the_copy_of_a_move_or_update_counts_and_stays_for_a_week(kind: BackupKind) -> None:
    copy, old = saved(2, kind=kind), saved(3)
    assert kept([copy, old], LAST) == {copy.id}
    assert copy.id in kept([copy, saved(1)], LAST)
    assert copy.id not in kept([copy, saved(1)], LAST, NOW + timedelta(days=6))


def test_the_only_whole_one_stays_whatever_it_is() -> None:
    copy = saved(100, kind=BackupKind.BEFORE_RESTORE)
    assert kept([copy], LAST) == {copy.id}


def test_a_copy_of_what_was_replaced_takes_no_good_ones_place() -> None:
    kind = BackupKind.BEFORE_RESTORE
    copy = saved(1, kind=kind, verified_at=NOW)
    assert kept([saved(2), copy], LAST) == {saved(2).id, copy.id}
    assert kept([saved(9), saved(8, kind=kind)], LAST) == {saved(9).id}
    proven = saved(90, verified_at=NOW)
    assert proven.id in kept([proven, saved(2), copy], LAST)
    partial = saved(90, verified_at=NOW, status=BackupStatus.PARTIAL)
    assert partial.id in kept([partial, saved(2), copy], LAST)


# Properties.

_NUMBERS = st.none() | st.integers(-1, 5)
_KEEPS = (
    st.fixed_dictionaries(dict.fromkeys(("last", "daily", "weekly", "monthly", "yearly"), _NUMBERS))
    .filter(lambda found: any(found.values()))
    .map(lambda found: Keep(**found))
)
_BACKUPS = st.lists(
    st.builds(
        saved,
        st.floats(0, 900),
        status=st.sampled_from(BackupStatus),
        kind=st.sampled_from(BackupKind),
        missing=st.booleans(),
        damaged=st.booleans(),
        verified_at=st.sampled_from([None, NOW]),
        task_id=st.sampled_from(["01TASK", None]),
    ),
    max_size=25,
    unique_by=lambda one: one.id,
)


@given(_BACKUPS, _KEEPS)
def test_the_newest_whole_and_the_last_verified_always_stay(
    backups: list[Backup], keep: Keep
) -> None:
    stay = kept(backups, keep)
    for wanted in (
        [one for one in backups if counts(one) and one.is_good],
        [one for one in backups if one.verified_at and one.is_good],
    ):
        if wanted:
            assert max(wanted, key=lambda one: (one.time, one.id)).id in stay


@given(_BACKUPS, _KEEPS)
def test_what_stays_stays_when_asked_again(backups: list[Backup], keep: Keep) -> None:
    stay = [one for one in backups if one.id in kept(backups, keep)]
    assert kept(stay, keep) == {one.id for one in stay}


@given(_BACKUPS, _KEEPS)
def test_what_does_not_count_changes_nothing_for_what_does(
    backups: list[Backup], keep: Keep
) -> None:
    # That one may be the last verified one, though it is not whole.
    good = [one for one in backups if counts(one)]
    others = [one for one in backups if not counts(one) and not one.verified_at]
    stay = kept([*good, *others], keep)
    assert {one.id for one in good} & stay == kept(good, keep)


@given(_BACKUPS, _KEEPS)
def test_a_longer_policy_never_keeps_less(backups: list[Backup], keep: Keep) -> None:
    longer = keep.model_copy(update={"daily": -1})
    assert kept(backups, keep) <= kept(backups, longer)


@given(_BACKUPS, _KEEPS)
def test_it_always_says_why(backups: list[Backup], keep: Keep) -> None:
    assert all(verdict.why for verdict in judged(backups, keep).values())


# A year.


def test_a_year_of_daily_backups_leaves_exactly_the_expected_ones() -> None:
    nights = [datetime(2026, 1, 1, 2, tzinfo=BERLIN) + timedelta(days=n) for n in range(365)]
    every = {night: _of(night) for night in nights}
    there: list[Backup] = []
    for night in nights:
        there.append(every[night])
        stay = kept(there, USER_GUIDE, night.astimezone(UTC))
        there = [one for one in there if one.id in stay]
    month_ends = [now for now, then in zip(nights, [*nights[1:], None], strict=True)
                  if then is None or then.month != now.month]  # fmt: skip
    expected = {every[night].id for night in (*nights[-7:], *month_ends)}
    assert {one.id for one in there} == expected
    assert len(expected) == 7 + 11
    # Night after night comes to the same as all at once.
    assert kept(every.values(), USER_GUIDE, nights[-1].astimezone(UTC)) == expected


def test_ten_years_of_daily_backups_leave_the_years() -> None:
    nights = [datetime(2026, 1, 1, 2, tzinfo=BERLIN) + timedelta(days=n) for n in range(3652)]
    stay = kept([_of(night) for night in nights], USER_GUIDE, nights[-1].astimezone(UTC))
    assert len(stay) == 7 + 11 + 9


def _of(night: datetime) -> Backup:
    return saved(0, id=f"{night:%Y-%m-%d}", time=night.astimezone(UTC))
