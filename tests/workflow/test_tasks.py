from __future__ import annotations

import asyncio
from typing import Any

import pytest

from composia.controller.asking import Question
from composia.errors import CommandFailed, Conflict
from composia.model.task import Status
from composia.workflows.service import DeployPlan, ServiceRequest, plan_deploy
from tests.twins.nodes import MemoryNodes
from tests.twins.office import INFRA, MY_APP, container, node_state
from tests.unit.workflows.conftest import World
from tests.waiting import until
from tests.workflow.office import Office, backup, deploy


async def waits(question: Question) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def changes(question: Question) -> dict[str, Any]:
    return {"changed": True}


async def opens(question: Question) -> dict[str, Any]:
    return {"repository_id": "ab" * 32, "made": False}


async def fails(question: Question) -> dict[str, Any]:
    raise CommandFailed("no space left", hint="Free some.")


async def test_two_tasks_on_one_service_conflict(office: Office) -> None:
    office.nodes.on("deploy", waits)
    first = await office.submit(deploy())

    with pytest.raises(Conflict, match=f"my-app@main is held by task {first.id}") as refused:
        await office.submit(deploy())

    assert "cancel" in str(refused.value.hint)


def moved_in_the_catalog() -> DeployPlan:
    """A deploy on edge, after `nodes: [main]` has become `nodes: [edge]`, with main stopped."""
    world = World()
    world.has({**MY_APP, "nodes": ["edge"]}, INFRA)
    world.sees(main=node_state(container("my-app", "web", "exited")))
    return plan_deploy(world.known, "my-app", ServiceRequest())


async def test_nothing_starts_while_a_backup_elsewhere_will_start_it_again(office: Office) -> None:
    office.nodes.on("open_repository", opens)
    office.nodes.on("save_data", waits)
    first = await office.submit(backup())
    await office.until_asked("save_data")

    with pytest.raises(Conflict, match=f"my-app@main is held by task {first.id} .backup.") as no:
        await office.submit(moved_in_the_catalog())

    assert "my-app is not meant for main: whether it runs there is known when" in str(no.value.hint)
    assert f"`composia task cancel {first.id}`" in str(no.value.hint)
    await office.runner.cancel(first.id)
    await office.ended(first.id)
    office.nodes.on("deploy", changes)
    done = await office.ended((await office.submit(moved_in_the_catalog())).id)
    assert done.status is Status.SUCCEEDED


async def test_nothing_starts_while_a_first_deploy_elsewhere_goes_on(office: Office) -> None:
    office.nodes.on("deploy", waits)
    first = await office.submit(deploy())
    await office.until_asked("deploy")
    with pytest.raises(Conflict, match=f"my-app@main is held by task {first.id} .deploy."):
        await office.submit(moved_in_the_catalog())


async def test_two_services_are_worked_on_side_by_side(office: Office) -> None:
    office.nodes.on("deploy", waits)
    first, second = await office.submit(deploy()), await office.submit(deploy(service="other"))

    await until(lambda: len(office.nodes.sent) == 2)

    assert {(await office.task(one.id)).status for one in (first, second)} == {Status.RUNNING}


async def test_a_failed_step_fails_the_task_with_its_hint(office: Office) -> None:
    office.nodes.on("deploy", fails)

    task = await office.ended((await office.submit(deploy())).id)

    assert task.status is Status.FAILED
    assert task.error is not None
    assert (task.error.step, task.error.message) == ("deploy", "no space left")
    assert task.error.hint == "Free some."
    assert task.steps[0].error is not None
    assert task.actions == ("retry",)


async def test_a_task_that_ended_holds_nothing(office: Office) -> None:
    office.nodes.on("deploy", fails)
    await office.ended((await office.submit(deploy())).id)
    office.nodes.on("deploy", changes)

    task = await office.ended((await office.submit(deploy())).id)

    assert task.status is Status.SUCCEEDED


async def test_a_retry_is_the_same_task_once_more(office: Office) -> None:
    office.nodes.on("deploy", fails)
    failed = await office.ended((await office.submit(deploy())).id)
    office.nodes.on("deploy", changes)

    again = await office.runner.retry(failed.id)
    task = await office.ended(failed.id)

    assert again.id == failed.id
    assert task.status is Status.SUCCEEDED
    assert task.error is None
    assert [step.status for step in task.steps] == [Status.SUCCEEDED]
    assert len(set(office.nodes.sent)) == 2


async def test_a_task_that_succeeded_is_not_retried(office: Office) -> None:
    office.nodes.on("deploy", changes)
    task = await office.ended((await office.submit(deploy())).id)

    with pytest.raises(Conflict, match="cannot be retried"):
        await office.runner.retry(task.id)


async def test_what_another_version_has_planned_ends_with_a_next_step(office: Office) -> None:
    office.nodes.on("deploy", waits)
    submitted = await office.submit(deploy())
    await office.until_asked("deploy")
    await office.stop()
    office.plan_anew(submitted.id)
    await office.start()

    task = await office.ended(submitted.id)
    assert (task.status, task.actions) == (Status.FAILED, ())
    assert task.error
    assert "planned by another version" in task.error.message
    assert "Ask for the same anew" in str(task.error.hint)
    assert (await office.submit(deploy())).id


async def test_the_same_idempotency_key_is_the_same_task(office: Office) -> None:
    office.nodes.on("deploy", waits)

    first, again = await office.submit(deploy(), key="k"), await office.submit(deploy(), key="k")

    assert again.id == first.id


async def test_an_idempotency_key_for_another_request_is_refused(office: Office) -> None:
    office.nodes.on("deploy", waits)
    await office.submit(deploy(), key="k")

    with pytest.raises(Conflict, match="asked for something else"):
        await office.submit(deploy(service="other"), key="k")


async def test_an_idempotency_key_is_for_the_whole_request(office: Office) -> None:
    office.nodes.on("deploy", waits)
    first = await office.submit(deploy(), key="k", asked="restore uploads")

    again = await office.submit(deploy("edge"), key="k", asked="restore uploads")
    with pytest.raises(Conflict, match=f"belongs to task {first.id}"):
        await office.submit(deploy(), key="k", asked="restore database")

    assert again.id == first.id


async def test_a_cancelled_task_ends_cancelled(office: Office) -> None:
    office.nodes.on("deploy", waits)
    submitted = await office.submit(deploy())
    await office.until_asked("deploy")

    await office.runner.cancel(submitted.id)
    task = await office.ended(submitted.id)

    assert task.status is Status.CANCELLED
    assert [step.status for step in task.steps] == [Status.CANCELLED]


async def test_a_cancelled_task_tells_what_it_had_done(office: Office) -> None:
    async def deploys(question: Question) -> dict[str, Any]:
        if question.key.split(":")[2] == "edge":
            await asyncio.Event().wait()
        return {"changed": True}

    office.nodes.on("deploy", deploys)
    first = await office.submit(deploy("main", "edge"))
    await until(lambda: _steps_done(office, first.id))

    await office.runner.cancel(first.id)
    task = await office.ended(first.id)

    assert task.status is Status.CANCELLED
    assert task.result == {"changed": {"main": True}}


async def _steps_done(office: Office, task: str) -> bool:
    return any(step.status is Status.SUCCEEDED for step in (await office.task(task)).steps)


async def test_a_cancel_is_not_forgotten_by_a_restart(office: Office) -> None:
    office.nodes.on("deploy", waits)
    submitted = await office.submit(deploy())
    await office.until_asked("deploy")
    await office.nodes.disconnect("main")
    await office.runner.cancel(submitted.id)

    await office.restart()
    await office.nodes.connect("main")
    task = await office.ended(submitted.id)

    assert task.status is Status.CANCELLED


async def test_a_cancelled_question_that_nobody_heard_ends_the_task(office: Office) -> None:
    await office.nodes.disconnect("main")
    submitted = await office.submit(deploy())
    await until_waiting(office, submitted.id)

    await office.runner.cancel(submitted.id)
    task = await office.ended(submitted.id)

    assert task.status is Status.CANCELLED
    assert office.nodes.sent == []


async def test_a_task_waits_visibly_for_a_node_that_is_offline(office: Office) -> None:
    office.nodes.on("deploy", changes)
    await office.nodes.disconnect("main")
    submitted = await office.submit(deploy())

    await until_waiting(office, submitted.id)
    waiting = (await office.task(submitted.id)).waiting
    await office.nodes.connect("main")
    task = await office.ended(submitted.id)

    assert waiting is not None
    assert waiting.for_ == "node main is not connected"
    assert task.status is Status.SUCCEEDED
    assert task.waiting is None


async def test_a_node_that_stays_away_fails_the_task(office: Office) -> None:
    await office.stop()
    office.nodes = MemoryNodes(patience=0.05)
    await office.start()
    await office.nodes.disconnect("main")

    task = await office.ended((await office.submit(deploy())).id)

    assert task.status is Status.FAILED
    assert task.error is not None
    assert task.error.hint == "Start its agent."


async def test_a_lost_node_can_be_given_up(office: Office) -> None:
    office.nodes.on("deploy", waits)
    submitted = await office.submit(deploy())
    await office.until_asked("deploy")
    await office.nodes.disconnect("main")
    await office.runner.cancel(submitted.id)
    await until_waiting(office, submitted.id)
    assert (await office.task(submitted.id)).actions == ("abandon",)

    await office.runner.abandon(submitted.id)
    task = await office.ended(submitted.id)

    assert task.status is Status.CANCELLED


async def test_a_log_can_be_followed_to_its_end(office: Office) -> None:
    async def talks(question: Question) -> dict[str, Any]:
        question.logged("pulling images")
        return {"changed": True}

    office.nodes.on("deploy", talks)
    submitted = await office.submit(deploy())

    async with asyncio.timeout(30):
        lines = [line async for line in office.logs.follow(submitted.id)]

    assert any(line.endswith("main deploy: pulling images") for line in lines)
    assert lines[-1].endswith("Succeeded")


async def test_changes_are_told_to_those_who_listen(office: Office) -> None:
    office.nodes.on("deploy", changes)
    async with office.events.subscribe() as events:
        await office.submit(deploy())

        async with asyncio.timeout(30):
            async for event in events:
                if event.data["status"] == "succeeded":
                    break

    assert event.kind == "task"


async def until_waiting(office: Office, task: str) -> None:
    async def waits_visibly() -> bool:
        return (await office.task(task)).waiting is not None

    await until(waits_visibly)


async def test_a_type_that_is_not_tried_again_says_so(office: Office) -> None:
    office.nodes.on("open_repository", fails)
    task = await office.ended((await office.submit(backup())).id)
    assert task.status is Status.FAILED

    with pytest.raises(Conflict, match="a task of type backup is not tried again") as refused:
        await office.runner.retry(task.id)

    assert "anew" in str(refused.value.hint)
