"""Backing up: what is planned, and what the records say afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from composia.errors import Cancelled, Conflict, Failure, NotFound, Told
from composia.model.backup import BackupKind
from composia.model.task import OpenMove
from composia.operations.backup import SaveData
from composia.operations.base import Operation
from composia.operations.repository import RepositoryOpened
from composia.workflows.backup import BackupPlan, BackupRequest, backup_id, plan_backup
from composia.workflows.plan import PartlyCancelled, PartlyDone
from tests.twins.office import INFRA, MY_APP, REPOSITORY, SNAPSHOT, container, node_state
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World
from tests.unit.workflows.saving import node, saved

ALL = BackupRequest()
TWICE = {**MY_APP, "nodes": ["main", "edge"]}


def records(run: MemoryRun) -> dict[str, dict[str, Any]]:
    return {record["data_item"]: record for record in run.told["record_backups"]["backups"]}


def planned(world: World, request: BackupRequest = ALL) -> BackupPlan:
    return plan_backup(world.known, "my-app", request)


def test_all_items_under_backup_are_saved_by_default(world: World) -> None:
    assert str(planned(world)) == "Back up uploads, database of my-app on main"


def test_backups_share_the_repository_and_hold_the_service(world: World) -> None:
    holds = {hold.name: hold.shared for hold in planned(world).holds}
    assert holds == {"my-app@main": False, "repository": True}


def test_the_backup_that_makes_the_repository_has_it_alone(world: World) -> None:
    world.change(repository_id=None)
    assert {hold.name: hold.shared for hold in planned(world).holds}["repository"] is False


def test_everything_wrong_with_a_request_is_named_at_once(world: World) -> None:
    request = BackupRequest(data_items=("uplaods", "legacy"), nodes=("nowhere",))
    with pytest.raises(NotFound) as caught:
        planned(world, request)
    text = caught.value.message
    assert all(name in text for name in ("uplaods", "legacy", "nowhere"))
    assert "uploads" in str(caught.value.hint)


def test_an_item_that_cannot_be_saved_says_what_it_needs(world: World) -> None:
    with pytest.raises(Conflict, match="legacy has no way to be saved"):
        planned(world, BackupRequest(data_items=("legacy",)))


def test_while_a_move_is_open_the_active_instance_is_saved(world: World) -> None:
    world.has(TWICE, INFRA)
    away = OpenMove(task="01MOVE", service="my-app", source="main", target="cellar")
    world.sees(cellar=node_state())
    world.change(moves={"my-app": away})
    assert planned(world).on == ("cellar", "edge")
    with pytest.raises(Conflict, match="runs on cellar: task 01MOVE has moved it away from main"):
        planned(world, BackupRequest(nodes=("main",)))


async def test_a_node_without_the_repository_goes_through_one_with_it(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]}, INFRA)
    run = MemoryRun(node())

    await planned(world).carry_out(run)

    assert run.steps[:3] == [
        ("open_repository", "main"), ("open_repository", "edge"), ("save_data", "edge"),
    ]  # fmt: skip
    asked = run.asked[1].repository
    assert asked is not None
    assert (asked.through("edge"), asked.through("main")) == ("main", None)
    assert {record["node"] for record in records(run).values()} == {"edge"}


async def test_the_repository_is_made_on_the_node_that_holds_it(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]}, INFRA)
    world.change(repository_id=None)
    run = MemoryRun(node(made=True))

    await planned(world).carry_out(run)

    ids = [one.repository.repository_id for one in run.asked[:2] if one.repository]
    assert ids == [None, REPOSITORY]
    assert run.told["remember_repository"] == {"repository_id": REPOSITORY}


async def test_a_way_that_does_not_open_fails_the_node_behind_it(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]}, INFRA)
    run = MemoryRun(lambda node, operation: Failure("the disk is not mounted"))

    with pytest.raises(PartlyDone, match="the disk is not mounted"):
        await planned(world).carry_out(run)

    assert [step for step, _ in run.steps].count("open_repository") == 1


def test_it_goes_through_a_node_that_is_online(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]}, INFRA)
    world.sees(third=node_state())
    world.change(main_nodes=("main", "third"), online={"third", "edge"})

    assert planned(world).repository.through("edge") == "third"


def test_while_no_node_with_the_repository_is_online_it_says_so(world: World) -> None:
    world.has(TWICE, INFRA)
    world.change(online={"edge"})

    with pytest.raises(Conflict, match="edge reaches the repository through main") as caught:
        planned(world)

    assert "agent" in str(caught.value.hint)


def test_a_node_without_any_that_holds_the_repository_says_so(world: World) -> None:
    world.has(TWICE, {**INFRA, "nodes": []})
    world.change(main_nodes=())

    with pytest.raises(Conflict, match="no node holds the repository") as caught:
        planned(world)

    assert "main_nodes" in str(caught.value.hint)


def test_a_remote_repository_is_used_directly(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]}, INFRA)
    catalog = world.known.catalog.model_copy(update={"remote_repository": True})
    world.change(catalog=catalog, online={"edge"})

    assert planned(world).repository.through("edge") is None


def test_the_nodes_of_the_rustic_service_hold_the_repository_by_default(world: World) -> None:
    world.change(main_nodes=())
    assert planned(world).nodes == ("main",)


def test_a_catalog_without_rustic_says_what_to_add(world: World) -> None:
    world.has(MY_APP)
    with pytest.raises(Conflict) as caught:
        planned(world)
    assert "infra" in str(caught.value.hint)


def test_a_service_without_items_has_nothing_to_back_up(world: World) -> None:
    world.has({"name": "my-app", "nodes": ["main"]}, INFRA)
    with pytest.raises(Conflict, match="nothing to back up"):
        planned(world)


def test_a_foreign_project_is_not_backed_up(world: World) -> None:
    world.sees(main=node_state(container("my-app", "web", folder="/elsewhere")))
    with pytest.raises(Conflict, match="/elsewhere"):
        planned(world)


async def test_a_snapshot_is_marked_with_what_its_record_alone_would_know(world: World) -> None:
    plan = planned(world)
    first, second = plan.items
    live = first.model_copy(update={"taken_live": True})
    plan = plan.model_copy(update={"kind": BackupKind.MIGRATION, "items": (live, second)})
    run = MemoryRun(node())
    await plan.carry_out(run)
    [saving] = [one for one in run.asked if isinstance(one, SaveData)]
    ids = [one.backup_id for one in saving.items]
    assert [one.marks for one in saving.items] == [
        ("kind=migration", f"record={ids[0]}", "taken=live"),
        ("kind=migration", f"record={ids[1]}"),
    ]


async def test_a_good_backup_is_recorded_as_the_node_told_it(world: World) -> None:
    run = MemoryRun(node())
    result = await planned(world).carry_out(run)
    uploads = records(run)["uploads"]
    assert result == {"backup_ids": [record["id"] for record in records(run).values()]}
    assert (uploads["status"], uploads["snapshot_id"]) == ("success", SNAPSHOT)
    assert (uploads["size"], uploads["added"], uploads["files"]) == (5, 3, 2)
    assert (uploads["duration"], uploads["kind"]) == (1.5, "manual")
    assert uploads["exclude"] == ["./data/uploads/temp"]


async def test_the_first_backup_remembers_the_repository(world: World) -> None:
    world.change(repository_id=None)
    run = MemoryRun(node(made=True))
    await planned(world).carry_out(run)
    assert run.told["remember_repository"] == {"repository_id": REPOSITORY}
    save = next(one for one in run.asked if isinstance(one, SaveData))
    assert save.repository is not None
    assert save.repository.repository_id == REPOSITORY


async def test_two_nodes_never_make_the_repository_side_by_side(world: World) -> None:
    world.has(TWICE, INFRA)
    world.change(repository_id=None, main_nodes=("main", "edge"))
    run = MemoryRun(node(made=True))
    await planned(world).carry_out(run)
    ids = [one.repository.repository_id for one in run.asked[:2] if one.repository]
    assert ids == [None, REPOSITORY]


async def test_a_failed_item_fails_the_task_and_is_recorded(world: World) -> None:
    told = Told(kind="Failure", message="the dump ended early", hint="Look at its log.")
    run = MemoryRun(node(lambda name: told if name == "database" else saved()))
    with pytest.raises(PartlyDone, match="database on main: failed: the dump") as caught:
        await planned(world).carry_out(run)
    assert caught.value.hint == "Look at its log."
    assert len(caught.value.result["backup_ids"]) == 2
    assert records(run)["database"]["status"] == "failed"
    assert records(run)["database"]["snapshot_id"] is None
    assert records(run)["uploads"]["status"] == "success"


async def test_a_service_that_stays_down_fails_the_task_that_has_saved_all(world: World) -> None:
    down = Told(kind="failure", message="my-app was stopped, and does not start")
    run = MemoryRun(node(problem=down))
    with pytest.raises(PartlyDone, match="main: my-app was stopped") as caught:
        await planned(world).carry_out(run)
    assert {record["status"] for record in records(run).values()} == {"success"}
    assert caught.value.result["problems"] == {"main": down.message}


async def test_a_partial_backup_names_the_paths_and_fails_the_task(world: World) -> None:
    run = MemoryRun(node(lambda name: saved(unread=("./data/uploads/secret",))))
    with pytest.raises(PartlyDone, match=r"partial: could not be read: \./data") as caught:
        await planned(world).carry_out(run)
    assert "back up again" in str(caught.value.hint)
    assert records(run)["uploads"]["status"] == "partial"


async def test_many_unread_paths_are_counted_in_the_error_and_kept_in_the_record(
    world: World,
) -> None:
    unread = tuple(f"./data/{number}" for number in range(9))
    run = MemoryRun(node(lambda name: saved(unread=unread)))
    with pytest.raises(PartlyDone, match="and 4 more"):
        await planned(world).carry_out(run)
    assert len(records(run)["uploads"]["warnings"]) == 9


async def test_a_safety_copy_with_nothing_in_it_is_no_whole_backup(world: World) -> None:
    found = saved().model_copy(update={"empty": ("./data/uploads",)})
    run = MemoryRun(node(lambda name: found))
    plan = planned(world).model_copy(update={"kind": BackupKind.MIGRATION})
    await plan.carry_out(run)
    record = records(run)["uploads"]
    assert record["status"] == "partial"
    assert record["error"] == "there was nothing in ./data/uploads"


async def test_each_attempt_has_records_of_its_own_and_spares_those_of_the_earlier_ones(
    world: World,
) -> None:
    run = MemoryRun(node(lambda name: saved()))
    run.attempt = 3
    run.controlled |= {"saved_by": ["aa" * 32, "bb" * 32], "new_stamp": "01KZZZZZZZ"}
    await planned(world).carry_out(run)
    (save,) = [one for one in run.asked if isinstance(one, SaveData)]
    assert run.told["saved_by"] == {"task": run.task}
    assert save.spared == ("aa" * 32, "bb" * 32)
    own = backup_id(run.task, "uploads", "main", 3, "01KZZZZZZZ")
    assert records(run)["uploads"]["id"] == save.items[0].backup_id == own
    earlier = {backup_id(run.task, "uploads", "main", attempt)[10:] for attempt in (1, 2)}
    assert own[10:] not in earlier
    # It comes after whatever was saved between the attempts.
    assert own.startswith("01KZZZZZZZ")


async def test_what_is_not_named_any_more_is_counted(world: World) -> None:
    found = saved(unread=("./a", "./b"), changed=("./c",))
    found = found.model_copy(update={"more_unread": 400_000, "more_changed": 7})
    run = MemoryRun(node(lambda name: found))
    with pytest.raises(PartlyDone, match="and 400000 more"):
        await planned(world).carry_out(run)
    assert records(run)["uploads"]["warnings"] == [
        "could not be read: ./a",
        "could not be read: ./b",
        "could not be read: 400,000 more, which are not named here",
        "changed while it was read: ./c",
        "changed while it was read: 7 more, which are not named here",
    ]


async def test_files_that_changed_are_warnings_of_a_good_backup(world: World) -> None:
    run = MemoryRun(node(lambda name: saved(changed=("./data/uploads/log",))))
    await planned(world).carry_out(run)
    record = records(run)["uploads"]
    assert record["warnings"] == ["changed while it was read: ./data/uploads/log"]
    assert (record["status"], record["changed"]) == ("success", ["./data/uploads/log"])


async def test_a_repository_that_does_not_open_is_a_failed_record_of_every_item(
    world: World,
) -> None:
    run = MemoryRun(lambda node, operation: Failure("wrong password"))
    with pytest.raises(PartlyDone, match="wrong password"):
        await planned(world).carry_out(run)
    assert {record["error"] for record in records(run).values()} == {"wrong password"}
    assert not any(isinstance(one, SaveData) for one in run.asked)


async def test_a_cancelled_backup_is_recorded_and_stays_cancelled(world: World) -> None:
    def answer(name: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, SaveData):
            return Cancelled("cancelled")
        return RepositoryOpened(repository_id=REPOSITORY, made=False)

    run = MemoryRun(answer)
    with pytest.raises(Cancelled) as caught:
        await planned(world).carry_out(run)
    assert caught.value.__class__ is Cancelled
    assert records(run)["uploads"]["status"] == "failed"


async def test_a_cancelled_backup_names_what_was_saved_and_what_is_wrong(world: World) -> None:
    """The service may be down on the node that had ended."""
    saves = node(problem=Told(kind="Failure", message="my-app was not started again"))

    def answer(name: str, operation: Operation[Any]) -> Answer:
        if name == "edge" and isinstance(operation, SaveData):
            return Cancelled("cancelled")
        return saves(name, operation)

    world.has({**MY_APP, "nodes": ["main", "edge"]}, INFRA)
    run = MemoryRun(answer)
    with pytest.raises(PartlyCancelled, match="cancelled") as caught:
        await planned(world).carry_out(run)
    assert caught.value.result == {
        "backup_ids": [one["id"] for one in run.told["record_backups"]["backups"]],
        "problems": {"main": "my-app was not started again"},
    }


def test_a_record_has_the_same_id_however_often_it_is_made() -> None:
    assert backup_id("01J", "uploads", "main") == backup_id("01J", "uploads", "main")
    assert backup_id("01J", "uploads", "main") != backup_id("01J", "uploads", "edge")
