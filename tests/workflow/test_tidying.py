"""Tidying the repository, with a real store: who waits for whom, and what the records say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from composia.controller.asking import Question
from composia.controller.manifests import manifest_of
from composia.errors import Conflict, Damaged
from composia.model.retention import states_of
from composia.model.task import Status
from composia.operations.offsite import SnapshotsCopied
from composia.operations.repository import CompareRepository
from composia.operations.tidying import ForgetSnapshots
from composia.tools.rustic import Part
from composia.workflows.adopt import AdoptPlan
from composia.workflows.offsite import CopyPlan
from composia.workflows.plan import Plan
from composia.workflows.prune import PrunePlan
from composia.workflows.repository import CheckRepositoryPlan
from composia.workflows.retention import ForgetPlan, Judged, JudgedItem
from tests.twins.office import NOW, REPOSITORY
from tests.twins.office import backup as a_record
from tests.workflow.office import Office, backup

OLD, NEW = (a_record(f"01B{sign}", snapshot_id=sign * 64, task_id="01T") for sign in "12")


async def waits(question: Question) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


def prune() -> PrunePlan:
    return PrunePlan(repository=backup(repository_id=REPOSITORY).repository, on=("main",))


def check(part: int | None = None) -> CheckRepositoryPlan:
    return CheckRepositoryPlan(
        repository=backup(repository_id=REPOSITORY).repository,
        on=("main",),
        part=Part(number=part, of=3) if part else None,
        read_data=part is None,
    )


def adopt() -> AdoptPlan:
    return AdoptPlan(repository=backup(repository_id=REPOSITORY).repository, on=("main",), items={})


def forget(*going: str) -> ForgetPlan:
    judged = tuple(
        Judged(
            backup_id=one.id,
            time=NOW,
            status=one.status,
            snapshot_id=one.snapshot_id,
            task_id=one.task_id,
            missing=False,
            keeps=one.id not in going,
            why=("a rule",),
        )
        for one in (NEW, OLD)
    )
    item = JudgedItem(
        service="my-app",
        data_item="uploads",
        node="main",
        keep=None,
        backups=judged,
        state=states_of([OLD, NEW])["my-app/uploads@main"],
    )
    repository = backup(repository_id=REPOSITORY).repository
    return ForgetPlan(repository=repository, on=("main",), items=(item,))


class Repository:
    """The node with the repository, over its snapshots."""

    def __init__(self, office: Office, *ids: str) -> None:
        self.ids = set(ids)
        office.nodes.on("compare_repository", self.compare)
        office.nodes.on("forget_snapshots", self.forget)

    async def compare(self, question: Question) -> dict[str, Any]:
        operation = question.operation
        assert isinstance(operation, CompareRepository)
        missing = [one for one in operation.snapshot_ids if one not in self.ids]
        return {"repository_id": REPOSITORY, "snapshots": len(self.ids), "missing": missing}

    async def forget(self, question: Question) -> dict[str, Any]:
        operation = question.operation
        assert isinstance(operation, ForgetSnapshots)
        gone = [one.snapshot_id for one in operation.snapshots]
        self.ids -= set(gone)
        return {"gone": gone, "left": len(self.ids)}


@pytest.mark.parametrize("plan", [prune(), forget(), adopt()], ids=["prune", "forget", "adopt"])
async def test_two_prunes_or_whatever_else_tidies_conflict(office: Office, plan: Plan) -> None:
    office.nodes.on("compare_repository", waits)
    first = await office.submit(prune())
    await office.until_asked("compare_repository")
    with pytest.raises(Conflict, match=f"repository is held by task {first.id}"):
        await office.submit(plan)


@pytest.mark.parametrize("plan", [prune(), forget(), adopt()], ids=["prune", "forget", "adopt"])
async def test_nothing_tidies_during_a_backup(office: Office, plan: Plan) -> None:
    office.nodes.on("open_repository", waits)
    first = await office.submit(backup())
    await office.until_asked("open_repository")
    with pytest.raises(Conflict, match=f"repository is held by task {first.id}"):
        await office.submit(plan)


async def test_no_backup_begins_during_a_prune(office: Office) -> None:
    office.nodes.on("compare_repository", waits)
    first = await office.submit(prune())
    await office.until_asked("compare_repository")
    with pytest.raises(Conflict, match=f"repository is held by task {first.id}"):
        await office.submit(backup())


@pytest.mark.parametrize(
    ("found", "whole"),
    [("", True), ("part 2/3", False), ("all its data", False)],
    ids=["nothing", "one of its parts", "all data, meanwhile"],
)
async def test_a_round_of_checks_in_which_nothing_was_damaged_says_so_at_its_end(
    office: Office, found: str, whole: bool
) -> None:
    plans = [check(1), check(2), check(), check(3)]

    async def checks(question: Question) -> dict[str, Any]:
        if found and str(plan).endswith((found, f"{found} of its data")):
            raise Damaged("a pack is damaged")
        return {}

    Repository(office)
    office.nodes.on("check_repository", checks)
    ends = []
    for plan in plans:
        task = await office.ended((await office.submit(plan)).id)
        assert task.result, task.error
        ends.append(bool(task.result["round_is_whole"]))

    assert ends == [False, False, False, whole]


async def test_a_forgotten_backup_leaves_no_record_and_no_manifest(office: Office) -> None:
    await office.store.keep_backups([OLD, NEW])
    Repository(office, "1" * 64, "2" * 64)
    manifests = [manifest_of(office.folder, one.id) for one in (OLD, NEW)]
    for path in manifests:
        path.parent.mkdir(exist_ok=True)
        path.touch()

    task = await office.ended((await office.submit(forget(OLD.id))).id)

    assert (task.status, task.result and task.result["forgotten"]) == (Status.SUCCEEDED, 1)
    assert [one.id for one in await office.store.backups()] == [NEW.id]
    assert [path.exists() for path in manifests] == [False, True]


async def test_a_controller_that_dies_after_the_forget_drops_the_records_all_the_same(
    office: Office,
) -> None:
    await office.store.keep_backups([OLD, NEW])
    repository, going_on = Repository(office, "1" * 64, "2" * 64), asyncio.Event()

    async def forget_slowly(question: Question) -> dict[str, Any]:
        answer = await repository.forget(question)
        await going_on.wait()
        return answer

    office.nodes.on("forget_snapshots", forget_slowly)
    task = await office.submit(forget(OLD.id))
    await office.until_asked("forget_snapshots")
    await office.stop()
    going_on.set()
    await office.start()

    assert (await office.ended(task.id)).status is Status.SUCCEEDED
    assert [one.id for one in await office.store.backups()] == [NEW.id]


async def test_a_snapshot_that_was_removed_by_hand_shows_as_missing_until_it_is_back(
    office: Office,
) -> None:
    await office.store.keep_backups([OLD, NEW])
    repository = Repository(office, "1" * 64)

    refused = await office.ended((await office.submit(prune())).id)

    assert refused.status is Status.FAILED
    assert refused.error
    assert f"no snapshot of {NEW.id}" in refused.error.message
    assert {one.id: one.missing for one in await office.store.backups()} == {
        OLD.id: False, NEW.id: True,
    }  # fmt: skip

    repository.ids.add("2" * 64)
    await office.ended((await office.submit(forget())).id)

    assert not any(one.missing for one in await office.store.backups())


async def test_a_verdict_that_was_true_when_it_was_spoken_is_void_after_a_verification(
    office: Office,
) -> None:
    await office.store.keep_backups([OLD, NEW])
    repository, plan = Repository(office, "1" * 64, "2" * 64), forget(OLD.id)
    await office.store.note_verification(NEW.id, "differs", at=NOW, proven=False)

    await office.ended((await office.submit(plan)).id)

    assert len(repository.ids) == 2
    assert len(await office.store.backups()) == 2


async def test_a_backup_that_was_found_damaged_is_whole_again_when_it_is_proven(
    office: Office,
) -> None:
    await office.store.keep_backups([OLD])
    seen = []
    for proven in (False, None, True):
        await office.store.note_verification(OLD.id, "a word", at=NOW, proven=proven)
        record = await office.store.backup(OLD.id)
        assert record
        seen.append((record.damaged, record.is_whole))
    assert seen == [(True, False), (True, False), (False, True)]


async def test_a_copy_is_complete_as_of_when_it_began(office: Office) -> None:
    """What was saved while it was made may not be in it."""
    repository = backup(repository_id=REPOSITORY).repository
    target = repository.model_copy(update={"profile": "s3", "copy_name": "s3"})
    plan = CopyPlan(repository=repository, on=("main",), targets=(target,))
    done = SnapshotsCopied(repository_id="c" * 64, made=False, copied=1, already_there=0)

    async def copies(question: Question) -> dict[str, Any]:
        return done.model_dump(mode="json")

    office.nodes.on("copy_to_s3", copies)

    task = await office.ended((await office.submit(plan)).id)

    state, step = (await office.store.copies())["s3"], task.steps[0]
    assert (task.status, state.problem) == (Status.SUCCEEDED, None)
    assert state.complete_at == step.started_at
    assert state.tried_at
    assert step.finished_at
    assert state.tried_at >= step.finished_at
