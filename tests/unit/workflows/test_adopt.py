"""Adopting: what a snapshot says of itself becomes a record, and strangers are named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from composia.errors import Failure
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.operations.base import Operation
from composia.operations.repository import CompareRepository, RepositoryCompared
from composia.tools.rustic import SnapshotInfo
from composia.workflows.adopt import AdoptPlan, AdoptRequest, plan_adopt
from composia.workflows.backup import backup_id
from tests.twins.office import REPOSITORY, SNAPSHOT
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World

TASK = "01JABCDEFGHJKMNPQRSTVWXYZ0"
OTHER = "e" * 64


def snapshot(id_: str = "1", **fields: Any) -> SnapshotInfo:
    return SnapshotInfo(
        **{
            "id": id_.ljust(64, "0"),
            "time": "2026-11-23T10:32:57.550123456+00:00",
            "host": "main",
            "label": "my-app/uploads",
            "tags": ("service=my-app", "item=uploads", f"task={TASK}", "run=composia-x"),
            "paths": ("/composia",),
            "size": 50,
            "files": 3,
            "added": 20,
            "duration": 1.5,
        }
        | fields
    )


def a_run(*found: SnapshotInfo, repository: str = REPOSITORY, **records: str) -> MemoryRun:
    def node(name: str, operation: Operation[Any]) -> Answer:
        assert isinstance(operation, CompareRepository)
        assert operation.describe
        recorded = operation.repository.repository_id if operation.repository else None
        if recorded not in (None, repository):
            return Failure("this is another repository")
        return RepositoryCompared(
            repository_id=repository,
            snapshots=len(found) + len(records),
            unknown=len(found),
            described=found,
        )

    run = MemoryRun(node)
    run.controlled["known_snapshots"] = records
    return run


async def adopted(world: World, *found: SnapshotInfo, **records: str) -> list[Backup]:
    run = a_run(*found, **records)
    await plan_adopt(world.known, AdoptRequest()).carry_out(run)
    kept = run.told.get("record_backups", {"backups": []})["backups"]
    return [Backup.model_validate(one) for one in kept]


async def test_a_snapshot_becomes_a_record_of_what_it_says(world: World) -> None:
    (record,) = await adopted(world, snapshot())
    assert record == Backup(
        id=backup_id(TASK, "uploads", "main"),
        service="my-app",
        data_item="uploads",
        node="main",
        snapshot_id="1".ljust(64, "0"),
        status=BackupStatus.UNPROVEN,
        size=50,
        added=20,
        files=3,
        time=datetime(2026, 11, 23, 10, 32, 57, 550123, tzinfo=UTC),
        duration=1.5,
        task_id=TASK,
        strategy="files.copy",
        warnings=record.warnings,
        exclude=("./data/uploads/temp",),
    )


async def test_a_record_has_its_time_in_utc_whatever_zone_rustic_runs_in(world: World) -> None:
    (record,) = await adopted(world, snapshot(time="2026-11-23T11:32:57.550123456+01:00"))
    assert record.model_dump(mode="json")["time"] == "2026-11-23T10:32:57.550123Z"


async def test_a_dump_is_known_by_its_name(world: World) -> None:
    tags = ("service=my-app", "item=uploads")
    (record,) = await adopted(world, snapshot(tags=tags, paths=("dump.sql",)))
    assert record.strategy == "database.pgdumpall"


@pytest.mark.parametrize(
    ("tags", "kind", "status"),
    [
        (("kind=before_restore",), BackupKind.BEFORE_RESTORE, BackupStatus.UNPROVEN),
        (("kind=migration", "taken=live"), BackupKind.MIGRATION, BackupStatus.PARTIAL),
        (("kind=unheard_of",), BackupKind.MANUAL, BackupStatus.UNPROVEN),
    ],
)
async def test_a_safety_copy_is_one_still_and_what_was_taken_live_never_whole(
    world: World, tags: tuple[str, ...], kind: BackupKind, status: BackupStatus
) -> None:
    (record,) = await adopted(world, snapshot(tags=("service=my-app", "item=uploads", *tags)))
    assert (record.kind, record.status) == (kind, status)
    assert (record.error is not None) is (status is BackupStatus.PARTIAL)


async def test_an_item_that_is_dumped_now_may_have_been_saved_as_files(world: World) -> None:
    (record,) = await adopted(world, snapshot(tags=("service=my-app", "item=database")))
    assert record.strategy == "files.copy"


async def test_a_snapshot_made_by_hand_is_no_tasks(world: World) -> None:
    (record,) = await adopted(world, snapshot(tags=("service=my-app", "item=uploads", "task=me")))
    assert record.task_id is None
    # Among the ids of tasks it sorts by its time.
    assert record.id[:10] == "01M83ZEKEE"


async def test_a_record_has_the_id_again_that_its_snapshot_names(world: World) -> None:
    had = backup_id(TASK, "uploads", "main", 2, "01KZZZZZZZ")
    tags = ("service=my-app", "item=uploads", f"task={TASK}")
    (record,) = await adopted(world, snapshot(tags=(*tags, f"record={had}")))
    (other,) = await adopted(world, snapshot(tags=(*tags, "record=../../etc/passwd")))
    assert (record.id, other.id) == (had, backup_id(TASK, "uploads", "main"))


async def test_two_of_one_task_are_two_records(world: World) -> None:
    records = await adopted(world, snapshot("1"), snapshot("2"))
    assert len({record.id for record in records}) == 2


async def test_a_record_that_is_there_is_not_replaced(world: World) -> None:
    taken = backup_id(TASK, "uploads", "main")
    (record,) = await adopted(world, snapshot(), **{taken: SNAPSHOT})
    assert record.id != taken


async def test_a_service_that_has_left_the_catalog_is_adopted_too(world: World) -> None:
    (record,) = await adopted(world, snapshot(tags=("service=gone", "item=photos")))
    assert (record.service, record.exclude) == ("gone", ())


@pytest.mark.parametrize(
    "strange",
    [
        {"tags": ()},
        {"tags": ("service=my-app",)},
        {"tags": ("service=../etc", "item=uploads")},
        {"host": "My Laptop"},
    ],
)
async def test_strangers_are_named_and_left_alone(world: World, strange: dict[str, Any]) -> None:
    run = a_run(snapshot(**strange))
    result = await plan_adopt(world.known, AdoptRequest()).carry_out(run)
    assert (result["adopted"], result["not_ours"]) == (0, 1)
    assert "100000000000 of my-app/uploads" in result["strangers"][0]
    assert "record_backups" not in run.told


async def test_many_are_kept_in_several_steps(world: World) -> None:
    found = [snapshot(f"{number:x}".rjust(8, "a")) for number in range(1001)]
    run = a_run(*found)
    result = await plan_adopt(world.known, AdoptRequest()).carry_out(run)
    assert result["adopted"] == 1001
    assert [step for step, _ in run.steps if step.startswith("record")] == [
        "record_backups", "record_backups_2", "record_backups_3",
    ]  # fmt: skip


async def test_very_many_are_asked_for_piece_by_piece(world: World) -> None:
    found = [snapshot(f"{number:x}".rjust(8, "a")) for number in range(5)]

    def node(name: str, operation: Operation[Any]) -> Answer:
        assert isinstance(operation, CompareRepository)
        at = found.index(operation.after) + 1 if operation.after else 0
        return RepositoryCompared(
            repository_id=REPOSITORY, snapshots=5, unknown=5, described=tuple(found[at : at + 2])
        )

    run = MemoryRun(node)
    run.controlled["known_snapshots"] = {}
    result = await plan_adopt(world.known, AdoptRequest()).carry_out(run)
    assert result["adopted"] == 5
    assert [step for step, _ in run.steps if step.startswith("compare")] == [
        "compare_repository", "compare_repository_2", "compare_repository_3",
    ]  # fmt: skip


# Which repository.


async def test_a_new_controller_learns_the_repository_that_is_there(world: World) -> None:
    world.change(repository_id=None)
    run = a_run(snapshot())
    result = await plan_adopt(world.known, AdoptRequest()).carry_out(run)
    assert result["repository_id"] == REPOSITORY
    assert run.told["remember_repository"] == {"repository_id": REPOSITORY}


async def test_another_repository_is_refused(world: World) -> None:
    run = a_run(snapshot(), repository=OTHER)
    with pytest.raises(Failure, match="another repository"):
        await plan_adopt(world.known, AdoptRequest()).carry_out(run)
    assert run.told.keys() == {"known_snapshots"}


async def test_another_repository_is_taken_by_a_persons_word(world: World) -> None:
    run = a_run(snapshot(), repository=OTHER)
    plan = plan_adopt(world.known, AdoptRequest(repository_id=OTHER))
    await plan.carry_out(run)
    assert run.told["replace_repository"] == {"repository_id": OTHER}
    assert str(plan) == "Adopt repository eeeeeeeeeeee on main instead of ffffffffffff"


async def test_a_word_for_another_one_than_is_there_is_refused(world: World) -> None:
    plan = plan_adopt(world.change(repository_id=None), AdoptRequest(repository_id=OTHER))
    with pytest.raises(Failure, match="another repository"):
        await plan.carry_out(a_run(snapshot()))


def test_it_has_the_repository_alone_and_is_read_as_it_was_written(world: World) -> None:
    plan = plan_adopt(world.known, AdoptRequest())
    assert [hold.shared for hold in plan.holds] == [False]
    assert AdoptPlan.model_validate_json(plan.model_dump_json()) == plan
