"""Forgetting and pruning on the node: only what is ours, and never in the dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Conflict, Failure
from composia.operations import repository, tidying
from composia.operations.repository import CompareRepository, TagOfOurs
from composia.operations.tidying import ForgetSnapshots, PruneRepository
from composia.strategies.base import Site
from composia.tools.rustic import Labels, OnProgress, Pruned
from tests.twins.site import Twins
from tests.unit.operations.test_repository import INFRA, OTHER, OURS, Repository, known

UNKNOWN = "f" * 64


class Tidied(Repository):
    """A repository in memory that can be tidied, or refuses to be."""

    def __init__(self, found: str | None = OURS) -> None:
        super().__init__(found)
        self.pruned = 0
        self.calls: list[list[str]] = []
        self.breaks_at: int | None = None
        self.protected: set[str] = set()

    def holds(self, task: str = "01A", node: str = "main") -> str:
        labels = Labels(node=node, service="my-app", item="uploads", task=task)
        return self._keep(labels, 1).id

    async def forget(self, ids: Sequence[str]) -> None:
        if len(self.calls) == self.breaks_at:
            raise Failure("the disk is full", hint="Free some space.")
        self.calls.append(list(ids))
        await super().forget([one for one in ids if one not in self.protected])

    async def prune(self, *, on_progress: OnProgress) -> Pruned:
        self.pruned += 1
        on_progress(1, 2)
        return Pruned(freed=1, marked=2, waiting=3, remaining=4)


def a_repository(found: str | None = OURS) -> Tidied:
    return Tidied(found)  # type: ignore[abstract]  # the rest is not asked for here


def site(tmp_path: Path, engine: Tidied) -> Site:
    return replace(Twins(tmp_path / "folder").site, repository=engine)


def forgetting(*snapshots: str, task: str = "01A", recorded: str | None = OURS) -> ForgetSnapshots:
    tagged = tuple(TagOfOurs(snapshot_id=one, task=task) for one in snapshots)
    return ForgetSnapshots(service=INFRA, repository=known(recorded), snapshots=tagged)


def pruning(*snapshots: str) -> PruneRepository:
    return PruneRepository(service=INFRA, repository=known(OURS), snapshot_ids=snapshots)


async def test_what_is_named_is_forgotten_and_seen_to_be_gone(tmp_path: Path) -> None:
    engine = a_repository()
    doomed, kept = engine.holds(), engine.holds()
    done = await forgetting(doomed).perform(site(tmp_path, engine))
    assert (done.gone, done.left, set(engine.kept)) == ((doomed,), 1, {kept})


async def test_one_that_is_gone_already_spares_none(tmp_path: Path) -> None:
    # rustic forgets nothing of a list with one unknown id in it.
    engine = a_repository()
    doomed = engine.holds()
    done = await forgetting(UNKNOWN, doomed).perform(site(tmp_path, engine))
    assert (set(done.gone), engine.calls) == ({UNKNOWN, doomed}, [[doomed]])


async def test_what_another_task_saved_is_left_alone(tmp_path: Path) -> None:
    engine = a_repository()
    foreign = engine.holds(task="01B")
    done = await forgetting(foreign).perform(site(tmp_path, engine))
    assert (done.foreign, done.gone, engine.calls) == ((foreign,), (), [])


async def test_what_another_node_saved_in_the_same_task_is_left_alone(tmp_path: Path) -> None:
    engine = a_repository()
    foreign = engine.holds()
    of = TagOfOurs(snapshot_id=foreign, task="01A", node="edge")
    wanted = ForgetSnapshots(service=INFRA, repository=known(OURS), snapshots=(of,))
    done = await wanted.perform(site(tmp_path, engine))
    assert (done.foreign, done.gone, engine.calls) == ((foreign,), (), [])


async def test_many_go_in_several_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tidying, "CHUNK", 2)
    engine = a_repository()
    doomed = [engine.holds() for _ in range(5)]
    await forgetting(*doomed).perform(site(tmp_path, engine))
    assert [len(call) for call in engine.calls] == [2, 2, 1]


async def test_a_forget_that_breaks_off_says_what_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "CHUNK", 1)
    engine = a_repository()
    engine.breaks_at = 1
    first, second = engine.holds(), engine.holds()
    done = await forgetting(first, second).perform(site(tmp_path, engine))
    assert done.gone == (first,)
    assert done.problem
    assert done.problem.message == "the disk is full"


async def test_one_that_withstands_is_named(tmp_path: Path) -> None:
    engine = a_repository()
    protected = engine.holds()
    engine.protected = {protected}
    done = await forgetting(protected).perform(site(tmp_path, engine))
    assert done.gone == ()
    assert done.problem
    assert protected[:12] in done.problem.message


@pytest.mark.parametrize("found", [None, OTHER])
async def test_an_unmounted_disk_is_neither_tidied_nor_made(
    tmp_path: Path, found: str | None
) -> None:
    engine = a_repository(found)
    for operation in (forgetting(UNKNOWN), pruning(), _comparing(UNKNOWN)):
        with pytest.raises(Failure):
            await operation.perform(site(tmp_path, engine))
    assert (engine.calls, engine.pruned, engine.made) == ([], 0, 0)


async def test_a_repository_whose_snapshots_are_all_there_is_pruned(tmp_path: Path) -> None:
    engine = a_repository()
    done = await pruning(engine.holds()).perform(site(tmp_path, engine))
    assert (done.freed, done.marked, engine.pruned) == (1, 2, 1)


async def test_one_with_a_snapshot_of_ours_missing_is_not(tmp_path: Path) -> None:
    engine = a_repository()
    with pytest.raises(Conflict, match="ffffffffffff"):
        await pruning(engine.holds(), UNKNOWN).perform(site(tmp_path, engine))
    assert engine.pruned == 0


async def test_very_many_are_described_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "DESCRIBED", 2)
    engine = a_repository()
    there = {engine.holds() for _ in range(5)}
    asking, seen = _comparing(describe=True), list[str]()
    for expected in (2, 2, 1, 0):
        found = await asking.perform(site(tmp_path, engine))
        assert (found.unknown, len(found.described)) == (5, expected)
        seen += [one.id for one in found.described]
        if found.described:
            asking = asking.model_copy(update={"after": found.described[-1]})
    assert (len(seen), set(seen)) == (5, there)


async def test_records_and_repository_are_compared_both_ways(tmp_path: Path) -> None:
    engine = a_repository()
    ours, stranger = engine.holds(), engine.holds(node="laptop")
    found = await _comparing(ours, UNKNOWN).perform(site(tmp_path, engine))
    assert (found.missing, found.unknown, found.described) == ((UNKNOWN,), 1, ())
    described = await _comparing(ours, describe=True).perform(site(tmp_path, engine))
    assert [one.id for one in described.described] == [stranger]


def _comparing(*snapshots: str, describe: bool = False) -> CompareRepository:
    return CompareRepository(
        service=INFRA, repository=known(OURS), snapshot_ids=snapshots, describe=describe
    )
