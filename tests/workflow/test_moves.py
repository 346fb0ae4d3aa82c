"""A move carried out by the runner: crashes, cancels, holds that outlive it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from composia.controller.asking import Question
from composia.controller.returns import Returns
from composia.errors import Conflict, Failure, GivenUp, Interrupted
from composia.model.task import Status, Task
from composia.operations.cargo import Cargo
from composia.workflows.check import Downtime
from composia.workflows.migrate import MigratePlan
from composia.workflows.rescue import RescuePlan
from tests.waiting import until
from tests.workflow.office import Office, backup, deploy, ref

ANSWERS: dict[str, dict[str, Any]] = {
    "0_pre_copy": {"rounds": []},
    "1_export_data": {
        "held_seconds": 1.0, "dump_seconds": 0.0, "send_seconds": 0.0, "bytes_sent": 7,
    },
    "4_restore_data": {"placed": []},
    "5_start_on_target": {"start_seconds": 0.5},
    "9_retire_source": {"kept_until": "2026-12-01T00:00:00Z", "kept": []},
}  # fmt: skip


def plan(**more: Any) -> MigratePlan:
    nodes: dict[str, Any] = {"source": "main", "target": "edge"}
    return MigratePlan(
        service=ref(),
        nodes_before=("main",),
        nodes_after=("edge",),
        cargo=(Cargo(item="data", include=("./data",)),),
        downtime=Downtime(),
        **(nodes | more),
    )


async def looks(question: Question) -> dict[str, Any]:
    if question.operation.op == "survey_source":
        return {"running": ["web"]}
    return {"free": 1 << 40, "free_for_volumes": 1 << 40}


async def ends(question: Question) -> dict[str, Any]:
    if question.operation.op == "receive_data":
        return {"bytes_received": 7, "rounds": 1}
    return ANSWERS.get(question.step, {})


async def fails(question: Question) -> dict[str, Any]:
    raise Failure("no luck")


async def never(question: Question) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


@pytest.fixture
def moving(office: Office) -> Office:
    """An office whose nodes do what they are asked."""
    office.nodes.on("0_check", looks)
    for step in ANSWERS:
        office.nodes.on(step, ends)
    return office


async def test_the_outage_is_put_together_from_three_clocks(moving: Office) -> None:
    began = time.monotonic()
    task = await moving.ended((await moving.submit(plan())).id)
    took = time.monotonic() - began
    assert task.status is Status.SUCCEEDED, task.error
    assert task.result is not None
    parts = [task.result[f"{part}_seconds"] for part in ("held", "between", "start")]
    assert parts[::2] == [1.0, 0.5]
    assert 0 <= parts[1] <= took
    assert sum(parts) == pytest.approx(task.result["downtime_seconds"], abs=0.01)


async def test_a_target_that_was_asked_twice_was_away_all_the_time(moving: Office) -> None:
    tries: list[float] = []

    async def dies_at_first(question: Question) -> dict[str, Any]:
        tries.append(time.monotonic())
        if len(tries) == 1:
            await asyncio.sleep(0.7)
            raise Interrupted("the agent was restarted")
        return {"start_seconds": 0.0}

    moving.nodes.on("5_start_on_target", dies_at_first)
    task = await moving.ended((await moving.submit(plan())).id)
    assert task.result is not None
    assert task.result["downtime_seconds"] >= 1.0 + (tries[1] - tries[0])


async def test_a_side_that_fails_ends_the_other_one(moving: Office) -> None:
    async def one_side(question: Question) -> dict[str, Any]:
        return await (fails if question.operation.op == "export_data" else never)(question)

    moving.nodes.on("1_export_data", one_side)
    task = await moving.ended((await moving.submit(plan())).id)
    assert task.error is not None
    assert task.error.message == "no luck"
    assert "edge: undo_target" in moving.nodes.done
    assert "main: undo_source" in moving.nodes.done


async def test_a_side_whose_partner_has_done_its_part_is_not_asked_again(moving: Office) -> None:
    async def restarts(question: Question) -> dict[str, Any]:
        if question.operation.op == "export_data":
            return await ends(question)
        await until(lambda: any("1_export_data:main" in key for key in moving.nodes.acknowledged))
        raise Interrupted("the agent was restarted")

    moving.nodes.on("1_export_data", restarts)
    task = await moving.ended((await moving.submit(plan())).id)
    assert task.error is not None
    assert task.error.message == "the agent was restarted"
    assert len([key for key in moving.nodes.sent if "1_export_data:edge" in key]) == 1
    assert "main: undo_source" in moving.nodes.done


async def cancelled_in(moving: Office, step: str, **more: Any) -> Task:
    moving.nodes.on(step, never)
    task = await moving.submit(plan(**more))
    await until(lambda: any(key.startswith(f"{task.id}:{step}:") for key in moving.nodes.sent))
    await moving.runner.cancel(task.id)
    return await moving.ended(task.id)


@pytest.mark.parametrize("step", ["0_pre_copy", "1_export_data", "4_restore_data"])
async def test_a_cancelled_move_is_undone(moving: Office, step: str) -> None:
    before = await moving.store.epoch("my-app")
    ended = await cancelled_in(moving, step)
    assert ended.status is Status.CANCELLED
    assert "edge: undo_target" in moving.nodes.done
    assert ("main: undo_source" in moving.nodes.done) == (step != "0_pre_copy")
    # Begun and ended: whatever is asked from now on may pass a fence of this move.
    assert await moving.store.epoch("my-app") == before + 2


@pytest.mark.parametrize("step", ["0_pre_copy", "4_restore_data"])
async def test_a_cancelled_rollback_leaves_the_move_open(moving: Office, step: str) -> None:
    moving.nodes.on("9_retire_source", fails)
    task = await moving.ended((await moving.submit(plan())).id)
    back = {"of_task": task.id, "source": "edge", "target": "main"}
    ended = await cancelled_in(moving, step, **back)
    assert "main: undo_target" in moving.nodes.done
    assert "rollback" in ended.actions
    with pytest.raises(Conflict, match="has ended half-way"):
        await moving.submit(deploy("edge"))


async def left_open(moving: Office) -> str:
    """From main to edge: edge has answered, and something is still to be done."""
    moving.nodes.on("9_retire_source", fails)
    return (await moving.ended((await moving.submit(plan())).id)).id


@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_rollback_that_comes_to_nothing_opens_no_fence(
    moving: Office, *, abandoned: bool
) -> None:
    task = await left_open(moving)
    armed = await moving.store.epoch("my-app")
    if abandoned:
        await moving.runner.abandon(task)
    moving.nodes.on("4_restore_data", fails)
    back = await moving.ended(
        (await moving.submit(plan(of_task=task, source="edge", target="main"))).id
    )
    # What would start the service where the move has left it is still refused there.
    assert await moving.store.epoch("my-app") == armed
    moving.nodes.on("4_restore_data", ends)
    moving.nodes.on("9_retire_source", ends)
    await moving.runner.retry(back.id)
    assert (await moving.ended(back.id)).status is Status.SUCCEEDED
    assert await moving.store.epoch("my-app") > armed


def rescue(of_task: str) -> RescuePlan:
    """From edge, which is not gone."""
    return RescuePlan(
        service=ref(), gone="edge", target="main", nodes_before=("main",), nodes_after=("main",),
        of_task=of_task,
    )  # fmt: skip


async def test_a_rescue_that_is_undone_gives_back_what_it_took_over(moving: Office) -> None:
    task = await left_open(moving)
    armed = await moving.store.epoch("my-app")
    undone = await moving.ended((await moving.submit(rescue(task))).id)
    assert undone.error is not None
    assert "is connected" in undone.error.message
    assert task in str(undone.error.hint)
    assert (await moving.task(task)).actions == ("retry", "rollback", "abandon")
    assert await moving.store.epoch("my-app") == armed
    with pytest.raises(Conflict, match=f"held by task {task}"):
        await moving.submit(deploy("main"))


async def test_a_rescue_that_was_undone_takes_the_hold_over_again(moving: Office) -> None:
    task = await left_open(moving)
    undone = await moving.ended((await moving.submit(rescue(task))).id)
    await moving.nodes.disconnect("edge")
    await moving.runner.retry(undone.id)
    ended = await moving.ended(undone.id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert (await moving.task(task)).actions == ()


async def test_a_target_that_cannot_be_cleared_was_never_started(moving: Office) -> None:
    moving.nodes.on("1_export_data", fails)
    moving.nodes.on("undo_target", fails)
    before = await moving.store.epoch("my-app")
    ended = await moving.ended((await moving.submit(plan())).id)
    assert ended.actions == ("retry",)
    assert await moving.store.epoch("my-app") == before + 2


def undone_since(moving: Office, before: int) -> list[str]:
    return [one for one in moving.nodes.done[before:] if one.startswith("main: undo_source")]


async def test_what_is_undone_twice_in_one_attempt_is_really_undone_twice(moving: Office) -> None:
    moving.nodes.on("5_start_on_target", fails)
    moving.nodes.on("undo_source", fails)
    task = await moving.ended((await moving.submit(plan())).id)
    moving.nodes.on("undo_source", ends)
    before = len(moving.nodes.done)
    await moving.runner.retry(task.id)
    ended = await moving.ended(task.id)
    assert ended.status is Status.FAILED
    assert undone_since(moving, before) == ["main: undo_source", "main: undo_source_2"]


async def test_an_undo_after_one_that_was_often_interrupted_is_done(moving: Office) -> None:
    left = [1, 2, 3]

    async def interrupted(question: Question) -> dict[str, Any]:
        if left:
            raise Interrupted(f"the agent was restarted, time {left.pop()}")
        return {}

    moving.nodes.on("5_start_on_target", fails)
    moving.nodes.on("undo_source", interrupted)
    task = await moving.ended((await moving.submit(plan())).id)
    assert undone_since(moving, 0) == ["main: undo_source"] * 4
    before = len(moving.nodes.done)
    await moving.runner.retry(task.id)
    await moving.ended(task.id)
    assert undone_since(moving, before) == ["main: undo_source"]


async def waits_in(moving: Office, task: str, step: str) -> bool:
    found = await moving.task(task)
    at_work = any(one.name == step and not one.status.ended for one in found.steps)
    return at_work and found.waiting is not None and "abandon" in found.actions


async def burns_while_it_starts(moving: Office) -> Task:
    """The target is gone for good, and nobody knows whether the service has started there."""
    moving.nodes.on("5_start_on_target", never)
    task = await moving.submit(plan())
    await moving.until_asked("5_start_on_target")
    await moving.nodes.disconnect("edge")
    await moving.runner.cancel(task.id)
    await until(lambda: waits_in(moving, task.id, "5_start_on_target"))
    await moving.runner.abandon(task.id)
    await until(lambda: waits_in(moving, task.id, "undo_stop_target"))
    return task


async def test_a_target_that_has_burnt_does_not_keep_the_source_down(moving: Office) -> None:
    task = await burns_while_it_starts(moving)
    assert "main: undo_source" not in moving.nodes.done
    await moving.runner.abandon(task.id)
    ended = await moving.ended(task.id)
    assert ended.status is Status.CANCELLED
    assert "main: undo_source" in moving.nodes.done
    # Nothing is held, and what comes back is stopped.
    assert ended.actions == ("retry",)
    assert await moving.store.left_behind("edge") == [task.id]


async def test_a_burnt_target_that_comes_back_is_stopped(moving: Office) -> None:
    task = await burns_while_it_starts(moving)
    await moving.runner.abandon(task.id)
    await moving.ended(task.id)

    async def stops(question: Question) -> dict[str, Any]:
        return {"ran": {"my-app-web-1": "t"}, "stopped_at": "2026-11-24T04:00:00Z"}

    moving.nodes.on("stop_stale", stops)
    back = Returns(moving.store, moving.admit, moving.runner, moving.nodes.online)
    await moving.nodes.connect("edge")
    await back.returned("edge")
    await until(lambda: is_settled(moving, "edge"))
    await back.aclose()
    assert "edge: stop_stale" in moving.nodes.done


async def is_settled(moving: Office, node: str) -> bool:
    return await moving.store.left_behind(node) == []


async def test_a_target_that_is_there_is_not_given_up(moving: Office) -> None:
    async def given_up(question: Question) -> dict[str, Any]:
        raise GivenUp("the person was too late")

    moving.nodes.on("5_start_on_target", fails)
    moving.nodes.on("undo_stop_target", given_up)
    ended = await moving.ended((await moving.submit(plan())).id)
    assert ended.error is not None
    assert "node edge is connected" in ended.error.message
    assert "main: undo_source" not in moving.nodes.done
    assert await moving.store.left_behind("edge") == []


async def test_an_undo_waits_for_its_node(moving: Office) -> None:
    moving.nodes.on("4_restore_data", never)
    task = await moving.submit(plan())
    await moving.until_asked("4_restore_data")
    await moving.nodes.disconnect("main")
    await moving.runner.cancel(task.id)
    await until(lambda: bool(moving.nodes.done and "edge: 4_restore_data" in moving.nodes.done))
    await moving.restart()
    await moving.nodes.connect("main")
    await moving.ended(task.id)
    assert "main: undo_source" in moving.nodes.done


@pytest.mark.parametrize("step", ["0_pre_copy", "4_restore_data"])
async def test_a_running_move_keeps_everybody_else_off(moving: Office, step: str) -> None:
    moving.nodes.on(step, never)
    task = await moving.submit(plan())
    await moving.until_asked(step)
    there = backup().model_copy(update={"on": ("edge",)})
    others = plan(), plan(source="edge", target="main"), backup(), there, deploy("main")
    for other in others:
        with pytest.raises(Conflict, match=f"is held by task {task.id} .migrate., which runs"):
            await moving.submit(other)
    assert (await moving.submit(backup(service="other-app"))).id


async def test_an_open_move_holds_the_placement_and_nothing_else(moving: Office) -> None:
    moving.nodes.on("9_retire_source", fails)
    task = await moving.ended((await moving.submit(plan())).id)
    assert task.actions == ("retry", "rollback", "abandon")
    with pytest.raises(Conflict, match="has ended half-way"):
        await moving.submit(deploy("edge"))
    moving.nodes.on("save_data", never)
    assert (await moving.submit(backup())).status is not Status.FAILED


async def test_a_retry_goes_on_behind_the_answer(moving: Office) -> None:
    moving.nodes.on("9_retire_source", fails)
    task = await moving.ended((await moving.submit(plan())).id)
    moving.nodes.on("9_retire_source", ends)
    before = list(moving.nodes.done)
    await moving.runner.retry(task.id)
    ended = await moving.ended(task.id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert moving.nodes.done[len(before) :] == ["main: 9_retire_source"]
    assert (await moving.submit(deploy("edge"))).id


async def test_a_rollback_takes_the_hold_over(moving: Office) -> None:
    moving.nodes.on("9_retire_source", fails)
    task = await moving.ended((await moving.submit(plan())).id)
    moving.nodes.on("9_retire_source", ends)
    back = plan(of_task=task.id)
    ended = await moving.ended((await moving.submit(back)).id)
    assert ended.status is Status.SUCCEEDED, ended.error
    # What it would settle is no longer so: names, site and catalog would go where nothing runs.
    assert (await moving.task(task.id)).actions == ()
    with pytest.raises(Conflict, match="cannot be retried"):
        await moving.runner.retry(task.id)


async def test_a_move_that_is_at_work_is_not_taken_over(moving: Office) -> None:
    moving.nodes.on("9_retire_source", never)
    task = await moving.submit(plan())
    await moving.until_asked("9_retire_source")
    with pytest.raises(Conflict, match="which runs since"):
        await moving.submit(plan(of_task=task.id))


async def test_what_was_abandoned_is_free(moving: Office) -> None:
    moving.nodes.on("9_retire_source", fails)
    task = await moving.ended((await moving.submit(plan())).id)
    await moving.runner.abandon(task.id)
    assert (await moving.submit(deploy("edge"))).id


@pytest.mark.parametrize("step", ["1_export_data", "9_retire_source"])
async def test_a_half_done_move_of_another_version_stays_held(moving: Office, step: str) -> None:
    moving.nodes.on(step, never)
    submitted = await moving.submit(plan())
    await moving.until_asked(step)
    await moving.stop()
    moving.plan_anew(submitted.id)
    await moving.start()

    task = await moving.ended(submitted.id)
    assert (task.status, task.actions) == (Status.FAILED, ("abandon",))
    assert task.error
    assert "planned by another version" in task.error.message
    assert "start that one" in str(task.error.hint)
    with pytest.raises(Conflict, match="my-app: placement is held"):
        await moving.submit(deploy("edge"))
    await moving.runner.abandon(task.id)
    assert (await moving.submit(deploy("edge"))).id


@pytest.mark.parametrize("step", ["0_prepare", "1_export_data", "5_start_on_target"])
async def test_a_controller_that_dies_goes_on_where_it_was(moving: Office, step: str) -> None:
    moving.nodes.on(step, never)
    task = await moving.submit(plan())
    await moving.until_asked(step)
    done = list(moving.nodes.done)
    await moving.stop()
    asked = len(moving.nodes.sent)
    await moving.start()
    # Both sides of a step: one whose partner has done its part is not asked once more.
    sides = 2 if step == "1_export_data" else 1
    await until(lambda: len(moving.nodes.sent) >= asked + sides)
    moving.nodes.on(step, ends)
    for node in ("main", "edge"):
        moving.nodes.kill(node)
    ended = await moving.ended(task.id)
    assert ended.status is Status.SUCCEEDED, ended.error
    again = [one for one in moving.nodes.done[len(done) :] if one in done]
    assert all(one.endswith(step) for one in again)
