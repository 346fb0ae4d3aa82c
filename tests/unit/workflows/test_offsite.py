"""Copies off site: each place by itself, only its own listing counts, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

from composia.errors import ComposiaError, Conflict, Damaged, Failure, NotFound, told
from composia.model.config import Offsite
from composia.model.offsite import CopyState
from composia.operations.base import Operation
from composia.operations.offsite import CopySnapshots, SnapshotsCopied
from composia.workflows import PLANS
from composia.workflows.offsite import CopyRequest, plan_copy
from composia.workflows.plan import PartlyDone
from composia.workflows.restore import (
    BackupRestoreRequest,
    RestoreRequest,
    plan_restore,
    plan_restore_backup,
)
from tests.twins.office import SNAPSHOT, backup
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World

COPY_ID = "c" * 64


@pytest.fixture
def off(world: World) -> World:
    """Two places, of which one has been copied to."""
    world.change(
        offsite=(Offsite(name="s3", profile="offsite-s3"), Offsite(name="b2", profile="b2")),
        copies={"s3": CopyState(repository_id=COPY_ID)},
        online={"main", "edge"},
    )
    return world


def copied(name: str, operation: Operation[Any]) -> Answer:
    assert isinstance(operation, CopySnapshots)
    if operation.offsite.copy_name == "b2":
        return Failure("the repository cannot be reached", hint="Is its server running?")
    return SnapshotsCopied(
        repository_id=COPY_ID, made=False, copied=1, already_there=2, there=(SNAPSHOT,)
    )


async def test_one_place_that_fails_keeps_no_other_from_its_copies(off: World) -> None:
    plan = plan_copy(off.known, CopyRequest())
    run = MemoryRun(copied)

    with pytest.raises(PartlyDone, match="b2: the repository cannot be reached") as caught:
        await plan.carry_out(run)

    assert [one["name"] for one in caught.value.result["copies"]] == ["s3"]
    assert run.told["note_copy"]["problem"] == "the repository cannot be reached"
    assert [step for step, _ in run.steps] == [
        "copy_to_s3", "note_copy_s3", "copy_to_b2", "note_copy_b2",
    ]  # fmt: skip
    assert PLANS.validate_json(plan.model_dump_json()) == plan


async def test_what_the_copy_does_not_list_is_missing_whatever_rustic_said(off: World) -> None:
    done = SnapshotsCopied(
        repository_id=COPY_ID, made=False, copied=0, already_there=2, missing=(SNAPSHOT,), there=()
    )
    run = MemoryRun(lambda name, operation: done)

    with pytest.raises(PartlyDone, match=f"1 snapshots are not there .{SNAPSHOT[:12]}"):
        await plan_copy(off.known, CopyRequest(names=("s3",))).carry_out(run)

    assert run.told["note_copy"]["there"] == []
    assert "not there" in run.told["note_copy"]["problem"]


@pytest.mark.parametrize(
    ("fault", "said", "hint"),
    [
        (Damaged("2 packs are missing"), "not sound: 2 packs are missing", "repair index"),
        (Failure("no answer", hint="Is it up?"), "seen to be sound: no answer", "Is it up"),
    ],
    ids=["damaged", "not looked at"],
)
async def test_a_copy_that_lists_all_and_is_not_sound_is_not_complete(
    off: World, fault: ComposiaError, said: str, hint: str
) -> None:
    done = SnapshotsCopied(
        repository_id=COPY_ID,
        made=False,
        copied=0,
        already_there=1,
        there=(SNAPSHOT,),
        fault=told(fault),
    )
    run = MemoryRun(lambda name, operation: done)

    with pytest.raises(PartlyDone, match=said) as caught:
        await plan_copy(off.known, CopyRequest(names=("s3",))).carry_out(run)

    assert run.told["note_copy"]["there"] == [SNAPSHOT]
    assert said in run.told["note_copy"]["problem"]
    assert hint in str(caught.value.hint)
    assert caught.value.result["copies"][0]["fault"]["message"] == fault.message


def test_backups_go_on_beside_a_copy_and_no_second_copy_to_the_same_place(off: World) -> None:
    holds = plan_copy(off.known, CopyRequest(names=("s3",))).holds
    assert [(hold.name, hold.shared) for hold in holds] == [
        ("copy s3", False), ("repository", True),
    ]  # fmt: skip


def test_a_place_that_is_not_configured_is_named(off: World) -> None:
    with pytest.raises(NotFound, match="no copy off site `s4`") as caught:
        plan_copy(off.known, CopyRequest(names=("s4",)))
    assert "s3" in str(caught.value.hint)


def test_without_any_place_the_next_step_is_told(world: World) -> None:
    with pytest.raises(Conflict, match="no copy off site is configured") as caught:
        plan_copy(world.known, CopyRequest())
    assert "controller.offsite" in str(caught.value.hint)


def test_a_restore_from_a_copy_takes_what_is_there_though_it_is_missing_here(off: World) -> None:
    records = [
        backup("01A", copies=("s3",), missing=True),
        backup("01B"),
    ]
    plan = plan_restore(
        off.known, "my-app", RestoreRequest(data_items=("uploads",), source="s3"), records
    )

    assert [item.wanted.backup_id for item in plan.items] == ["01A"]
    assert plan.repository.profile == "offsite-s3"
    assert plan.repository.repository_id == COPY_ID
    assert (plan.repository.main_nodes, plan.repository.through("main")) == ((), None)
    assert str(plan).endswith("from s3")


def test_a_backup_that_a_copy_does_not_have_is_refused_with_those_that_do(off: World) -> None:
    wanted = BackupRestoreRequest(source="s3")
    with pytest.raises(Conflict, match="01B1 is not known to be in s3") as caught:
        plan_restore_backup(off.known, wanted, backup(copies=("b2",)))
    assert caught.value.hint == "It is in b2."


def test_a_copy_that_was_never_made_cannot_be_restored_from(off: World) -> None:
    with pytest.raises(Conflict, match="nothing was ever copied to b2"):
        plan_restore_backup(off.known, BackupRestoreRequest(source="b2"), backup(copies=("b2",)))


def test_a_node_without_the_repository_has_no_way_to_its_copies(off: World) -> None:
    wanted = BackupRestoreRequest(source="s3", node="edge")
    with pytest.raises(Conflict, match="no way to its copies") as caught:
        plan_restore_backup(off.known, wanted, backup(copies=("s3",)))
    assert "main_nodes" in str(caught.value.hint)
