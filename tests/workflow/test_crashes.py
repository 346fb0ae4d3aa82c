from __future__ import annotations

import asyncio
from typing import Any

import pytest

from composia.controller.asking import Question
from composia.model.task import Status
from tests.waiting import until
from tests.workflow.office import Office, backup, deploy

SNAPSHOT = {"id": "cd" * 32, "size": 5, "added": 1, "files": 1, "duration": 0.1}


async def opens(question: Question) -> dict[str, Any]:
    return {"repository_id": "ab" * 32, "made": False}


async def saves(question: Question) -> dict[str, Any]:
    (item,) = question.operation.model_dump()["items"]
    started = "2026-01-02T03:04:05Z"
    one = {"name": item["name"], "backup_id": item["backup_id"], "started_at": started}
    return {"items": [{**one, "duration": 1.0, "saved": {"snapshot": SNAPSHOT}}]}


def at_the_gate(gate: asyncio.Event, then: Any) -> Any:
    async def waits(question: Question) -> dict[str, Any]:
        await gate.wait()
        answer: dict[str, Any] = await then(question)
        return answer

    return waits


async def test_a_backup_ends_with_its_record(office: Office) -> None:
    office.nodes.on("open_repository", opens)
    office.nodes.on("save_data", saves)

    task = await office.ended((await office.submit(backup())).id)

    assert task.status is Status.SUCCEEDED, task.error
    assert [step.name for step in task.steps] == ["open_repository", "save_data", "record_backups"]
    assert {step.status for step in task.steps} == {Status.SUCCEEDED}
    (record,) = await office.store.backups()
    assert task.result == {"backup_ids": [record.id]}
    assert record.snapshot_id == SNAPSHOT["id"]
    saving = task.steps[1]
    assert saving.started_at
    assert saving.finished_at
    # The node's clock says something else.
    assert saving.started_at <= record.time <= saving.finished_at


async def test_a_backup_never_has_the_snapshot_of_another_one(office: Office) -> None:
    office.nodes.on("open_repository", opens)
    office.nodes.on("save_data", saves)
    await office.ended((await office.submit(backup())).id)

    task = await office.ended((await office.submit(backup())).id)

    assert task.status is Status.FAILED
    assert [one.snapshot_id for one in await office.store.backups()] == [None, SNAPSHOT["id"]]


@pytest.mark.parametrize("step", ["open_repository", "save_data"])
async def test_a_restarted_controller_resumes_where_it_was(office: Office, step: str) -> None:
    gate = asyncio.Event()
    does = {"open_repository": opens, "save_data": saves}
    for name, answer in does.items():
        office.nodes.on(name, at_the_gate(gate, answer) if name == step else answer)
    submitted = await office.submit(backup())
    await office.until_asked(step)

    await office.restart()
    gate.set()
    task = await office.ended(submitted.id)

    assert task.status is Status.SUCCEEDED, task.error
    assert office.nodes.done == ["main: open_repository", "main: save_data"]
    assert len(await office.store.backups()) == 1


async def test_an_answer_given_meanwhile_is_taken_after_the_restart(office: Office) -> None:
    gate = asyncio.Event()
    office.nodes.on("deploy", at_the_gate(gate, changes))
    submitted = await office.submit(deploy())
    await office.until_asked("deploy")
    await office.stop()
    gate.set()

    await office.start()
    task = await office.ended(submitted.id)

    assert task.result == {"changed": {"main": True}}
    assert office.nodes.done == ["main: deploy"]
    assert office.nodes.acknowledged == [f"{task.id}:deploy:main:1"]


async def test_a_task_that_was_admitted_and_never_begun_is_begun(office: Office) -> None:
    office.nodes.on("deploy", changes)
    office.runner.start = lambda task, attempt: None  # type: ignore[method-assign]  # killed here
    office.admit._start = office.runner.start
    submitted = await office.submit(deploy())

    await office.restart()
    task = await office.ended(submitted.id)

    assert task.status is Status.SUCCEEDED


async def test_steps_side_by_side_resume_each_by_itself(office: Office) -> None:
    gate = asyncio.Event()

    async def one_waits(question: Question) -> dict[str, Any]:
        if ":edge:" in question.key:
            await gate.wait()
        return {"changed": True}

    office.nodes.on("deploy", one_waits)
    submitted = await office.submit(deploy("main", "edge"))
    await until(lambda: office.nodes.acknowledged)

    await office.restart()
    gate.set()
    task = await office.ended(submitted.id)

    assert task.result == {"changed": {"main": True, "edge": True}}
    assert sorted(office.nodes.done) == ["edge: deploy", "main: deploy"]


async def test_an_agent_that_was_restarted_is_asked_once_more(office: Office) -> None:
    gate = asyncio.Event()
    office.nodes.on("deploy", at_the_gate(gate, changes))
    submitted = await office.submit(deploy())
    await office.until_asked("deploy")

    office.nodes.kill("main")
    gate.set()
    task = await office.ended(submitted.id)

    assert task.status is Status.SUCCEEDED
    assert office.nodes.sent == [f"{task.id}:deploy:main:{number}" for number in (1, 2)]
    assert "asked once more (2 of 3)" in await office.logs.read(task.id)


async def test_an_agent_that_always_dies_is_asked_three_times(office: Office) -> None:
    async def dies(question: Question) -> dict[str, Any]:
        raise asyncio.CancelledError

    office.nodes.on("deploy", dies)

    task = await office.ended((await office.submit(deploy())).id)

    assert task.status is Status.FAILED
    assert task.error is not None
    assert task.error.step == "deploy"
    assert len(office.nodes.sent) == 3


async def changes(question: Question) -> dict[str, Any]:
    return {"changed": True}
