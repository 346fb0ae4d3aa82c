"""Restoring and rolling back: which backups are chosen, what is refused, what is done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from composia.errors import Conflict, Failure, Invalid, NotFound
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.config import Offsite
from composia.model.offsite import CopyState
from composia.model.task import OpenMove, Status, Task
from composia.operations.backup import DataSaved, ItemSaved, ItemToSave, SaveData
from composia.operations.base import Operation
from composia.operations.repository import OpenRepository, RepositoryOpened
from composia.operations.restore import DataExchanged, DataFetched, FetchData, Moved
from composia.strategies.base import Saved
from composia.strategies.files_copy import FilesCopy
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.strategies.pgdumpall import PgDumpAll
from composia.tools.rustic import Snapshot
from composia.workflows import PLANS
from composia.workflows.again import refuse_outdated
from composia.workflows.backup import BackupRequest, plan_backup
from composia.workflows.plan import PartlyDone
from composia.workflows.restore import (
    BackupRestoreRequest,
    RestorePlan,
    RestoreRequest,
    plan_restore,
    plan_restore_backup,
    plan_rollback,
)
from tests.twins.office import INFRA, MY_APP, NOW, REPOSITORY, backup, container, node_state
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World

DUMP: dict[str, Any] = {"data_item": "database", "strategy": "database.pgdumpall"}


def ago(hours: int) -> dict[str, Any]:
    return {"time": NOW - timedelta(hours=hours)}


def planned(world: World, *backups: Backup, **request: Any) -> RestorePlan:
    return plan_restore(world.known, "my-app", RestoreRequest(**request), backups)


def ids(plan: RestorePlan) -> list[str]:
    return [item.wanted.backup_id for item in plan.items]


def node(name: str, operation: Operation[Any]) -> Answer:
    if isinstance(operation, OpenRepository):
        return RepositoryOpened(repository_id=REPOSITORY, made=False)
    if isinstance(operation, FetchData):
        return DataFetched(size=5, files=1, folder="/scratch")
    return DataExchanged(exchanged=("./data/uploads",), downtime_seconds=0.2, started=True)


def test_the_newest_good_backup_of_every_item_is_restored_by_default(world: World) -> None:
    plan = planned(world, backup("1", **ago(2)), backup("2", **ago(1)), backup("db", **DUMP))
    assert ids(plan) == ["2", "db"]
    assert str(plan) == "Restore uploads, database of my-app on main"


def test_nothing_is_restored_where_an_open_move_has_left_it(world: World) -> None:
    before = planned(world, backup("1"))
    refuse_outdated(world.known, before, "01TASK")
    left = OpenMove(task="01MOVE", service="my-app", source="main", target="edge")
    world.change(moves={"my-app": left})
    with pytest.raises(Conflict, match="runs on edge: task 01MOVE has moved it away"):
        planned(world, backup("1"))
    with pytest.raises(Conflict, match="runs on edge: task 01MOVE has moved it away"):
        plan_restore_backup(world.known, BackupRestoreRequest(), backup("1"))
    with pytest.raises(Conflict, match="runs on edge: task 01MOVE has moved it away"):
        refuse_outdated(world.known, before, "01TASK")
    # Beside the live data it may lie anywhere.
    assert planned(world, backup("1"), to="scratch").node == "main"
    assert planned(world, backup("1"), node="edge").node == "edge"


def test_what_an_earlier_restore_has_replaced_comes_back_only_by_name(world: World) -> None:
    broken = backup("2", kind=BackupKind.BEFORE_RESTORE, **ago(1))
    assert ids(planned(world, backup("1", **ago(2)), broken)) == ["1"]
    assert ids(planned(world, backup("1", **ago(2)), broken, backup_ids=("2",))) == ["2"]
    adopted = broken.model_copy(update={"status": BackupStatus.UNPROVEN})
    older = backup("1", status=BackupStatus.UNPROVEN, **ago(2))
    assert ids(planned(world, older, adopted, unproven=True)) == ["1"]


@pytest.mark.parametrize(
    ("of_database", "reason"),
    [
        (None, "it has no backup"),
        ({"status": BackupStatus.FAILED, "snapshot_id": None}, "it has no good backup"),
        ({"missing": True}, "it has no good backup"),
        ({"status": BackupStatus.UNPROVEN}, "it has only unproven backups. `--unproven` takes"),
    ],
)
def test_an_item_without_a_good_backup_is_left_out_aloud(
    world: World, of_database: dict[str, Any] | None, reason: str
) -> None:
    others = [] if of_database is None else [backup("db", **{**DUMP, **of_database})]
    plan = planned(world, backup("a"), *others)
    assert ids(plan) == ["a"]
    (remark,) = [one for one in plan.remarks if one.startswith("database")]
    assert remark.startswith(f"database was left as it is: {reason}")


def test_an_item_that_is_younger_than_the_time_is_left_out_aloud(world: World) -> None:
    at = NOW - timedelta(hours=2)
    plan = planned(world, backup("a", **ago(3)), backup("db", **DUMP), at=at)
    assert ids(plan) == ["a"]
    told = f"database was left as it is: it has no backup at {at.isoformat()} or before"
    assert told in plan.remarks


@pytest.mark.parametrize("request_", [{"data_items": ("uploads",)}, {"backup_ids": ("a",)}])
def test_an_item_that_nobody_asked_for_is_not_missed(
    world: World, request_: dict[str, Any]
) -> None:
    assert planned(world, backup("a"), **request_).remarks == ()


@pytest.mark.parametrize(
    "bad",
    [
        {"status": BackupStatus.FAILED, "snapshot_id": None},
        {"status": BackupStatus.PARTIAL},
        {"status": BackupStatus.UNPROVEN},
        {"missing": True},
        {"damaged": True},
    ],
)
def test_a_bad_backup_is_never_the_newest(world: World, bad: dict[str, Any]) -> None:
    assert ids(planned(world, backup("good", **ago(5)), backup("bad", **bad))) == ["good"]


def test_the_newest_is_the_one_made_last_though_the_clock_was_set_back(world: World) -> None:
    backups = [backup("1_before", **ago(1)), backup("2_after", **ago(2))]
    assert ids(planned(world, *backups)) == ["2_after"]


def test_as_it_was_at_a_time(world: World) -> None:
    backups = [backup("a", **ago(9)), backup("b", **ago(5)), backup("c", **ago(1))]
    assert ids(planned(world, *backups, at=NOW - timedelta(hours=5))) == ["b"]


def test_a_time_before_the_first_backup_has_nothing_to_restore(world: World) -> None:
    with pytest.raises(Conflict, match="no good backup"):
        planned(world, backup("a"), at=NOW - timedelta(hours=5))


def test_a_node_gets_its_own_backups_before_those_of_others(world: World) -> None:
    backups = [backup("own", **ago(5)), backup("other", node="edge")]
    assert ids(planned(world, *backups)) == ["own"]


def test_a_node_that_never_ran_it_gets_the_backups_of_another(world: World) -> None:
    world.change(main_nodes=("main", "edge"))
    plan = planned(world, backup("a"), node="edge")
    assert (ids(plan), plan.nodes) == (["a"], ("edge",))
    assert "backup a of uploads was taken on main, not on edge" in plan.remarks


def test_another_nodes_backup_is_taken_aloud_where_the_own_are_too_young(world: World) -> None:
    backups = [backup("own"), backup("other", node="edge", **ago(5))]
    plan = planned(world, *backups, at=NOW - timedelta(hours=2), data_items=("uploads",))
    assert ids(plan) == ["other"]
    assert plan.remarks == ("backup other of uploads was taken on edge, not on main",)


def test_one_backup_of_another_node_is_restored_aloud(world: World) -> None:
    plan = plan_restore_backup(world.known, BackupRestoreRequest(node="edge"), backup("a"))
    assert plan.remarks == ("backup a of uploads was taken on main, not on edge",)


def test_a_partial_backup_is_restored_only_when_it_is_named(world: World) -> None:
    partial = backup("part", status=BackupStatus.PARTIAL)
    assert ids(planned(world, backup("a"), partial, backup_ids=("part",))) == ["part"]


def test_a_failed_backup_is_refused_by_name(world: World) -> None:
    with pytest.raises(Conflict, match="backup x is failed"):
        planned(world, backup("x", status=BackupStatus.FAILED), backup_ids=("x",))


def test_an_unproven_backup_is_restored_by_name_and_says_so(world: World) -> None:
    plan = planned(world, backup("x", status=BackupStatus.UNPROVEN), backup_ids=("x",))
    assert ids(plan) == ["x"]
    assert "backup x of uploads is unproven" in plan.remarks[0]


def test_a_damaged_backup_is_restored_by_name_and_says_so(world: World) -> None:
    damaged = backup("x", damaged=True, verification="./data/a differs")
    plan = planned(world, damaged, backup_ids=("x",))
    assert "was found damaged: ./data/a differs" in plan.remarks[0]


def test_unproven_backups_are_taken_where_a_person_says_so(world: World) -> None:
    adopted = backup("old", status=BackupStatus.UNPROVEN, **ago(5))
    with pytest.raises(Conflict, match="no good backup") as caught:
        planned(world, adopted)
    assert "--unproven" in str(caught.value.hint)
    assert ids(planned(world, adopted, unproven=True)) == ["old"]


def test_a_good_backup_goes_before_a_younger_unproven_one(world: World) -> None:
    younger = backup("young", status=BackupStatus.UNPROVEN)
    assert ids(planned(world, backup("good", **ago(5)), younger, unproven=True)) == ["good"]


def test_an_adopted_backup_of_which_nobody_knows_whether_it_is_whole_is_not_the_default(
    world: World,
) -> None:
    adopted = backup("x", status=BackupStatus.UNPROVEN, verified_at=NOW)
    with pytest.raises(Conflict, match="no good backup"):
        planned(world, adopted)
    plan = planned(world, adopted, data_items=("uploads",), unproven=True)
    assert ids(plan) == ["x"]
    assert "never verified" not in plan.remarks[0]


def test_a_backup_whose_snapshot_is_gone_is_refused(world: World) -> None:
    with pytest.raises(Conflict, match="not in the repository any more"):
        planned(world, backup("x", missing=True), backup_ids=("x",))


def test_unknown_backups_and_items_are_named_at_once(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        planned(world, backup("a"), backup_ids=("nope",), data_items=("uplaods",))
    assert [problem.loc[0] for problem in caught.value.problems] == ["backup_ids", "data_items"]


def test_a_backup_of_another_service_is_refused(world: World) -> None:
    with pytest.raises(Conflict, match="is of service other"):
        planned(world, backup("x", service="other"), backup_ids=("x",))


def test_two_backups_of_one_item_are_refused(world: World) -> None:
    with pytest.raises(Invalid, match="two backups of data item uploads"):
        planned(world, backup("a"), backup("b"), backup_ids=("a", "b"))


def test_named_backups_and_items_complete_each_other(world: World) -> None:
    backups = [backup("old", **ago(3)), backup("new"), backup("db", **DUMP)]
    plan = planned(world, *backups, backup_ids=("old",), data_items=("uploads", "database"))
    assert ids(plan) == ["old", "db"]


def test_files_cannot_be_imported_into_a_database(world: World) -> None:
    with pytest.raises(Conflict, match=r"database\.pgimport cannot take what files\.copy saved"):
        planned(world, backup("x", data_item="database"), backup_ids=("x",))


def test_includes_that_overlap_are_not_restored_together(world: World) -> None:
    items = [
        {
            "name": name,
            "backup": {"strategy": "files.copy", "include": [include]},
            "restore": {"strategy": "files.copy", "include": [include]},
        }
        for name, include in (("all", "./data"), ("part", "./data/part"))
    ]
    world.has({"name": "my-app", "nodes": ["main"], "data_protect": {"data": items}}, INFRA)
    with pytest.raises(Invalid, match="overlap"):
        planned(world, backup("a", data_item="all"), backup("b", data_item="part"))


def test_the_node_must_be_named_where_there_are_several(world: World) -> None:
    world.has({**MY_APP, "nodes": ["main", "edge"]}, INFRA)
    with pytest.raises(Invalid, match="name the one to restore on"):
        planned(world, backup("a"))


def test_an_unknown_node_is_answered_with_the_closest_name(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        planned(world, backup("a"), node="mian")
    assert "main" in str(caught.value.hint)


def test_a_node_without_the_repository_goes_through_one_with_it(world: World) -> None:
    assert planned(world, backup("a"), node="edge").repository.through("edge") == "main"


def test_without_a_way_to_the_repository_nothing_is_restored(world: World) -> None:
    world.change(online=())
    with pytest.raises(Conflict, match="edge reaches the repository through main"):
        planned(world, backup("a"), node="edge")


def test_a_foreign_project_is_not_restored_over(world: World) -> None:
    world.sees(main=node_state(container("my-app", "web", folder="/elsewhere")))
    with pytest.raises(Conflict, match="/elsewhere"):
        planned(world, backup("a"))


def test_without_a_repository_nothing_can_be_restored(world: World) -> None:
    world.change(repository_id=None)
    with pytest.raises(Conflict, match="no repository yet"):
        planned(world, backup("a"))


@pytest.mark.parametrize("path", ["../etc/passwd", "/etc/passwd", "a/../../b"])
def test_a_path_cannot_leave_the_backup(world: World, path: str) -> None:
    with pytest.raises(Invalid):
        planned(world, backup("a"), path=path)


def test_a_single_file_comes_from_a_single_item(world: World) -> None:
    with pytest.raises(Invalid, match="one data item"):
        planned(world, backup("a"), backup("db", **DUMP), path="files/data/uploads/a.txt")


def test_what_the_backup_left_out_travels_along(world: World) -> None:
    plan = planned(world, backup("a", exclude=("./data/uploads/temp",)))
    assert plan.items[0].wanted.exclude == ("./data/uploads/temp",)


def test_one_backup_goes_back_to_its_own_node_by_default(world: World) -> None:
    plan = plan_restore_backup(world.known, BackupRestoreRequest(), backup("a"))
    assert (ids(plan), plan.nodes, plan.to) == (["a"], ("main",), "in_place")


def test_one_failed_backup_is_refused(world: World) -> None:
    bad = backup("x", status=BackupStatus.FAILED, snapshot_id=None)
    with pytest.raises(Conflict, match="is failed"):
        plan_restore_backup(world.known, BackupRestoreRequest(), bad)


def test_a_plan_is_read_back_as_it_was_stored(world: World) -> None:
    plan = planned(world, backup("a"), to="scratch")
    assert PLANS.validate_json(plan.model_dump_json()) == plan


async def test_nothing_is_exchanged_before_it_was_fetched(world: World) -> None:
    run = MemoryRun(node)
    result = await planned(world, backup("a")).carry_out(run)
    assert [step for step, _ in run.steps] == ["open_repository", "fetch_data", "exchange_data"]
    assert result["downtime_seconds"] == 0.2
    assert "database was left as it is: it has no backup" in result["warnings"]


UPLOADS = Moved(item="uploads", include=("./data/uploads",))
DATABASE = Moved(item="database", include=("pgdata",))
SNAPSHOT_OF_NOW = Snapshot(id="cd" * 32, size=5, added=3, files=2, duration=1.0)


def a_disk_with(
    *moved: Moved, says: Callable[[ItemToSave], dict[str, Any]] | None = None, **more: Any
) -> MemoryRun:
    """A node on which these lie on a disk of their own; `says`: of what is saved of them."""

    def saved(item: ItemToSave) -> ItemSaved:
        came = {"saved": Saved(snapshot=SNAPSHOT_OF_NOW)} | (says(item) if says else {})
        return ItemSaved(
            name=item.name, backup_id=item.backup_id, started_at=NOW, duration=1.0, **came
        )

    def answers(name: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, FetchData):
            return DataFetched(size=5, files=1, by_moves=moved)
        if isinstance(operation, SaveData):
            return DataSaved(items=tuple(map(saved, operation.items)), **more)
        return node(name, operation)

    return MemoryRun(answers)


def saved_by(run: MemoryRun) -> list[list[tuple[str, Any]]]:
    asked = [one for one in run.asked if isinstance(one, SaveData)]
    return [[(item.name, item.strategy) for item in one.items] for one in asked]


async def test_promise_11_what_is_moved_piece_by_piece_is_saved_before(world: World) -> None:
    run = a_disk_with(UPLOADS)
    await planned(world, backup("a"), backup("db", **DUMP)).carry_out(run)
    assert [step for step, _ in run.steps] == [
        "open_repository", "fetch_data", "save_before", "record_backups", "exchange_data",
    ]  # fmt: skip
    (record,) = run.told["record_backups"]["backups"]
    assert (record["data_item"], record["kind"]) == ("uploads", "before_restore")
    assert saved_by(run) == [[("uploads", FilesCopy(include=("./data/uploads",)))]]


async def test_what_is_saved_is_what_is_replaced_and_not_what_the_item_saves(world: World) -> None:
    run = a_disk_with(Moved(item="uploads", include=("./elsewhere",)))
    chosen = backup("a", strategy="files.tar_after_stop", exclude=("./elsewhere/temp",))
    await planned(world, chosen).carry_out(run)
    assert saved_by(run) == [[("uploads", FilesTarAfterStop(
        strategy="files.tar_after_stop", include=("./elsewhere",), exclude=("./elsewhere/temp",)
    ))]]  # fmt: skip


async def test_a_database_is_dumped_before_and_where_it_is_dead_its_files_are_saved(
    world: World,
) -> None:
    def is_dead(item: ItemToSave) -> dict[str, Any]:
        dead = {"saved": None, "error": Failure("postgres is not running").as_told()}
        return dead if isinstance(item.strategy, PgDumpAll) else {}

    run = a_disk_with(DATABASE, says=is_dead)
    await planned(world, backup("db", **DUMP)).carry_out(run)
    files = FilesTarAfterStop(strategy="files.tar_after_stop", include=("pgdata",))
    assert saved_by(run) == [
        [("database", PgDumpAll(service="postgres"))], [("database", files)],
    ]  # fmt: skip
    (record,) = run.told["record_backups"]["backups"]
    assert (record["status"], record["strategy"]) == ("success", "files.tar_after_stop")
    assert "exchange_data" in [step for step, _ in run.steps]


async def test_one_that_runs_is_only_dumped(world: World) -> None:
    run = a_disk_with(DATABASE)
    await planned(world, backup("db", **DUMP)).carry_out(run)
    assert saved_by(run) == [[("database", PgDumpAll(service="postgres"))]]


async def test_what_cannot_be_named_and_not_be_dumped_is_told(world: World) -> None:
    run = a_disk_with(Moved(item="uploads"))
    result = await planned(world, backup("a")).carry_out(run)
    assert saved_by(run) == []
    assert any("was not saved before" in one for one in result["warnings"])


async def test_what_could_not_be_read_before_is_told_and_replaced(world: World) -> None:
    def half(item: ItemToSave) -> dict[str, Any]:
        return {"saved": Saved(snapshot=SNAPSHOT_OF_NOW, unread=("./data/uploads/torn",))}

    run = a_disk_with(UPLOADS, says=half)
    result = await planned(world, backup("a")).carry_out(run)
    assert any("./data/uploads/torn" in one for one in result["warnings"])
    assert "exchange_data" in [step for step, _ in run.steps]


async def test_a_service_that_does_not_start_again_after_it_was_saved_is_told(
    world: World,
) -> None:
    run = a_disk_with(UPLOADS, problem=Failure("web did not start again").as_told())
    result = await planned(world, backup("a")).carry_out(run)
    assert any("web did not start again" in one for one in result["warnings"])
    assert "exchange_data" in [step for step, _ in run.steps]


async def test_a_person_may_do_without_the_copy(world: World) -> None:
    run = a_disk_with(UPLOADS)
    await planned(world, backup("a"), without_safety_copy=True).carry_out(run)
    assert saved_by(run) == []
    one = BackupRestoreRequest(without_safety_copy=True)
    assert plan_restore_backup(world.known, one, backup("a")).before is None


async def test_what_could_not_be_saved_before_is_not_replaced(world: World) -> None:
    def fails(item: ItemToSave) -> dict[str, Any]:
        return {"saved": None, "error": Failure("disk full").as_told()}

    run = a_disk_with(UPLOADS, says=fails)
    with pytest.raises(PartlyDone, match="disk full") as caught:
        await planned(world, backup("a")).carry_out(run)
    assert "--without-safety-copy" in str(caught.value.hint)
    assert "exchange_data" not in [step for step, _ in run.steps]


async def test_a_restore_from_a_copy_needs_no_repository_that_takes_one(world: World) -> None:
    assert planned(world, backup("a")).before is not None
    copy = CopyState(repository_id="ef" * 32)
    world.change(offsite=(Offsite(name="s3", profile="s3"),), copies={"s3": copy})
    copied = backup("a", copies=("s3",))
    plan = plan_restore(world.known, "my-app", RestoreRequest(**{"from": "s3"}), [copied])
    assert plan.before is None


async def test_a_restore_to_scratch_touches_nothing_live(world: World) -> None:
    run = MemoryRun(node)
    result = await planned(world, backup("a"), to="scratch").carry_out(run)
    assert [step for step, _ in run.steps] == ["open_repository", "fetch_data"]
    assert result["folder"] == "/scratch"


def task(status: Status = Status.SUCCEEDED, *actions: str) -> Task:
    return Task(
        id="01T", type="restore", service="my-app", nodes=("main",), status=status,
        title="", created_by="", source="", created_at=NOW, actions=actions,
    )  # fmt: skip


async def test_a_rollback_exchanges_back(world: World) -> None:
    run = MemoryRun(node)
    plan = plan_rollback(world.known, task(), planned(world, backup("a")))
    await plan.carry_out(run)
    assert run.steps == [("exchange_back", "main")]


def test_only_a_restore_can_be_rolled_back(world: World) -> None:
    with pytest.raises(Conflict, match="has replaced no data"):
        plan_rollback(world.known, task(), plan_backup(world.known, "my-app", BackupRequest()))


def test_a_failed_restore_has_nothing_to_roll_back(world: World) -> None:
    with pytest.raises(Conflict, match="has replaced no data"):
        plan_rollback(world.known, task(Status.FAILED), planned(world, backup("a")))


def test_a_restore_that_has_not_ended_is_not_rolled_back(world: World) -> None:
    with pytest.raises(Conflict, match="only a restore that has ended"):
        plan_rollback(world.known, task(Status.RUNNING), planned(world, backup("a")))


def test_an_abandoned_restore_is_rolled_back_where_its_node_knows_of_data(world: World) -> None:
    gone = task(Status.CANCELLED, "retry", "rollback")
    assert plan_rollback(world.known, gone, planned(world, backup("a"))).of_task == gone.id
