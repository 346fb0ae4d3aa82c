"""What a cancelled operation has to clear up is cleared up, however often it is cancelled."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from composia.operations import fence
from composia.operations.leaving import ExportData
from composia.operations.restore import FetchData, ItemToRestore
from composia.operations.service import Deploy, Restart, Stop
from composia.strategies import fresh_database
from composia.strategies.base import Wanted
from composia.strategies.files_copy import FilesCopyBack
from composia.strategies.fresh_database import Mounted
from composia.tools.compose import ComposeVolume
from composia.tools.volumes import PLAIN
from tests.twins.slow import Slow, cancelled_twice_while
from tests.unit.operations.test_service import REF, World

WANTED = Wanted(item="data", backup_id="01B", snapshot_id="5" * 64, saved_by="files.copy")


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.runs()
    made.site.folder.mkdir(parents=True)
    return made


async def is_cancelled_in_vain(slow: Slow, work: Any) -> None:
    """It ends as cancelled, and not before the slow call has ended."""
    task = asyncio.create_task(work)
    await cancelled_twice_while(slow, task)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_stop_that_failed_starts_the_service_again(world: World) -> None:
    world.compose.fails = "stop"
    await is_cancelled_in_vain(Slow(world.docker, "start"), Stop(service=REF).perform(world.site))
    assert world.docker.running() == {"web"}
    assert not world.is_stopped


async def test_a_restart_that_failed_starts_the_service_again(world: World) -> None:
    world.compose.fails = "restart"
    work = Restart(service=REF).perform(world.site)
    await is_cancelled_in_vain(Slow(world.docker, "start"), work)
    assert world.docker.running() == {"web"}


async def test_a_deploy_that_failed_leaves_a_stop_as_it_was(world: World) -> None:
    await Stop(service=REF).perform(world.site)
    world.compose.fails, world.compose.services = "up", {}
    # The first call gives the policies back.
    slow = Slow(world.docker, "set_restart_policy", after=1)
    await is_cancelled_in_vain(slow, Deploy(service=REF).perform(world.site))
    assert world.docker.policies() == {"web": "no", "job": "no"}


async def test_an_export_that_failed_takes_its_fence_down(world: World) -> None:
    export = ExportData(service=REF, wire="w", cargo=(), epoch=2)
    world.docker.does_not_stop = {"web"}
    slow = Slow(world.docker, "start")
    await is_cancelled_in_vain(slow, export.perform(world.site))
    assert fence.read(world.site.state) is None


async def test_what_was_fetched_in_vain_is_discarded(world: World, tmp_path: Path) -> None:
    world.compose.declared["pgdata"] = ComposeVolume(
        key="pgdata", name="app_pgdata", external=False, kind=PLAIN
    )
    world.docker.volumes_at = tmp_path / "volumes"
    item = ItemToRestore(wanted=WANTED, strategy=FilesCopyBack(include=("pgdata",)))
    work = FetchData(service=REF, items=(item,)).perform(world.site)
    await is_cancelled_in_vain(Slow(world.docker, "remove_volume"), work)
    assert world.docker.volumes == {}
    assert not (world.site.aside / world.site.task).exists()


async def test_a_database_by_itself_is_removed(world: World) -> None:
    name = "composia-01task-db"
    world.docker.add(name)
    mounted = Mounted("db", world.site.folder, None, "/var/lib/postgresql/data", (), ())

    async def work() -> None:
        async with fresh_database.alone(name, mounted, world.site):
            raise AssertionError("it does not start")

    await is_cancelled_in_vain(Slow(world.docker, "kill_and_remove"), work())
    assert name not in world.docker.there
