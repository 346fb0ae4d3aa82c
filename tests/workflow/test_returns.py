"""Nodes that were given up and come back, while a rescue goes on and after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from composia.controller import returns
from composia.controller.asking import Question
from composia.controller.returns import Returns
from composia.errors import Conflict, Failure
from composia.model.service import CaddyRef
from composia.model.task import Status, Task
from composia.workflows.caddy import CaddySyncPlan
from composia.workflows.rescue import RescuePlan
from composia.workflows.service import DeployPlan
from tests.waiting import until
from tests.workflow.office import Office, backup, ref
from tests.workflow.test_restores import opens, restore

ANSWERS: dict[str, dict[str, Any]] = {
    "0_check": {"free": 1 << 40, "free_for_volumes": 1 << 40},
    "5_start_on_target": {"start_seconds": 0.5},
    "stop_stale": {"ran": {"my-app-web-1": "t"}, "stopped_at": "2026-11-24T04:00:00Z"},
}


def rescue() -> RescuePlan:
    return RescuePlan(
        service=ref(), gone="main", target="edge", nodes_before=("main",), nodes_after=("edge",)
    )


async def does(question: Question) -> dict[str, Any]:
    return ANSWERS[question.step]


@pytest.fixture
async def rescuing(office: Office, monkeypatch: pytest.MonkeyPatch) -> Office:
    """An office whose main node is away."""
    monkeypatch.setattr(returns, "AGAIN", 0.05)
    for step in ANSWERS:
        office.nodes.on(step, does)
    await office.nodes.disconnect("main")
    return office


@pytest.fixture
async def back(rescuing: Office) -> AsyncIterator[Returns]:
    made = Returns(rescuing.store, rescuing.admit, rescuing.runner, rescuing.nodes.online)
    yield made
    await made.aclose()


async def stopped(office: Office) -> list[Task]:
    return list(await office.store.tasks(type="stop-stale"))


async def comes(office: Office, back: Returns) -> None:
    await office.nodes.connect("main")
    await back.returned("main")


async def settled(office: Office) -> None:
    """The newest stop has succeeded, and the rescue's source is known to be stopped."""
    await office.until_asked("stop_stale")
    ended = await office.ended((await stopped(office))[0].id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert await office.store.left_behind("main") == []


async def test_one_that_comes_back_is_served_no_more(rescuing: Office, back: Returns) -> None:
    caddy = CaddyRef(
        service=ref("infra-caddy"), compose_service="caddy", config_dir="/etc/caddy", source="a"
    )
    plan = rescue().model_copy(update={"caddy_on_gone": caddy})
    await rescuing.ended((await rescuing.submit(plan)).id)
    await comes(rescuing, back)
    await settled(rescuing)
    # Before that is noted: a rescue that is undone then serves it again.
    assert rescuing.nodes.done[-2:] == ["main: stop_stale", "main: reload_caddy"]


async def test_one_that_comes_back_in_the_middle_is_stopped_at_once(
    rescuing: Office, back: Returns
) -> None:
    hold = asyncio.Event()

    async def starts(question: Question) -> dict[str, Any]:
        await hold.wait()
        return await does(question)

    rescuing.nodes.on("5_start_on_target", starts)
    task = await rescuing.submit(rescue())
    await rescuing.until_asked("5_start_on_target")
    await comes(rescuing, back)
    await settled(rescuing)
    hold.set()
    ended = await rescuing.ended(task.id)
    assert ended.status is Status.SUCCEEDED, ended.error
    # It was seen to be stopped: at its next return there is nothing to be stopped.
    await back.returned("main")
    assert len(await stopped(rescuing)) == 1


async def test_one_that_was_stopped_for_a_rescue_that_fails_runs_again(
    rescuing: Office, back: Returns
) -> None:
    hold = asyncio.Event()

    async def fails(question: Question) -> dict[str, Any]:
        await hold.wait()
        raise Failure("the image is broken")

    rescuing.nodes.on("5_start_on_target", fails)
    task = await rescuing.submit(rescue())
    await rescuing.until_asked("5_start_on_target")
    await comes(rescuing, back)
    await settled(rescuing)
    hold.set()
    ended = await rescuing.ended(task.id)
    assert ended.error is not None
    assert ended.error.message == "the image is broken"
    assert rescuing.nodes.done[-2:] == ["edge: undo_target", "main: undo_source"]


async def test_whoever_holds_the_service_there_is_waited_for(
    rescuing: Office, back: Returns
) -> None:
    gone_on = asyncio.Event()

    async def syncs(question: Question) -> dict[str, Any]:
        await gone_on.wait()
        raise Failure("no luck")

    rescuing.nodes.on("caddy_sync", syncs)
    caddy = CaddyRef(
        service=ref("infra-caddy"), compose_service="caddy", config_dir="/etc/caddy", source="a"
    )
    # It was at work there when the machine died.
    held = await rescuing.submit(CaddySyncPlan(service=ref(), caddy={"main": caddy}))
    await rescuing.ended((await rescuing.submit(rescue())).id)
    await comes(rescuing, back)
    await rescuing.until_asked("caddy_sync")
    assert await stopped(rescuing) == []
    gone_on.set()
    assert (await rescuing.ended(held.id)).status is Status.FAILED
    await settled(rescuing)


async def test_who_starts_it_elsewhere_is_not_waited_for(rescuing: Office, back: Returns) -> None:
    async def deploys(question: Question) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    rescuing.nodes.on("deploy", deploys)
    await rescuing.ended((await rescuing.submit(rescue())).id)
    await rescuing.submit(DeployPlan(service=ref(), on=("edge",), elsewhere=("main",)))
    await rescuing.until_asked("deploy")
    await comes(rescuing, back)
    await settled(rescuing)


async def test_nobody_works_on_what_is_being_stopped(rescuing: Office, back: Returns) -> None:
    gone_on = asyncio.Event()

    async def stops(question: Question) -> dict[str, Any]:
        await gone_on.wait()
        return await does(question)

    rescuing.nodes.on("stop_stale", stops)
    await rescuing.ended((await rescuing.submit(rescue())).id)
    await comes(rescuing, back)
    await rescuing.until_asked("stop_stale")
    with pytest.raises(Conflict, match=r"my-app@main is held by .* .stop-stale."):
        await rescuing.submit(backup())
    gone_on.set()
    await settled(rescuing)


async def test_a_backup_of_what_is_stale_is_not_worth_its_end(
    rescuing: Office, back: Returns
) -> None:
    async def saves(question: Question) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    rescuing.nodes.on("open_repository", opens)
    rescuing.nodes.on("save_data", saves)
    await rescuing.nodes.connect("main")
    held = await rescuing.submit(backup())
    await rescuing.until_asked("save_data")
    await rescuing.nodes.disconnect("main")
    await rescuing.ended((await rescuing.submit(rescue())).id)
    await comes(rescuing, back)
    ended = await rescuing.ended(held.id)
    assert ended.status is Status.CANCELLED
    log = await rescuing.logs.read(held.id)
    assert "Cancel was asked for: main had been given up, and what still runs of my-app" in log
    await settled(rescuing)
    # It was not begun anew.
    assert rescuing.nodes.done.count("main: save_data") == 1


async def test_a_restore_of_what_is_stale_is_not_worth_its_end(
    rescuing: Office, back: Returns
) -> None:
    async def fetches(question: Question) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    rescuing.nodes.on("open_repository", opens)
    rescuing.nodes.on("fetch_data", fetches)
    await rescuing.ended((await rescuing.submit(rescue())).id)
    held = await rescuing.submit(restore())
    await comes(rescuing, back)
    assert (await rescuing.ended(held.id)).status is Status.CANCELLED
    await settled(rescuing)


async def test_what_cannot_be_looked_up_does_not_end_the_trying(
    rescuing: Office, back: Returns, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    async def full(word: str) -> Sequence[str]:
        looked.append(word)
        if len(looked) == 1:
            raise OperationalError("SELECT", {}, Exception("database or disk is full"))
        return await holders(word)

    async def saves(question: Question) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    rescuing.nodes.on("open_repository", saves)
    await rescuing.submit(backup())
    await rescuing.ended((await rescuing.submit(rescue())).id)
    holders = rescuing.store.holders
    monkeypatch.setattr(rescuing.store, "holders", full)
    await comes(rescuing, back)
    await settled(rescuing)
    assert len(looked) > 1


async def test_a_stop_that_fails_is_tried_again(rescuing: Office, back: Returns) -> None:
    tried: list[str] = []

    async def engine_is_late(question: Question) -> dict[str, Any]:
        tried.append(question.key)
        if len(tried) < 3:
            raise Failure("the engine does not answer")
        return await does(question)

    rescuing.nodes.on("stop_stale", engine_is_late)
    task = await rescuing.submit(rescue())
    await rescuing.ended(task.id)
    await comes(rescuing, back)
    await until(lambda: len(tried) == 3)
    await settled(rescuing)
    # One task, however often: nothing removes their rows.
    assert len(await stopped(rescuing)) == 1


async def test_a_stop_that_failed_before_is_tried_again_at_the_next_hello(
    rescuing: Office, back: Returns
) -> None:
    async def engine_is_away(question: Question) -> dict[str, Any]:
        raise Failure("the engine does not answer")

    rescuing.nodes.on("stop_stale", engine_is_away)
    await rescuing.ended((await rescuing.submit(rescue())).id)
    await comes(rescuing, back)
    await rescuing.until_asked("stop_stale")
    await rescuing.nodes.disconnect("main")
    await until(lambda: not back._at_work)
    rescuing.nodes.on("stop_stale", does)
    await comes(rescuing, back)
    await until(lambda: not back._at_work)
    (only,) = await stopped(rescuing)
    assert only.status is Status.SUCCEEDED


async def test_a_full_disk_does_not_end_the_trying(
    rescuing: Office, back: Returns, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []

    async def full(node: str) -> list[str]:
        looked.append(node)
        if len(looked) == 2:
            raise OperationalError("SELECT", {}, Exception("database or disk is full"))
        return await left_behind(node)

    await rescuing.ended((await rescuing.submit(rescue())).id)
    left_behind = rescuing.store.left_behind
    monkeypatch.setattr(rescuing.store, "left_behind", full)
    await comes(rescuing, back)
    await settled(rescuing)
    assert len(looked) > 2


async def test_a_node_that_is_there_is_not_given_up(rescuing: Office, back: Returns) -> None:
    await rescuing.nodes.connect("main")
    ended = await rescuing.ended((await rescuing.submit(rescue())).id)
    assert ended.error is not None
    assert "is connected" in ended.error.message
    await back.returned("main")
    assert await stopped(rescuing) == []
