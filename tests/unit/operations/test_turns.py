"""A restore stops what sees its data, of other services too: who stops that has to wait."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from composia.model.service import ServiceRef
from composia.operations.backup import ItemToSave, SaveData
from composia.operations.hold import held
from composia.operations.service import Stop
from composia.operations.stopped import read_stopped
from composia.operations.turns import turn_of
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from tests.twins.compose import ProjectCompose
from tests.twins.site import Twins
from tests.waiting import until

REF = ServiceRef(
    name="my-app", folder="my-app", project="app", compose_files=("c.yaml",), revision="r1"
)
WAITING = "Waiting for web, which something else has stopped"


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    made = Twins(tmp_path)
    made.docker.add("web", policy="always", folder=made.folder)
    return made


async def test_a_stop_comes_after_a_hold_of_another_service_and_holds(twins: Twins) -> None:
    compose = ProjectCompose(twins)
    compose.services = {"web": "running"}
    site = replace(twins.site, compose=compose)
    there = await twins.docker.containers()

    async with turn_of(there, site), held(site, ["id-web"]):
        stop = asyncio.create_task(Stop(service=REF).perform(site))
        await until(lambda: WAITING in twins.notes.lines or stop.done())
        assert read_stopped(site.state) is None
    await stop

    assert twins.docker.running() == set()
    stopped = read_stopped(site.state)
    assert stopped
    assert [(one.policy, one.ran) for one in stopped.containers] == [("always", True)]


async def test_a_backup_in_a_hold_of_another_service_takes_no_policy_for_none(
    twins: Twins,
) -> None:
    (twins.folder / "data").mkdir()
    (twins.folder / "data/file").write_text("data")
    strategy = FilesTarAfterStop(strategy="files.tar_after_stop", include=("./data",))
    item = ItemToSave(name="data", backup_id="backup", strategy=strategy)
    there = await twins.docker.containers()

    async with turn_of(there, twins.site), held(twins.site, ["id-web"]):
        backup = asyncio.create_task(SaveData(service=REF, items=(item,)).perform(twins.site))
        await until(lambda: WAITING in twins.notes.lines or backup.done())
    saved = await backup

    assert saved.items[0].error is None
    assert twins.docker.running() == {"web"}
    assert twins.docker.policies() == {"web": "always"}


async def test_who_waits_for_one_that_is_taken_can_be_cancelled(twins: Twins) -> None:
    twins.docker.add("db")
    there = await twins.docker.containers()
    async with turn_of(there[:1], twins.site):
        waiting = asyncio.create_task(a_turn(twins))
        await until(lambda: WAITING in twins.notes.lines)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await asyncio.wait_for(a_turn(twins), 10)


async def a_turn(twins: Twins) -> None:
    async with turn_of(await twins.docker.containers(), twins.site):
        pass


async def test_who_waits_for_one_keeps_nobody_from_another(twins: Twins) -> None:
    twins.docker.add("db")
    web, db = await twins.docker.containers()
    async with turn_of([web], twins.site):
        waiting = asyncio.create_task(a_turn(twins))
        await until(lambda: WAITING in twins.notes.lines)
        async with asyncio.timeout(10), turn_of([db], twins.site):
            assert not waiting.done()
    await waiting
