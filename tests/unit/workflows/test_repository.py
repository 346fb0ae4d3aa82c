"""Making, checking and forgetting."""

from __future__ import annotations

from typing import Any

import pytest

from composia.controller.actions import actions_of
from composia.errors import ComposiaError, Conflict, Damaged, Failure
from composia.model.backup import BackupKind, BackupStatus
from composia.model.offsite import ReadPart
from composia.model.task import Status
from composia.operations.base import Nothing, Operation
from composia.operations.repository import (
    CheckRepository,
    CompareRepository,
    RepositoryCompared,
    RepositoryOpened,
)
from composia.workflows.plan import PartlyDone
from composia.workflows.repository import (
    CheckRequest,
    plan_check_repository,
    plan_forget_backup,
    plan_init_repository,
)
from tests.twins.office import NOW, REPOSITORY, SNAPSHOT, backup
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World


def node(name: str, operation: Operation[Any]) -> Answer:
    if operation.op == "open_repository":
        return RepositoryOpened(repository_id=REPOSITORY, made=name == "main")
    if isinstance(operation, CompareRepository):
        missing = tuple(id_ for id_ in operation.snapshot_ids if id_ != SNAPSHOT)
        return RepositoryCompared(repository_id=REPOSITORY, snapshots=1, missing=missing)
    return Nothing()


async def test_init_makes_it_once_and_shows_it_on_every_node(world: World) -> None:
    world.change(repository_id=None, main_nodes=("main", "edge"))
    run = MemoryRun(node)
    result = await plan_init_repository(world.known).carry_out(run)
    assert result == {"repository_id": REPOSITORY, "made": True}
    assert run.steps[:2] == [("open_repository", "main"), ("open_repository", "edge")]
    assert run.told["remember_repository"] == {"repository_id": REPOSITORY}


def test_a_backup_to_forget_is_judged_anew_each_time(world: World) -> None:
    plan = plan_forget_backup(world.known, backup("a"), [backup("a")])
    assert actions_of(Status.FAILED, plan, None, cancel_asked=False, waiting=False) == ()


def test_init_has_the_repository_alone(world: World) -> None:
    assert [hold.shared for hold in plan_init_repository(world.known).holds] == [False]


async def test_a_check_reads_the_data_when_asked(world: World) -> None:
    run = MemoryRun(node)
    await plan_check_repository(world.known, CheckRequest(read_data=True)).carry_out(run)
    assert [one.read_data for one in run.asked if isinstance(one, CheckRepository)] == [True]


async def test_a_check_reads_the_next_part_and_remembers_it_once_it_is_whole(world: World) -> None:
    world.change(read_part=ReadPart(number=2, of=4))
    run = MemoryRun(node)
    result = await plan_check_repository(world.known, CheckRequest(parts=9)).carry_out(run)
    assert [str(one.part) for one in run.asked if isinstance(one, CheckRepository)] == ["3/4"]
    assert run.told["note_read_part"] == {"number": 3, "of": 4, "damaged": False}
    assert result["read"] == "3/4"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Damaged("a bad pack"), {"number": 1, "of": 9, "damaged": True}),
        (Failure("the node is gone"), None),
    ],
    ids=["damaged", "not read"],
)
async def test_a_damaged_part_fails_and_the_next_check_reads_the_next_one(
    world: World, error: Failure, told: dict[str, object] | None
) -> None:
    def fails(name: str, operation: Operation[Any]) -> Answer:
        return error if isinstance(operation, CheckRepository) else node(name, operation)

    run = MemoryRun(fails)
    with pytest.raises(ComposiaError, match=error.message) as caught:
        await plan_check_repository(world.known, CheckRequest(parts=9)).carry_out(run)
    assert run.told.get("note_read_part") == told
    if isinstance(caught.value, PartlyDone):
        assert caught.value.result["damaged"]
        assert caught.value.result["read"] == "1/9"


async def test_a_check_that_finds_damage_fails(world: World) -> None:
    run = MemoryRun(lambda name, operation: Failure("pack is damaged"))
    with pytest.raises(Failure, match="damaged"):
        await plan_check_repository(world.known, CheckRequest()).carry_out(run)


async def test_a_check_notes_what_is_missing_and_fails(world: World) -> None:
    run = MemoryRun(node)
    run.controlled["known_snapshots"] = {"01A": SNAPSHOT, "01B": "6" * 64}
    with pytest.raises(PartlyDone, match="no snapshot of 01B") as caught:
        await plan_check_repository(world.known, CheckRequest()).carry_out(run)
    assert run.told["note_missing"] == {"looked_for": ["01A", "01B"], "missing": ["01B"]}
    assert caught.value.result["missing"] == ["01B"]
    assert "--drop-missing" in str(caught.value.hint)


async def test_a_check_is_done_on_a_node_that_answers(world: World) -> None:
    world.change(main_nodes=("main", "edge"), online={"edge"})
    assert plan_check_repository(world.known, CheckRequest()).nodes == ("edge",)


def test_without_a_repository_there_is_nothing_to_check(world: World) -> None:
    with pytest.raises(Conflict, match="no repository yet") as caught:
        plan_check_repository(world.change(repository_id=None), CheckRequest())

    # A controller whose database is lost asks this too: it is not to make a second one.
    assert "repo adopt" in str(caught.value.hint).partition("repo init")[0]


async def test_the_snapshot_is_forgotten_before_the_record(world: World) -> None:
    run = MemoryRun(node)
    await plan_forget_backup(world.known, backup("a"), [backup("a")]).carry_out(run)
    assert run.steps == [
        ("begin_forgetting", None), ("forget_snapshot", "main"), ("forget_backups", None),
    ]  # fmt: skip


async def test_a_record_without_a_snapshot_needs_no_node(world: World) -> None:
    run = MemoryRun(node)
    failed = backup("a", snapshot_id=None)
    await plan_forget_backup(world.known, failed, [failed]).carry_out(run)
    assert run.steps == [("forget_backups", None)]


def test_the_last_verified_backup_is_never_forgotten(world: World) -> None:
    verified = backup("a", verified_at=NOW)
    with pytest.raises(Conflict, match="last verified"):
        plan_forget_backup(world.known, verified, [verified, backup("b")])


def test_a_copy_of_what_was_replaced_makes_the_last_verified_one_no_more_dispensable(
    world: World,
) -> None:
    copy = backup("01C", kind=BackupKind.BEFORE_RESTORE, verified_at=NOW)
    verified = backup("01B", verified_at=NOW)
    with pytest.raises(Conflict, match="the last verified one"):
        plan_forget_backup(world.known, verified, [verified, copy])
    assert plan_forget_backup(world.known, copy, [verified, copy])


def test_a_younger_partial_one_does_not_make_the_last_verified_one_go(world: World) -> None:
    whole = backup("a", verified_at=NOW)
    partial = backup("b", verified_at=NOW, status=BackupStatus.PARTIAL)
    with pytest.raises(Conflict, match="last verified"):
        plan_forget_backup(world.known, whole, [whole, partial])
    assert plan_forget_backup(world.known, partial, [whole, partial]).backup == partial


def test_a_verified_backup_with_a_younger_one_may_go(world: World) -> None:
    verified = [backup("a", verified_at=NOW), backup("b", verified_at=NOW)]
    assert plan_forget_backup(world.known, verified[0], verified).backup.id == "a"
