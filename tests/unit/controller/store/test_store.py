from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from composia.controller.store import audit, steps, tasks
from composia.controller.store.audit import Use
from composia.controller.store.database import FILE
from composia.controller.store.keys import KeyTaken
from composia.controller.store.schema import METADATA
from composia.controller.store.steps import Place
from composia.controller.store.store import Store, open_store
from composia.controller.store.tasks import NewTask
from composia.controller.store.times import Ids, now, stored
from composia.model.backup import Backup, BackupStatus
from composia.model.task import Key, Status, TaskError
from tests.workflow.office import backup, deploy


def new(task: str, **fields: str) -> NewTask:
    return NewTask(id=task, created_by="token:x", source="api", **fields)


async def test_the_steps_of_alembic_lead_to_the_tables(store: Store) -> None:
    async with store._db.write() as db:
        differences = await db.run_sync(
            lambda connection: compare_metadata(MigrationContext.configure(connection), METADATA)
        )

    assert differences == []


async def test_what_was_stored_is_there_after_it_was_closed(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.admit(new("01A"), deploy())
    await store.aclose()

    again = await open_store(tmp_path)
    found = await again.task("01A")
    await again.aclose()

    assert found is not None
    assert found.title == "Deploy my-app on main"


async def test_backups_share_the_repository(store: Store) -> None:
    await store.admit(new("01A"), backup())

    holder = await store.admit(new("01B"), backup(service="other"))

    assert holder is None


async def test_a_conflict_stores_nothing(store: Store) -> None:
    await store.admit(new("01A"), deploy())

    holder = await store.admit(new("01B"), deploy("edge", "main"))

    assert holder is not None
    assert (holder.word, holder.task) == ("my-app@main", "01A")
    assert await store.task("01B") is None
    assert await store.admit(new("01C"), deploy("edge")) is None


async def test_a_key_is_stored_once(store: Store) -> None:
    await store.admit(new("01A", idempotency_key="k"), deploy())

    with pytest.raises(KeyTaken):
        await store.admit(new("01B", idempotency_key="k"), deploy(service="other"))


async def test_keys_of_an_older_version_are_still_known(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    await store.admit(new("01A", idempotency_key="k", request_hash="h"), deploy())
    await store.aclose()
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        file.execute("DROP TABLE keys")
        file.execute("UPDATE alembic_version SET version_num = '0008'")
        file.commit()

    again = await open_store(tmp_path)
    await again.keep("01A", Key.of("token:x", "other", "retry"))
    found = [await again.first_of("token:x", key) for key in ("k", "other", "third")]
    await again.aclose()

    assert [one and one[0] for one in found] == ["01A", "01A", None]


async def test_a_task_ends_once(store: Store) -> None:
    await store.admit(new("01A"), deploy())
    await store.end("01A", Status.FAILED, error=TaskError(message="no space left"))

    await store.end("01A", Status.SUCCEEDED, result={})

    found = await store.task("01A")
    assert found is not None
    assert found.status is Status.FAILED
    assert found.finished_at is not None


async def test_nothing_ends_before_it_began_though_the_clock_was_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(task="01A", attempt=1, name="deploy", node="main")
    await store.admit(new("01A"), deploy())
    for module in (tasks, steps):
        monkeypatch.setattr(module, "now", lambda: "2020-01-01T00:00:00.000000Z")
    await store.begin("01A")
    await store.begin_step(place, sent=True)
    monkeypatch.setattr(steps, "now", lambda: "2019-01-01T00:00:00.000000Z")

    await store.end_step(place, Status.SUCCEEDED, None)
    await store.end("01A", Status.SUCCEEDED)

    found = await store.task("01A")
    assert found is not None
    assert found.started_at is not None
    assert found.finished_at is not None
    assert found.created_at <= found.started_at <= found.finished_at
    assert found.steps[0].started_at == found.steps[0].finished_at


async def test_a_step_that_was_under_way_ends_with_its_task(store: Store) -> None:
    await store.admit(new("01A"), deploy())
    await store.begin_step(Place(task="01A", attempt=1, name="deploy", node="main"), sent=True)

    await store.end("01A", Status.CANCELLED)

    found = await store.task("01A")
    assert found is not None
    assert [step.status for step in found.steps] == [Status.CANCELLED]


async def test_tasks_come_newest_first_page_by_page(store: Store) -> None:
    for number in range(5):
        await store.admit(new(f"01{number}"), deploy(f"node{number}"))

    first = await store.tasks(limit=2)
    second = await store.tasks(limit=2, before=first[-1].id)

    assert [task.id for task in (*first, *second)] == ["014", "013", "012", "011"]


async def test_tasks_are_found_by_their_fields(store: Store) -> None:
    await store.admit(new("01A"), deploy("main", "edge"))
    await store.admit(new("01B"), deploy(service="other"))
    await store.end("01B", Status.SUCCEEDED)

    found = [
        await store.tasks(services=["my-app"]),
        await store.tasks(node="edge"),
        await store.tasks(type="backup"),
        await store.tasks(status="succeeded"),
        await store.tasks(node="ed%e"),
    ]

    assert [[task.id for task in tasks] for tasks in found] == [["01A"], ["01A"], [], ["01B"], []]


async def test_a_record_of_the_same_id_is_replaced(store: Store) -> None:
    await store.keep_backups([record("01A", BackupStatus.FAILED)])

    await store.keep_backups([record("01A", BackupStatus.SUCCESS)])

    assert [one.status for one in await store.backups()] == [BackupStatus.SUCCESS]


async def test_the_last_good_backup_counts(store: Store) -> None:
    await store.keep_backups([record("01A", hour=1), record("01B", BackupStatus.FAILED, hour=2)])

    assert [one.id for one in await store.newest_backups(good=True)] == ["01A"]


async def test_whoever_asks_again_sees_what_has_changed(store: Store) -> None:
    await store.keep_backups([record("01A")])
    seen = [await store.newest_backups(good=good) for good in (True, False)]

    await store.keep_backups([record("01B")])
    after = [await store.newest_backups(good=good) for good in (True, False)]
    await store.note_verification("01B", "torn", at=None, proven=False)

    assert [[one.id for one in found] for found in (*seen, *after)] == [["01A"]] * 2 + [["01B"]] * 2
    assert [one.id for one in await store.newest_backups(good=True)] == ["01A"]
    await store.forget_backups(["01A", "01B"])
    assert await store.newest_backups(good=True) == []


async def test_the_first_repository_is_remembered(store: Store) -> None:
    await store.remember_repository("ab")
    await store.remember_repository("cd")

    assert await store.repository_id() == "ab"


async def test_old_uses_of_tokens_are_dropped(store: Store) -> None:
    old = stored(datetime.now(UTC) - audit.KEPT - timedelta(days=1))
    await store.note_uses([use(old), use(now())])

    await store.prune_uses()

    assert len(await store.uses()) == 1


def test_ids_grow_while_the_clock_stands_still() -> None:
    ids = Ids()

    made = [ids.next() for _ in range(1000)]

    assert made == sorted(set(made))
    assert {len(one) for one in made} == {26}


async def test_ids_go_on_after_what_a_later_attempt_has_saved(store: Store) -> None:
    await store.keep_backups([record("01ZZZZZZZZ").model_copy(update={"task_id": "01A"})])
    await store.admit(new("01A"), deploy())
    assert await store.newest_id() == "01A"
    await store.end("01A", Status.FAILED)

    await store.readmit("01A", deploy())

    assert await store.newest_id() == "01ZZZZZZZZ"


def test_ids_grow_after_the_clock_was_set_back() -> None:
    last = "7ZZZZZZZZZ0000000000000000"

    assert Ids(last).next() > last


def test_records_of_tasks_sort_as_those_do_while_the_clock_is_behind() -> None:
    ids = Ids("7ZZZZZZZZZ0000000000000000")

    made = [ids.next()[:10] for _ in range(100)]

    assert made == sorted(set(made))


def use(time: str) -> Use:
    return Use(time=time, token="admin", method="GET", path="/api/v1/nodes", status=200)


def record(backup_id: str, status: BackupStatus = BackupStatus.SUCCESS, hour: int = 0) -> Backup:
    return Backup(
        id=backup_id,
        service="my-app",
        data_item="uploads",
        node="main",
        snapshot_id="ab" * 32,
        status=status,
        time=datetime(2026, 1, 1, hour, tzinfo=UTC),
    )


async def test_nobody_else_reads_the_database(tmp_path: Path) -> None:
    for beside in ("", "-wal"):
        (tmp_path / f"composia.db{beside}").touch()
        (tmp_path / f"composia.db{beside}").chmod(0o644)
    store = await open_store(tmp_path)
    async with store._db.write():
        modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.glob("composia.db*")}
    await store.aclose()
    assert modes == {f"composia.db{beside}": 0o600 for beside in ("", "-wal", "-shm")}
