"""A deploy that is cancelled, fails or loses its agent: what ran before runs again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from composia.errors import CommandFailed, Interrupted
from composia.model.service import ServiceRef
from composia.operations.service import Deploy, Stop
from composia.operations.stopped import read_stopped
from tests.twins.slow import died_in_its_stop, lets_it_stop
from tests.unit.operations.test_service import World
from tests.waiting import until

DEPLOY = Deploy(
    service=ServiceRef(
        name="my-app", folder="my-app", project="app", compose_files=("c.yaml",), revision="r2"
    )
)
WAITING = "Waiting for compose, which replaces web"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A service that runs, and of which a container is to be made anew."""
    monkeypatch.setattr("composia.operations.bringing_up.POLL", 0.01)
    world = World(tmp_path)
    world.compose.services = {"db": "running", "web": "running", "job": "exited 0"}
    for name in ("db", "web"):
        world.docker.add(name, policy="unless-stopped", folder=world.site.folder)
    world.docker.add("job", policy="no", state="exited", folder=world.site.folder)
    world.compose.changed = {"web"}
    return world


def begun(world: World) -> asyncio.Task[Any]:
    return asyncio.create_task(DEPLOY.perform(world.site))


async def told(task: asyncio.Task[Any]) -> str:
    """What the task says of its end."""
    with pytest.raises(Interrupted) as interrupted:
        await task
    return interrupted.value.message


async def test_compose_ends_what_it_is_replacing_when_a_deploy_is_cancelled(world: World) -> None:
    world.docker.stops_slowly = {"web"}
    world.compose.healthy.clear()
    task = begun(world)
    await world.docker.is_stopping.wait()
    for _ in range(2):
        task.cancel()
        await until(lambda: WAITING in world.twins.notes.lines or task.done())
    assert not task.done()
    world.docker.has_stopped("web")
    assert await told(task) == (
        "the deploy of my-app ended in the middle: db runs as before, web runs anew"
    )
    assert world.docker.running() == {"web", "db"}
    assert world.docker.there["web"].id == "id-id-web_web"
    assert world.twins.notes.lines == [WAITING]


async def test_a_deploy_cancelled_while_it_waits_for_health_starts_what_ran(world: World) -> None:
    world.compose.healthy.clear()
    task = begun(world)
    await until(lambda: not world.compose.changed)
    task.cancel()
    assert "web runs anew" in await told(task)
    assert world.docker.running() == {"web", "db"}
    # A job that had ended is not begun again.
    assert "start job" not in world.docker.done


async def test_a_deploy_cancelled_before_it_has_replaced_anything_changes_nothing(
    world: World,
) -> None:
    world.compose.pulled.clear()
    task = begun(world)
    await until(lambda: "bringing_up" in world.twins.notes.noted)
    task.cancel()
    assert (await told(task)).endswith(": db runs as before, web runs as before")
    assert world.docker.done == []


async def test_a_first_deploy_that_is_cancelled_says_that_nothing_runs(world: World) -> None:
    world.docker.there.clear()
    world.compose.pulled.clear()
    task = begun(world)
    await until(lambda: "bringing_up" in world.twins.notes.noted)
    task.cancel()
    assert (await told(task)).endswith("in the middle: nothing runs")


async def test_a_cancelled_deploy_whose_engine_has_died_does_not_guess(world: World) -> None:
    world.docker.there.clear()
    world.compose.healthy.clear()
    world.compose.changed = set()
    task = begun(world)
    await until(lambda: "bringing_up" in world.twins.notes.noted)
    world.docker.away = 1000
    task.cancel()
    assert (await told(task)).endswith("in the middle: what runs of it is not known")


async def test_what_compose_has_left_down_runs_again_when_it_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: str, **__: str) -> None:
        await world.compose.replace("web")
        raise CommandFailed("docker compose up of app failed: no space left on device")

    monkeypatch.setattr(world.compose, "up", refused)
    with pytest.raises(CommandFailed, match="no space left"):
        await DEPLOY.perform(world.site)
    assert world.docker.running() == {"web", "db"}


async def test_what_cannot_be_started_again_is_told(world: World) -> None:
    world.compose.healthy.clear()
    world.docker.does_not_start = {"web"}
    task = begun(world)
    await until(lambda: not world.compose.changed)
    task.cancel()
    assert (await told(task)).endswith(": db runs as before, web does not run")
    assert any("could be started again: docker start: web" in x for x in world.twins.notes.lines)


@pytest.mark.parametrize(("state", "code"), [("running", None), ("exited", 1), ("exited", 0)])
async def test_what_waits_for_a_job_is_not_started_before_that_has_ended_well(
    world: World, state: str, code: int | None
) -> None:
    labels = {**world.docker.there["web"].labels}
    labels["com.docker.compose.depends_on"] = "job:service_completed_successfully:false"
    world.docker.change("web", labels=labels)
    world.compose.healthy.clear()
    task = begun(world)
    await until(lambda: not world.compose.changed)
    world.docker.change("job", state=state, exit_code=code)
    task.cancel()
    assert ("web runs anew" in await told(task)) == (code == 0)
    assert ("web" in world.docker.running()) == (code == 0)


async def test_compose_that_fails_after_a_cancel_is_heard_of(world: World) -> None:
    world.docker.stops_slowly = {"web"}
    world.compose.fails = "up"
    task = begun(world)
    await world.docker.is_stopping.wait()
    task.cancel()
    await until(lambda: WAITING in world.twins.notes.lines)
    world.docker.has_stopped("web")
    with pytest.raises(CommandFailed, match="port is already allocated"):
        await task


async def test_an_engine_that_goes_away_is_waited_for_when_something_ran(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.stopping.AWAY_POLL", 0)
    world.compose.healthy.clear()
    task = begun(world)
    await until(lambda: not world.compose.changed)
    world.docker.away = 20
    task.cancel()
    assert "web runs anew" in await told(task)
    assert world.docker.running() == {"web", "db"}


async def test_an_agent_that_died_while_a_container_was_replaced_starts_the_old_one(
    world: World,
) -> None:
    notes = await died_in_its_stop(world.twins, DEPLOY.perform(world.site))
    await lets_it_stop(world.twins, DEPLOY.put_right(world.site, notes))
    assert world.docker.signals == ["web"]
    assert world.docker.there["web"].id == "id-web"
    assert world.docker.running() == {"web", "db"}
    # Beside what was left over, compose could not make another one.
    assert "id-web_web" not in world.docker.there


async def test_what_an_ended_compose_has_left_over_stands_in_the_way_of_no_deploy(
    world: World,
) -> None:
    world.docker.add("id-web_web", state="created", folder=world.site.folder)
    assert (await DEPLOY.perform(world.site)).changed
    assert set(world.docker.there) == {"web", "db", "job"}


async def test_and_the_new_one_where_the_old_one_has_gone(world: World) -> None:
    notes = await died_in_its_stop(world.twins, DEPLOY.perform(world.site))
    world.docker.has_stopped("web")
    del world.docker.there["web"]
    await DEPLOY.put_right(world.site, notes)
    assert world.docker.running() == {"web", "db"}
    assert world.docker.there["web"].id == "id-id-web_web"


async def test_what_cannot_be_started_after_a_crash_is_left_to_the_next_deploy(
    world: World,
) -> None:
    notes = await died_in_its_stop(world.twins, DEPLOY.perform(world.site))
    world.docker.has_stopped("web")
    world.docker.does_not_start = {"web"}
    await DEPLOY.put_right(world.site, notes)
    assert world.twins.notes.lines[-1] == "my-app: db runs as before, web does not run"


async def test_as_many_of_a_compose_service_run_again_as_did(world: World) -> None:
    world.compose.changed = set()
    world.docker.add("web-2", folder=world.site.folder)
    world.docker.change("web-2", labels=world.docker.there["web"].labels)
    world.docker.add("web-3", folder=world.site.folder, state="exited")
    world.docker.change("web-3", labels=world.docker.there["web"].labels)
    await DEPLOY.perform(world.site)
    notes = dict(world.twins.notes.noted)
    await world.docker.stop(["id-web"])
    await DEPLOY.put_right(world.site, notes)
    assert world.docker.running() == {"web", "web-2", "db"}


async def test_of_several_replaced_at_once_each_runs_once(world: World) -> None:
    world.compose.changed = set()
    of_web(world, "web", "1")
    of_web(world, "web-2", "2", state="running")
    await DEPLOY.perform(world.site)
    notes = dict(world.twins.notes.noted)
    # The first has gone, the second is stopping; the engine tells of the newest first.
    del world.docker.there["web"]
    of_web(world, "id-web-2_web-2", "2", state="created")
    of_web(world, "web-1", "1", state="created")
    await world.docker.stop(["id-web-2"])
    await DEPLOY.put_right(world.site, notes)
    assert world.docker.running() == {"web-1", "web-2", "db"}
    assert set(world.docker.there) == {"web-1", "web-2", "db", "job"}


@pytest.mark.parametrize("has_gone", [False, True])
async def test_a_name_that_is_new_too_leaves_nothing_in_the_way(
    world: World, has_gone: bool
) -> None:
    world.compose.changed = set()
    await DEPLOY.perform(world.site)
    notes = dict(world.twins.notes.noted)
    of_web(world, "id-web_site", "1", state="created")
    await world.docker.stop(["id-web"])
    if has_gone:
        del world.docker.there["web"]
    await DEPLOY.put_right(world.site, notes)
    assert world.docker.running() == {"site" if has_gone else "web", "db"}
    assert "id-web_site" not in world.docker.there


async def test_what_was_run_by_hand_is_not_taken_for_what_is_replaced(world: World) -> None:
    of_web(world, "web", "1")
    of_web(world, "web-run", "1", state="exited", one_off=True)
    world.compose.healthy.clear()
    task = begun(world)
    await until(lambda: not world.compose.changed)
    task.cancel()
    assert "web runs anew" in await told(task)
    assert "start web-run" not in world.docker.done


async def test_a_job_that_ends_well_meanwhile_is_not_begun_again(world: World) -> None:
    world.docker.change("job", state="running")
    world.compose.changed = set()
    world.compose.healthy.clear()
    task = begun(world)
    await until(lambda: "bringing_up" in world.twins.notes.noted)
    world.docker.change("job", state="exited", exit_code=0)
    task.cancel()
    await told(task)
    assert world.docker.running() == {"web", "db"}


def of_web(world: World, name: str, number: str, **like: Any) -> None:
    """Put a container of web there, as compose labels it, or label the one that is there."""
    if name not in world.docker.there:
        world.docker.add(name, folder=world.site.folder, **like)
    labels = {
        **world.docker.there[name].labels,
        "com.docker.compose.service": "web",
        "com.docker.compose.container-number": number,
    }
    world.docker.change(name, labels=labels)


async def test_an_agent_that_died_in_a_deploy_starts_nothing_that_was_stopped(
    world: World,
) -> None:
    await Stop(service=DEPLOY.service).perform(world.site)
    world.compose.fails = "up"
    with pytest.raises(CommandFailed):
        await DEPLOY.perform(world.site)
    await world.docker.stop(["id-db", world.docker.there["web"].id])
    await DEPLOY.put_right(world.site, world.twins.notes.noted)
    assert world.docker.running() == set()
    kept = read_stopped(world.site.state)
    assert kept
    assert kept.proven
