"""All records together."""

from __future__ import annotations

from datetime import timedelta

from composia.controller.store.store import Store
from composia.model.backup import BackupDay, BackupStatus, Counted
from tests.twins.office import NOW, MemoryStore, backup

UNPROVEN = BackupStatus.UNPROVEN
RECORDS = [
    backup("01B1", added=10),
    backup("01B2", added=20, missing=True),
    backup("01B3", added=30, status=BackupStatus.FAILED, snapshot_id=None),
    backup("01B4", added=40, status=UNPROVEN),
    backup("01B5", added=50, status=UNPROVEN, verified_at=NOW),
    backup("01B6", added=60, status=UNPROVEN, verified_at=NOW, damaged=True),
    backup("01B7", added=70, status=UNPROVEN, missing=True),
]


async def test_records_are_counted_without_reading_each(store: Store) -> None:
    assert await store.counted_backups() == Counted()

    await store.keep_backups(RECORDS)

    counted = await store.counted_backups()
    assert counted == Counted(snapshots=4, added=160, missing=2, unproven=2)
    assert counted == await MemoryStore(records=RECORDS).counted_backups()


async def test_what_was_counted_is_counted_again_after_a_change(store: Store) -> None:
    await store.keep_backups(RECORDS)
    await store.counted_backups()

    await store.forget_backups(["01B1", "01B4"])

    assert (await store.counted_backups()).snapshots == 2
    assert await store.counted_backups() is await store.counted_backups()


async def test_each_day_tells_what_came_of_its_backups(store: Store) -> None:
    records = [
        backup("01B1", time=NOW - timedelta(days=3)),
        backup("01B2", time=NOW - timedelta(days=1)),
        backup("01B3", time=NOW - timedelta(days=1), status=BackupStatus.PARTIAL),
        backup("01B4", time=NOW - timedelta(days=1), status=UNPROVEN),
        backup("01B5", time=NOW, status=BackupStatus.FAILED, snapshot_id=None),
        backup("01B6", time=NOW, service="wiki"),
    ]
    await store.keep_backups(records)
    since, today = NOW - timedelta(days=2), NOW.date()

    every = await store.backup_days(since)

    assert every == [
        BackupDay(day=today - timedelta(days=1), good=1, partial=2),
        BackupDay(day=today, good=1, failed=1),
    ]
    assert every == await MemoryStore(records=records).backup_days(since)
    assert await store.backup_days(since, ["wiki"]) == [BackupDay(day=today, good=1)]


async def test_a_forget_that_has_begun_is_remembered_until_the_snapshot_is_seen(
    store: Store,
) -> None:
    await store.keep_backups([backup("01B1"), backup("01B2"), backup("01B3")])

    await store.begin_forgetting(["01B1", "01B2"])
    changed = await store.note_missing(["01B1", "01B2", "01B3"], ["01B1", "01B3"])

    assert {one.id: (one.missing, one.going) for one in changed} == {
        "01B1": (True, True),
        "01B2": (False, False),
        "01B3": (True, False),
    }
