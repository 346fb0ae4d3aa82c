"""Pruning: never while a snapshot of ours is not to be seen."""

from __future__ import annotations

from typing import Any

import pytest

from composia.errors import Conflict, Failure
from composia.operations.base import Nothing, Operation
from composia.operations.repository import CompareRepository, RepositoryCompared
from composia.operations.tidying import PruneRepository, RepositoryPruned
from composia.workflows.prune import plan_prune
from tests.twins.office import REPOSITORY, SNAPSHOT
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World


def node(name: str, operation: Operation[Any]) -> Answer:
    if isinstance(operation, CompareRepository):
        missing = tuple(id_ for id_ in operation.snapshot_ids if id_ != SNAPSHOT)
        return RepositoryCompared(repository_id=REPOSITORY, snapshots=1, missing=missing)
    if isinstance(operation, PruneRepository):
        return RepositoryPruned(freed=5, marked=7, waiting=0, remaining=11)
    return Nothing()


def a_run(**records: str) -> MemoryRun:
    run = MemoryRun(node)
    run.controlled["known_snapshots"] = records
    return run


async def test_it_prunes_what_is_listed_and_checks_afterwards(world: World) -> None:
    run = a_run(a=SNAPSHOT)
    result = await plan_prune(world.known).carry_out(run)
    assert [step for step, _ in run.steps] == [
        "read_records", "compare_repository", "note_missing", "prune_repository",
        "check_repository",
    ]  # fmt: skip
    assert (result["freed"], result["marked"]) == (5, 7)


async def test_the_node_is_told_every_snapshot_there_must_be(world: World) -> None:
    run = a_run(a=SNAPSHOT)
    await plan_prune(world.known).carry_out(run)
    (operation,) = [one for one in run.asked if isinstance(one, PruneRepository)]
    assert operation.snapshot_ids == (SNAPSHOT,)


async def test_a_record_without_its_snapshot_ends_it_with_the_way_out(world: World) -> None:
    run = a_run(a=SNAPSHOT, b="6" * 64)
    with pytest.raises(Conflict, match="no snapshot of b") as caught:
        await plan_prune(world.known).carry_out(run)
    assert [step for step, _ in run.steps][-1] == "note_missing"
    assert "--drop-missing" in str(caught.value.hint)


async def test_a_repository_that_cannot_be_listed_ends_it(world: World) -> None:
    run = MemoryRun(lambda name, operation: Failure("the repository is gone"))
    with pytest.raises(Failure, match="gone"):
        await plan_prune(world.known).carry_out(run)


def test_it_has_the_repository_alone(world: World) -> None:
    holds = plan_prune(world.known).holds
    assert [(hold.name, hold.shared) for hold in holds] == [("repository", False)]


def test_without_a_repository_there_is_nothing_to_prune(world: World) -> None:
    with pytest.raises(Conflict, match="no repository yet"):
        plan_prune(world.change(repository_id=None))
