"""What is asked of a task under an `Idempotency-Key`: once, however often it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from composia.controller.api import mount
from composia.controller.asking import Question
from composia.errors import CommandFailed
from composia.model.task import Status
from tests.twins.office import MemoryOffice
from tests.waiting import until
from tests.workflow.office import Office

Client = httpx2.AsyncClient
KEY = {"Idempotency-Key": "k"}


async def waits(question: Question) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def fails(question: Question) -> dict[str, Any]:
    raise CommandFailed("no space left", hint="Free some.")


@pytest.fixture
async def admin(office: Office) -> AsyncIterator[Client]:
    """A client of the API over a real store, door and runner."""
    app, parts = FastAPI(), MemoryOffice()
    vars(parts).update(
        store=office.store, admit=office.admit, runner=office.runner, logs=office.logs
    )
    app.state.controller = parts
    mount(app)
    async with Client(
        transport=httpx2.ASGITransport(app=app),
        base_url="http://composia/api/v1",
        headers={"Authorization": "Bearer admin-token"},
    ) as http:
        yield http


async def begun(admin: Client, headers: dict[str, str] | None = None) -> str:
    answer = await admin.post("/services/my-app/deploy", headers=headers)
    assert answer.status_code == 202, answer.text
    task: str = answer.json()["id"]
    return task


async def failed(admin: Client, office: Office) -> str:
    """A task that has failed, and fails again whenever it is tried."""
    office.nodes.on("deploy", fails)
    task = await begun(admin)
    assert (await office.ended(task)).status is Status.FAILED
    return task


async def test_a_retry_that_is_sent_again_is_no_further_attempt(
    admin: Client, office: Office
) -> None:
    task = await failed(admin, office)

    first = await admin.post(f"/tasks/{task}/retry", headers=KEY)
    await office.ended(task)
    again = await admin.post(f"/tasks/{task}/retry", headers=KEY)

    assert [first.status_code, again.status_code] == [202, 202], again.text
    assert (again.json()["id"], again.json()["status"]) == (task, "failed")
    assert again.headers["Location"] == first.headers["Location"]
    assert await office.store.attempt(task) == 2


async def test_a_retry_under_another_key_is_another_attempt(admin: Client, office: Office) -> None:
    task = await failed(admin, office)
    for key in ("one", "two"):
        answer = await admin.post(f"/tasks/{task}/retry", headers={"Idempotency-Key": key})
        assert answer.status_code == 202, answer.text
        await office.ended(task)
    assert await office.store.attempt(task) == 3


async def test_a_retry_that_is_sent_twice_at_once_is_one_attempt(
    admin: Client, office: Office
) -> None:
    task = await failed(admin, office)
    office.nodes.on("deploy", waits)

    calls = [admin.post(f"/tasks/{task}/retry", headers=KEY) for _ in range(5)]
    answers = await asyncio.gather(*calls)

    assert {one.status_code for one in answers} == {202}
    assert await office.store.attempt(task) == 2


async def test_a_deploy_that_is_sent_twice_at_once_is_one_task(
    admin: Client, office: Office
) -> None:
    office.nodes.on("deploy", waits)
    assert len(set(await asyncio.gather(*[begun(admin, KEY) for _ in range(5)]))) == 1


async def test_a_refused_retry_keeps_no_key(admin: Client, office: Office) -> None:
    office.nodes.on("deploy", waits)
    task = await begun(admin)
    assert (await admin.post(f"/tasks/{task}/retry", headers=KEY)).status_code == 409

    await office.runner.cancel(task)
    await office.ended(task)

    assert (await admin.post(f"/tasks/{task}/retry", headers=KEY)).status_code == 202
    assert await office.store.attempt(task) == 2


async def test_a_key_of_a_retry_is_for_nothing_else(admin: Client, office: Office) -> None:
    task = await failed(admin, office)
    await admin.post(f"/tasks/{task}/retry", headers=KEY)
    await office.ended(task)
    for path in (f"/tasks/{task}/cancel", "/services/my-app/deploy", "/services/other/deploy"):
        answer = await admin.post(path, headers=KEY)
        assert answer.status_code == 409
        assert f"belongs to task {task}" in answer.json()["detail"]


async def test_a_key_of_a_new_task_is_for_no_retry(admin: Client, office: Office) -> None:
    office.nodes.on("deploy", fails)
    task = await begun(admin, KEY)
    await office.ended(task)

    answer = await admin.post(f"/tasks/{task}/retry", headers=KEY)

    assert (answer.status_code, "asked for something else" in answer.text) == (409, True)
    assert await office.store.attempt(task) == 1


async def test_a_cancel_that_is_sent_again_is_answered_though_the_task_has_ended(
    admin: Client, office: Office
) -> None:
    office.nodes.on("deploy", waits)
    task = await begun(admin)
    await office.until_asked("deploy")

    assert (await admin.post(f"/tasks/{task}/cancel", headers=KEY)).status_code == 202
    await office.ended(task)
    again = await admin.post(f"/tasks/{task}/cancel", headers=KEY)

    assert (again.status_code, again.json()["status"]) == (202, "cancelled")
    assert (await admin.post(f"/tasks/{task}/cancel")).status_code == 409


async def test_an_abandon_that_is_sent_again_is_answered_though_the_task_has_ended(
    admin: Client, office: Office
) -> None:
    office.nodes.on("deploy", waits)
    task = await begun(admin)
    await office.until_asked("deploy")
    await office.nodes.disconnect("main")
    await office.runner.cancel(task)

    async def may_be_abandoned() -> bool:
        return (await office.task(task)).actions == ("abandon",)

    await until(may_be_abandoned)
    assert (await admin.post(f"/tasks/{task}/abandon", headers=KEY)).status_code == 202
    await office.ended(task)
    again = await admin.post(f"/tasks/{task}/abandon", headers=KEY)

    assert (again.status_code, again.json()["status"]) == (202, "cancelled")
    assert (await admin.post(f"/tasks/{task}/abandon")).status_code == 409
