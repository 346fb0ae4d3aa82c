"""Verification: what is due, on which node it is done, and what its outcome says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from composia.errors import ComposiaError, Conflict, Damaged, Failure, NodeLost
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.operations.base import Operation
from composia.operations.repository import OpenRepository, RepositoryOpened
from composia.operations.verifying import BackupProven, VerifyDump, VerifyFiles
from composia.workflows import PLANS
from composia.workflows.verify import due, plan_verify, plan_verify_backup
from tests.twins.office import INFRA, NOW, REPOSITORY, backup, container, node_state
from tests.twins.run import Answer, MemoryRun, Node
from tests.unit.workflows.conftest import World

DUMP: dict[str, Any] = {"data_item": "database", "strategy": "database.pgdumpall"}
PROVEN = BackupProven(text="restored 1 file (5 bytes), all equal", size=5, files=1)


def answering(outcome: Answer) -> Node:
    def node(name: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, OpenRepository):
            return RepositoryOpened(repository_id=REPOSITORY, made=False)
        return outcome

    return node


def ago(hours: int) -> dict[str, Any]:
    return {"time": NOW - timedelta(hours=hours)}


async def test_what_was_found_is_noted_on_the_record(world: World) -> None:
    plan = plan_verify_backup(world.known, backup())
    run = MemoryRun(answering(PROVEN))

    result = await plan.carry_out(run)

    assert (result["backup_id"], result["files"]) == ("01B1", 1)
    assert run.told["note_verification"]["proven"] is True
    assert run.told["note_verification"]["text"] == PROVEN.text
    assert str(plan) == "Verify backup 01B1 of uploads of my-app"
    assert PLANS.validate_json(plan.model_dump_json()) == plan


@pytest.mark.parametrize(
    ("error", "proven", "text"),
    [
        (Damaged("2 paths differ"), False, "2 paths differ"),
        (Failure("rustic was killed"), None, "could not be verified: rustic was killed"),
        (Conflict("not enough room"), None, "could not be verified: not enough room"),
        (NodeLost("main is gone"), None, "could not be verified: main is gone"),
    ],
)
async def test_only_what_says_something_of_the_backup_takes_its_proof_away(
    world: World, error: ComposiaError, proven: bool | None, text: str
) -> None:
    run = MemoryRun(answering(error))

    with pytest.raises(type(error)):
        await plan_verify_backup(world.known, backup()).carry_out(run)

    assert run.told["note_verification"] == {
        "backup_id": "01B1", "text": text, "proven": proven,
    }  # fmt: skip


async def test_a_dump_is_imported_on_a_node_that_has_the_service(world: World) -> None:
    plan = plan_verify_backup(world.known, backup(**DUMP))
    run = MemoryRun(answering(PROVEN))

    await plan.carry_out(run)

    (operation,) = [one for one in run.asked if isinstance(one, VerifyDump)]
    assert (plan.node, operation.compose_service) == ("main", "postgres")
    assert "my-app@main" in {hold.name for hold in plan.holds}


async def test_files_need_neither_the_service_nor_its_node(world: World) -> None:
    world.has(INFRA)
    world.change(online={"main"})
    plan = plan_verify_backup(world.known, backup(node="edge"))
    run = MemoryRun(answering(PROVEN))

    await plan.carry_out(run)

    assert isinstance(run.asked[-1], VerifyFiles)
    assert (plan.node, plan.service_name) == ("main", "my-app")
    assert [hold.name for hold in plan.holds] == ["repository"]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": BackupStatus.FAILED, "snapshot_id": None},
        {"missing": True},
    ],
)
def test_what_is_not_there_cannot_be_verified(world: World, fields: dict[str, Any]) -> None:
    with pytest.raises(Conflict):
        plan_verify_backup(world.known, backup(**fields))


def test_a_dump_of_a_service_that_no_node_has_says_where_it_could_be(world: World) -> None:
    world.change(online={"edge"})
    with pytest.raises(Conflict, match="no node that my-app was deployed on is online") as caught:
        plan_verify_backup(world.known, backup(**DUMP))
    assert "main" in str(caught.value.hint)


def test_a_dump_whose_item_is_gone_from_the_catalog_is_refused(world: World) -> None:
    with pytest.raises(Conflict, match="which database other is of"):
        plan_verify_backup(world.known, backup(**{**DUMP, "data_item": "other"}))


def test_the_newest_good_one_of_each_item_is_due_unless_it_is_proven() -> None:
    records = [
        backup("01A", **ago(9)),
        backup("01B", **ago(8)),
        backup("01C", status=BackupStatus.PARTIAL, **ago(7)),
        backup("01D", missing=True, **ago(6)),
        backup("01E", data_item="cache", verified_at=NOW, **ago(5)),
        backup("01G", node="third", damaged=True, **ago(4)),
        backup("01F", node="edge", status=BackupStatus.UNPROVEN, **ago(4)),
        backup("01H", kind=BackupKind.BEFORE_RESTORE, **ago(3)),
        backup("01I", kind=BackupKind.BEFORE_RESTORE, status=BackupStatus.UNPROVEN, **ago(2)),
    ]
    assert [one.id for one in due(records)] == ["01B", "01F"]


def test_the_item_whose_last_proof_is_oldest_comes_first() -> None:
    day = timedelta(days=1)
    records = [
        backup("01A", verified_at=NOW - day, **ago(9)),
        backup("01B", **ago(8)),
        backup("01C", data_item="cache", verified_at=NOW - 2 * day, **ago(9)),
        backup("01D", data_item="cache", **ago(8)),
        backup("01E", data_item="new", **ago(8)),
    ]
    assert [one.id for one in due(records)] == ["01E", "01D", "01B"]


def test_what_was_tried_in_vain_keeps_no_other_from_its_proof(world: World) -> None:
    records = [backup(f"01{name}", data_item=name) for name in "abcd"]
    tried = {"my-app/a@main": NOW, "my-app/b@main": NOW - timedelta(days=7)}

    found = plan_verify(world.known, records, tried=tried, limit=3)

    assert [one.wanted.item for one in found.plans] == ["c", "d", "b"]


async def test_a_repository_that_does_not_open_counts_as_a_try(world: World) -> None:
    run = MemoryRun(lambda name, operation: Failure("no way to the repository"))

    with pytest.raises(Failure):
        await plan_verify_backup(world.known, backup()).carry_out(run)

    assert run.told["note_verification"]["proven"] is None


def test_a_run_of_the_schedule_proves_a_few_and_leaves_what_cannot_be_asked_now(
    world: World,
) -> None:
    world.change(online={"main"})
    world.sees(edge=node_state(container("my-app", "web")))
    records: list[Backup] = [
        backup("01A", **DUMP),
        backup("01B", data_item="gone", strategy="database.pgdumpall"),
        backup("01C"),
        backup("01D", data_item="cache"),
    ]
    found = plan_verify(world.known, records, limit=2)
    assert [one.wanted.backup_id for one in found.plans] == ["01A", "01C"]
    assert (found.left, found.without) == (None, None)


def test_what_cannot_be_asked_now_is_left_over_with_its_reason(world: World) -> None:
    world.change(online=set())
    records = [backup("01A", **DUMP), backup("01C"), backup("01D", service="gone", **DUMP)]

    found = plan_verify(world.known, records)

    assert (found.plans, found.without) == ((), None)
    assert "database of my-app on main is not proven" in str(found.left)
    assert str(found.left).endswith("and 1 more")


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "never seen"])
def test_a_dump_of_a_service_that_no_node_has_is_named_and_not_waited_for(
    world: World, *, seen: bool
) -> None:
    world.sees(main=node_state(), edge=node_state() if seen else None)
    records = [backup("01A", **DUMP), backup("01C")]

    found = plan_verify(world.known, records)

    assert [one.wanted.backup_id for one in found.plans] == ["01C"]
    words = "database of my-app on main cannot be proven until my-app is deployed"
    assert found.without == (words if seen else None)
    assert (found.left is None) is seen


def test_an_item_that_the_run_has_a_task_for_is_not_proven_twice(world: World) -> None:
    records = [backup("01A", verified_at=NOW), backup("01B"), backup("01C", data_item="cache")]

    found = plan_verify(world.known, records, begun={"01A"}, limit=2)

    assert ([one.wanted.backup_id for one in found.plans], found.left) == (["01C"], None)
