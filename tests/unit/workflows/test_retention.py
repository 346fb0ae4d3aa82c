"""Forgetting: what is judged, what goes, and what keeps a task from going on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from composia.errors import ComposiaError, Conflict, Failure, NotFound
from composia.model.backup import Backup, BackupStatus
from composia.model.meta import Keep
from composia.model.retention import states_of
from composia.operations.base import Operation
from composia.operations.repository import CompareRepository, RepositoryCompared
from composia.operations.tidying import ForgetSnapshots, SnapshotsForgotten
from composia.workflows.plan import PartlyDone
from composia.workflows.retention import ForgetPlan, ForgetRequest, plan_forget
from tests.twins.office import INFRA, MY_APP, NOW, REPOSITORY, backup
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World

LAST = Keep(last=1)


def saved(id_: str, days_ago: float = 0, **fields: Any) -> Backup:
    time = NOW - timedelta(days=days_ago)
    return backup(id_, **{"snapshot_id": _hex(id_), "time": time, "task_id": f"T{id_}"} | fields)


def _hex(id_: str) -> str:
    return id_.encode().hex().ljust(64, "0")


OLD, NEW = saved("b_old", 5), saved("c_new", 1)


def planned(world: World, *backups: Backup, **request: Any) -> ForgetPlan:
    world.change(keep=world.known.keep or LAST)
    return plan_forget(world.known, ForgetRequest(**request), backups, NOW)


def going(plan: ForgetPlan) -> list[str]:
    return [one.backup_id for item in plan.items for one in item.backups if not one.keeps]


def reasons(plan: ForgetPlan) -> set[str]:
    return {why for item in plan.items for one in item.backups for why in one.why}


class Repository:
    """The node with the repository: what it lists, and what it does when asked to forget."""

    def __init__(self, *backups: Backup) -> None:
        self.ids = {one.snapshot_id for one in backups if one.snapshot_id}
        self.error: ComposiaError | None = None

    def __call__(self, node: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, CompareRepository):
            missing = tuple(id_ for id_ in operation.snapshot_ids if id_ not in self.ids)
            return self.error or RepositoryCompared(
                repository_id=REPOSITORY, snapshots=len(self.ids), missing=missing
            )
        assert isinstance(operation, ForgetSnapshots)
        gone = tuple(one.snapshot_id for one in operation.snapshots)
        return SnapshotsForgotten(gone=gone, left=len(self.ids) - len(gone))


def a_run(*records: Backup, node: Any = None) -> MemoryRun:
    run = MemoryRun(node or Repository(*records))
    run.controlled["known_snapshots"] = {
        one.id: one.snapshot_id for one in records if one.snapshot_id
    }
    run.controlled["backup_states"] = states_of(records)
    return run


def asked_to_forget(run: MemoryRun) -> list[str]:
    return [
        one.snapshot_id
        for operation in run.asked
        if isinstance(operation, ForgetSnapshots)
        for one in operation.snapshots
    ]


# What is judged.


def test_each_item_and_node_is_judged_by_itself(world: World) -> None:
    others = [saved("database", 400, data_item="database"), saved("edge", 400, node="edge")]
    assert going(planned(world, OLD, NEW, *others)) == ["b_old"]


def test_a_services_own_policy_goes_before_the_default(world: World) -> None:
    own = {**MY_APP["backup"], "keep": {"last": 2}}
    world.has({**MY_APP, "backup": own}, INFRA)
    assert going(planned(world, OLD, NEW)) == []


def test_without_any_policy_everything_stays(world: World) -> None:
    plan = plan_forget(world.known, ForgetRequest(), [OLD, NEW], NOW)
    assert (going(plan), reasons(plan)) == ([], {"no `keep` is set: everything stays"})


def test_a_service_that_has_left_the_catalog_keeps_everything(world: World) -> None:
    plan = planned(world, saved("a", 5, service="gone"), saved("b", 1, service="gone"))
    assert going(plan) == []
    assert "not in the catalog" in reasons(plan).pop()


def test_an_item_that_has_left_its_service_keeps_everything(world: World) -> None:
    plan = planned(world, saved("a", 5, data_item="photos"), saved("b", 1, data_item="photos"))
    assert going(plan) == []


def test_only_what_is_named_is_judged(world: World) -> None:
    world.has(MY_APP, {**MY_APP, "name": "other"}, INFRA)
    others = [saved("a", 5, service="other"), saved("b", 1, service="other")]
    assert going(planned(world, OLD, NEW, *others, services=("other",))) == ["a"]
    assert planned(world, OLD, NEW, data_items=("database",)).items == ()


def test_names_that_nobody_knows_are_refused_with_the_closest(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        planned(world, OLD, services=("my-ap",), data_items=("uplaods",))
    assert [problem.loc[0] for problem in caught.value.problems] == ["services", "data_items"]


def test_without_a_repository_there_is_nothing_to_forget(world: World) -> None:
    world.change(repository_id=None)
    with pytest.raises(Conflict, match="no repository yet"):
        planned(world, OLD)


def test_it_has_the_repository_alone_and_says_how_many_go(world: World) -> None:
    plan = planned(world, OLD, NEW)
    assert [(hold.name, hold.shared) for hold in plan.holds] == [("repository", False)]
    assert str(plan) == "Forget 1 of 2 backups"


# What is done.


async def test_the_snapshots_go_first_and_then_their_records(world: World) -> None:
    run = a_run(OLD, NEW)
    result = await planned(world, OLD, NEW).carry_out(run)
    assert [step for step, _ in run.steps] == [
        "look_again", "read_records", "compare_repository", "note_missing",
        "begin_forgetting", "forget_snapshots",
        "forget_backups",
    ]  # fmt: skip
    assert asked_to_forget(run) == [_hex("b_old")]
    assert run.told["forget_backups"] == {"backup_ids": ["b_old"]}
    assert (result["forgotten"], result["kept"]) == (1, 1)


async def test_every_snapshot_goes_with_the_task_that_must_be_in_its_tags(world: World) -> None:
    run = a_run(OLD, NEW)
    await planned(world, OLD, NEW).carry_out(run)
    (operation,) = [one for one in run.asked if isinstance(one, ForgetSnapshots)]
    assert [one.task for one in operation.snapshots] == ["Tb_old"]


@pytest.mark.parametrize("error", ["the repository is gone", "this is another repository"])
async def test_a_repository_that_cannot_be_listed_ends_it(world: World, error: str) -> None:
    repository = Repository()
    repository.error = Failure(error)
    run = a_run(OLD, NEW, node=repository)
    with pytest.raises(Failure, match=error):
        await planned(world, OLD, NEW).carry_out(run)
    assert run.told.keys() == {"backup_states", "known_snapshots"}


async def test_an_item_whose_younger_snapshot_is_gone_keeps_its_older_one(world: World) -> None:
    others = [saved("x", 5, data_item="database"), saved("y", 1, data_item="database")]
    run = a_run(OLD, NEW, *others, node=Repository(OLD, *others))
    with pytest.raises(PartlyDone, match="nothing of uploads of my-app on main") as caught:
        await planned(world, OLD, NEW, *others).carry_out(run)
    assert asked_to_forget(run) == [_hex("x")]
    assert run.told["note_missing"]["missing"] == ["c_new"]
    assert caught.value.result["forgotten"] == 1
    assert "mounted" in str(caught.value.hint)


@pytest.mark.parametrize(
    "since", [{"damaged": True}, {"verified_at": NOW}, {"status": BackupStatus.FAILED}]
)
async def test_an_item_that_has_changed_since_it_was_judged_is_left_alone(
    world: World, since: dict[str, Any]
) -> None:
    plan, others = planned(world, OLD, NEW), Repository(OLD, NEW)
    run = a_run(OLD, NEW.model_copy(update=since), node=others)
    result = await plan.carry_out(run)
    assert asked_to_forget(run) == []
    assert (result["forgotten"], result["kept"]) == (0, 2)


async def test_what_was_known_to_be_missing_counts_for_nothing_and_fails_nothing(
    world: World,
) -> None:
    missing = saved("d_gone", 0.5, missing=True)
    run = a_run(OLD, NEW, missing, node=Repository(OLD, NEW))
    result = await planned(world, OLD, NEW, missing).carry_out(run)
    assert run.told["forget_backups"] == {"backup_ids": ["b_old"]}
    assert result["missing"] == ["d_gone"]


async def test_missing_records_are_dropped_by_a_persons_word(world: World) -> None:
    missing = saved("d_gone", 0.5, missing=True)
    run = a_run(NEW, missing, node=Repository(NEW))
    await planned(world, NEW, missing, drop_missing=True).carry_out(run)
    assert run.told["forget_backups"] == {"backup_ids": ["d_gone"]}


async def test_what_a_forget_that_broke_off_has_taken_out_is_settled_by_the_next(
    world: World,
) -> None:
    """A check has looked in between, and found the snapshot missing."""
    begun = a_run(OLD, NEW)
    await planned(world, OLD, NEW).carry_out(begun)
    missing = OLD.model_copy(update={"missing": True, "going": True})
    run = a_run(NEW, missing, node=Repository(NEW))

    await planned(world, NEW, missing).carry_out(run)

    assert begun.told["begin_forgetting"] == {"backup_ids": [OLD.id]}
    assert run.told["forget_backups"] == {"backup_ids": [OLD.id]}


async def test_a_missing_one_that_came_back_is_not_dropped(world: World) -> None:
    missing = saved("d_gone", 0.5, missing=True)
    run = a_run(NEW, missing)
    await planned(world, NEW, missing, drop_missing=True).carry_out(run)
    assert asked_to_forget(run) == []
    assert run.told["forget_backups"] == {"backup_ids": []}


async def test_a_record_without_a_snapshot_needs_no_node(world: World) -> None:
    failed = saved("a_failed", 30, status=BackupStatus.FAILED, snapshot_id=None)
    run = a_run(NEW, failed)
    await planned(world, NEW, failed).carry_out(run)
    assert asked_to_forget(run) == []
    assert run.told["forget_backups"] == {"backup_ids": ["a_failed"]}


async def test_a_forget_that_breaks_off_drops_the_records_of_what_is_gone(world: World) -> None:
    older = saved("a_older", 6)
    repository = Repository(OLD, NEW, older)

    def half(node: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, ForgetSnapshots):
            problem = Failure("the disk is full", hint="Free some space.").as_told()
            return SnapshotsForgotten(gone=(_hex("a_older"),), problem=problem)
        return repository(node, operation)

    run = a_run(OLD, NEW, older, node=half)
    with pytest.raises(PartlyDone, match="the disk is full"):
        await planned(world, OLD, NEW, older).carry_out(run)
    assert run.told["forget_backups"] == {"backup_ids": ["a_older"]}


def test_a_plan_is_read_as_it_was_written(world: World) -> None:
    plan = planned(world, OLD, NEW)
    assert ForgetPlan.model_validate_json(plan.model_dump_json()) == plan


def test_it_is_not_tried_again_with_old_verdicts() -> None:
    assert not ForgetPlan.may_retry
