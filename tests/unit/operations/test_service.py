"""Deploying, stopping and restarting: promises 1, 4 and 6."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from composia.errors import CommandFailed, Conflict, Failure, Invalid
from composia.model.service import ServiceRef
from composia.operations.service import Deploy, Restart, Stop
from composia.operations.stopped import Stopped, keep_stopped, read_stopped
from composia.strategies.base import Site
from composia.tools.shell import Command, Finished
from tests.twins.compose import ProjectCompose
from tests.twins.site import NoShell, Twins
from tests.twins.slow import died_in_its_stop, lets_it_stop

REF = ServiceRef(
    name="my-app", folder="my-app", project="app", compose_files=("c.yaml",), revision="r1"
)


class ServicesShell(NoShell):
    """Answers `docker compose config --services`."""

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        assert command.argv[-2:] == ("config", "--services")
        return Finished(command, 0, b"web\nrustic\n", b"")


class World:
    """A service with two containers, of which one was down before anything of ours."""

    def __init__(self, tmp_path: Path) -> None:
        self.twins = Twins(tmp_path / "services" / "my-app", shell=ServicesShell())
        self.compose = ProjectCompose(self.twins)
        self.docker = self.twins.docker

    @property
    def site(self) -> Site:
        return replace(self.twins.site, compose=self.compose)

    def runs(self) -> None:
        self.compose.services = {"web": "running", "job": "running"}
        self.docker.add("web", policy="unless-stopped", folder=self.site.folder)
        self.docker.add("job", policy="no", state="exited", folder=self.site.folder)

    @property
    def is_stopped(self) -> bool:
        return read_stopped(self.site.state) is not None

    @property
    def is_proven_stopped(self) -> bool:
        stopped = read_stopped(self.site.state)
        return stopped is not None and stopped.proven


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_deploy_that_finds_everything_in_place_says_so(world: World) -> None:
    world.compose.services = {"web": "running"}
    assert (await Deploy(service=REF).perform(world.site)).changed
    assert not (await Deploy(service=REF).perform(world.site)).changed
    assert world.compose.done == ["up", "up"]


async def test_files_that_changed_are_a_change_without_any_new_container(world: World) -> None:
    world.compose.services = {"web": "running"}
    await Deploy(service=REF).perform(world.site)
    site = replace(world.site, files_changed=True)
    assert (await Deploy(service=REF).perform(site)).changed


async def test_an_update_pulls_first(world: World) -> None:
    world.compose.services = {"web": "running"}
    await Deploy(service=REF, pull=True).perform(world.site)
    assert world.compose.done == ["pull", "up"]


async def test_a_project_from_another_folder_is_not_touched(world: World, tmp_path: Path) -> None:
    world.docker.add("web", folder=tmp_path / "elsewhere")
    for operation in (Deploy(service=REF), Stop(service=REF), Restart(service=REF)):
        with pytest.raises(Conflict, match="elsewhere"):
            await operation.perform(world.site)
    assert (world.compose.done, world.docker.done) == ([], [])


@pytest.mark.parametrize("state", ["exited 1", "restarting"])
async def test_a_container_that_dies_at_once_fails_the_deploy(world: World, state: str) -> None:
    world.compose.services = {"web": state}
    with pytest.raises(Failure, match="container web"):
        await Deploy(service=REF).perform(world.site)


async def test_a_container_that_has_done_its_work_may_end(world: World) -> None:
    world.compose.services = {"web": "running", "init": "exited 0"}
    assert (await Deploy(service=REF).perform(world.site)).changed


async def test_what_runs_on_demand_is_made_and_not_started(world: World) -> None:
    world.compose.services = {"web": "running", "rustic": "exited 2"}
    await Deploy(service=REF, on_demand=("rustic",)).perform(world.site)
    assert world.compose.done == ["create", "up web"]
    assert world.docker.there["rustic"].state == "created"


async def test_a_stop_takes_the_policies_first_and_keeps_the_containers(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    assert world.docker.done[:2] == ["policy no web", "stop web"]
    assert set(world.docker.there) == {"web", "job"}
    assert world.docker.running() == set()
    assert world.is_stopped


async def test_a_stop_holds_when_all_were_seen_to_have_stopped(world: World) -> None:
    world.runs()
    work = Stop(service=REF)
    notes = await died_in_its_stop(world.twins, work.perform(world.site))
    kept = read_stopped(world.site.state)
    assert kept
    assert not kept.proven
    await lets_it_stop(world.twins, work.put_right(world.site, notes))
    assert read_stopped(world.site.state) == kept.model_copy(update={"proven": True})


async def test_a_second_stop_that_fails_leaves_the_first_as_proven_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses() -> None:
        raise Invalid("required variable X is missing")

    world.runs()
    await Stop(service=REF).perform(world.site)
    monkeypatch.setattr(world.compose, "stop", refuses)
    with pytest.raises(Invalid):
        await Stop(service=REF).perform(world.site)
    kept = read_stopped(world.site.state)
    assert kept
    assert kept.proven


async def test_a_stop_whose_agent_died_takes_the_policy_of_what_came_since(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    world.docker.add("new", policy="always", folder=world.site.folder)
    await Stop(service=REF).put_right(world.site, {})
    assert world.docker.running() == set()
    assert world.docker.policies()["new"] == "no"


async def test_a_second_stop_remembers_the_policies_of_the_first(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    await Stop(service=REF).perform(world.site)
    await Deploy(service=REF).perform(world.site)
    assert world.docker.policies() == {"web": "unless-stopped", "job": "no"}


@pytest.mark.parametrize("operation", [Deploy(service=REF), Restart(service=REF)])
async def test_what_was_stopped_starts_with_its_policies(
    world: World, operation: Deploy | Restart
) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    await operation.perform(world.site)
    assert "web" in world.docker.running()
    assert world.docker.policies() == {"web": "unless-stopped", "job": "no"}
    assert not world.is_stopped


@pytest.mark.parametrize(
    ("operation", "fails"),
    [(Deploy(service=REF, on_demand=("rustic",)), "create"), (Restart(service=REF), "restart")],
)
async def test_a_stop_holds_on_when_the_service_could_not_be_started(
    world: World, operation: Deploy | Restart, fails: str
) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    world.compose.fails = fails
    with pytest.raises(CommandFailed):
        await operation.perform(world.site)
    assert world.docker.policies() == {"web": "no", "job": "no"}
    assert world.is_proven_stopped
    world.compose.fails = None
    await operation.perform(world.site)
    assert world.docker.policies()["web"] == "unless-stopped"


@pytest.mark.parametrize("operation", [Deploy(service=REF), Restart(service=REF)])
async def test_a_stop_holds_on_when_its_end_was_interrupted(
    world: World, operation: Deploy | Restart
) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    await operation.put_right(world.site, {})
    await world.docker.set_restart_policy(["id-web"], "unless-stopped")
    world.docker.starts_by_itself("web")
    await operation.put_right(world.site, {"ending_stop": {}})
    assert not world.is_proven_stopped
    world.docker.change("web", state="exited")
    await operation.put_right(world.site, {"ending_stop": {}})
    assert world.docker.policies() == {"web": "no", "job": "no"}
    assert world.is_proven_stopped


async def test_what_did_come_up_after_a_stop_keeps_its_policy(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    world.compose.services = {"web": "running"}
    world.compose.fails = "up"
    with pytest.raises(CommandFailed):
        await Deploy(service=REF).perform(world.site)
    assert world.docker.running() == {"web"}
    assert world.docker.policies() == {"web": "unless-stopped", "job": "no"}
    assert world.is_stopped
    # It would be deployed elsewhere beside what runs on, once the engine is away.
    assert not world.is_proven_stopped


async def test_a_stop_that_is_being_ended_is_not_proven_any_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    proven = []

    async def looks(*_: str, **__: str) -> None:
        proven.append(world.is_proven_stopped)
        # The engine dies: nothing more is known of what has come up by then.
        world.docker.away = 3
        raise CommandFailed("docker compose up failed: the engine does not answer")

    monkeypatch.setattr(world.compose, "up", looks)
    with pytest.raises(CommandFailed):
        await Deploy(service=REF).perform(world.site)
    assert (proven, world.is_stopped, world.is_proven_stopped) == ([False], True, False)


async def test_what_was_made_while_a_stop_was_to_end_belongs_to_it(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    world.compose.services["new"] = "running"
    world.compose.fails = "create"
    with pytest.raises(CommandFailed):
        await Deploy(service=REF, on_demand=("rustic",)).perform(world.site)
    assert world.docker.policies() == {"web": "no", "job": "no", "new": "no"}
    world.compose.fails = None
    await Deploy(service=REF).perform(world.site)
    assert world.docker.policies() == {"web": "unless-stopped", "job": "no", "new": "always"}


async def test_a_stop_that_failed_leaves_the_service_as_it_was(world: World) -> None:
    world.runs()
    world.compose.fails = "stop"
    with pytest.raises(CommandFailed):
        await Stop(service=REF).perform(world.site)
    assert world.docker.running() == {"web"}
    assert world.docker.policies() == {"web": "unless-stopped", "job": "no"}
    assert not world.is_stopped


async def test_what_goes_on_running_fails_the_stop(world: World) -> None:
    world.runs()
    world.docker.does_not_stop.add("web")
    with pytest.raises(Failure, match="web of my-app did not stop"):
        await Stop(service=REF).perform(world.site)
    assert not world.is_stopped


async def test_what_the_files_have_no_more_is_stopped_too(world: World) -> None:
    world.runs()
    world.docker.add("old", policy="always", folder=world.site.folder)
    await Stop(service=REF).perform(world.site)
    assert world.docker.running() == set()
    assert world.docker.policies()["old"] == "no"


async def test_what_the_files_have_no_more_does_not_break_a_restart(world: World) -> None:
    world.runs()
    world.docker.add("old", folder=world.site.folder)
    await Restart(service=REF).perform(world.site)
    assert world.compose.done == ["restart"]
    await Stop(service=REF).perform(world.site)
    await Restart(service=REF).perform(world.site)
    assert world.docker.running() == {"web", "old"}


async def test_a_stop_is_not_about_what_somebody_runs_beside(world: World) -> None:
    world.runs()
    world.docker.add("migration", one_off=True, folder=world.site.folder)
    await Stop(service=REF).perform(world.site)
    assert world.docker.running() == {"migration"}


async def test_a_stop_that_was_interrupted_goes_on(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    world.docker.starts_by_itself("web")
    await Stop(service=REF).put_right(world.site, world.twins.notes.noted)
    assert world.docker.running() == set()


async def test_a_stop_whose_agent_died_is_waited_for_and_not_asked_twice(world: World) -> None:
    world.runs()
    notes = await died_in_its_stop(world.twins, Stop(service=REF).perform(world.site))
    await lets_it_stop(world.twins, Stop(service=REF).put_right(world.site, notes))
    await Stop(service=REF).perform(world.site)
    assert world.docker.signals == ["web"]
    assert world.docker.running() == set()
    assert world.is_stopped


async def test_a_stop_whose_agent_died_before_it_asked_goes_on(world: World) -> None:
    world.runs()
    keep_stopped(world.site.state, Stopped().joined_by(world.docker.there.values()))
    await world.docker.set_restart_policy(["id-web"], "no")
    await Stop(service=REF).put_right(world.site, {})
    assert world.docker.running() == set()


async def test_a_stop_that_fails_after_a_crash_leaves_the_service_as_it_was(world: World) -> None:
    world.runs()
    notes = await died_in_its_stop(world.twins, Stop(service=REF).perform(world.site))
    world.docker.has_stopped("web")
    world.docker.add("api", folder=world.site.folder)
    world.docker.does_not_stop = {"api"}
    with pytest.raises(Failure, match="api of my-app did not stop"):
        await Stop(service=REF).put_right(world.site, notes)
    assert world.docker.running() == {"web", "api"}
    assert world.docker.policies() == {"web": "unless-stopped", "job": "no", "api": "always"}
    assert not world.is_stopped


async def test_a_stop_refused_by_compose_after_a_crash_leaves_the_service_as_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses() -> None:
        raise Invalid("required variable X is missing")

    world.runs()
    notes = await died_in_its_stop(world.twins, Stop(service=REF).perform(world.site))
    world.docker.has_stopped("web")
    monkeypatch.setattr(world.compose, "config", refuses)
    with pytest.raises(Invalid):
        await Stop(service=REF).put_right(world.site, notes)
    assert world.docker.running() == {"web"}
    assert not world.is_stopped


async def test_a_second_stop_that_fails_after_a_crash_leaves_the_first(world: World) -> None:
    world.runs()
    await Stop(service=REF).perform(world.site)
    await Stop(service=REF).perform(world.site)
    world.docker.starts_by_itself("web")
    world.docker.does_not_stop = {"web"}
    with pytest.raises(Failure, match="web of my-app did not stop"):
        await Stop(service=REF).put_right(world.site, world.twins.notes.noted)
    assert world.docker.policies()["web"] == "no"
    assert world.is_stopped


async def test_a_stop_that_was_interrupted_before_it_began_changes_nothing(world: World) -> None:
    world.runs()
    await Stop(service=REF).put_right(world.site, {})
    assert world.docker.running() == {"web"}


async def test_a_restart_without_containers_says_what_to_do(world: World) -> None:
    with pytest.raises(Conflict) as refused:
        await Restart(service=REF).perform(world.site)
    assert refused.value.hint == "Deploy it: composia deploy my-app"


async def test_a_restart_leaves_alone_what_has_done_its_work(world: World) -> None:
    world.runs()
    await Restart(service=REF).perform(world.site)
    assert world.docker.running() == {"web"}
    assert "start job" not in world.docker.done


async def test_a_restart_that_failed_starts_what_ran(world: World) -> None:
    world.runs()
    world.compose.fails = "restart"
    with pytest.raises(CommandFailed):
        await Restart(service=REF).perform(world.site)
    assert world.docker.running() == {"web"}


async def test_a_restart_that_was_interrupted_starts_what_ran(world: World) -> None:
    world.runs()
    await Restart(service=REF).perform(world.site)
    await world.docker.stop(["id-web", "id-job"])
    await Restart(service=REF).put_right(world.site, world.twins.notes.noted)
    assert world.docker.running() == {"web"}


async def test_a_restart_whose_agent_died_is_waited_for(world: World) -> None:
    world.runs()
    notes = await died_in_its_stop(world.twins, Restart(service=REF).perform(world.site))
    await lets_it_stop(world.twins, Restart(service=REF).put_right(world.site, notes))
    assert world.docker.signals == ["web"]
    assert world.docker.running() == {"web"}


async def cancelled_in_its_stop(world: World, performing: Coroutine[Any, Any, Any]) -> None:
    """Cancel it while web is being stopped, and let that come to its end."""
    world.docker.stops_slowly = {"web"}
    work = asyncio.create_task(performing)
    await world.docker.is_stopping.wait()
    work.cancel()
    await asyncio.sleep(0)
    world.docker.has_stopped("web")
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_a_cancelled_restart_starts_what_it_has_stopped(world: World) -> None:
    world.runs()
    await cancelled_in_its_stop(world, Restart(service=REF).perform(world.site))
    assert world.docker.running() == {"web"}
    assert world.twins.notes.lines == [
        "Waiting for web to be restarted: what was stopped is to run again"
    ]


async def test_a_cancelled_stop_starts_what_it_has_stopped(world: World) -> None:
    world.runs()
    world.compose.ends.clear()
    work = asyncio.create_task(Stop(service=REF).perform(world.site))
    await world.compose.stopping.wait()
    work.cancel()
    await asyncio.sleep(0)
    world.compose.ends.set()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert world.docker.running() == {"web"}
    assert not world.is_stopped


async def test_a_cancelled_stop_waits_for_what_was_asked_to_stop(world: World) -> None:
    world.runs()
    await cancelled_in_its_stop(world, Stop(service=REF).perform(world.site))
    assert world.docker.running() == {"web"}
    assert world.docker.policies()["web"] == "unless-stopped"
    assert not world.is_stopped
    assert "Waiting for web to stop, which was asked already" in world.twins.notes.lines


async def test_files_that_compose_refuses_are_told_before_anything_stops(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses() -> None:
        raise Invalid("required variable X is missing")

    world.runs()
    monkeypatch.setattr(world.compose, "config", refuses)
    with pytest.raises(Invalid, match="variable X"):
        await Stop(service=REF).perform(world.site)
    assert not any(done.startswith(("policy no", "stop")) for done in world.docker.done)
    assert world.docker.running() == {"web"}
    assert not world.is_stopped


async def test_a_stop_whose_engine_goes_away_is_undone_when_it_is_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.stopping.AWAY_POLL", 0)
    world.runs()
    set_policy = world.docker.set_restart_policy

    async def goes_away(containers: Collection[str], policy: str) -> None:
        if policy == "no":
            world.docker.away = 3
        await set_policy(containers, policy)

    monkeypatch.setattr(world.docker, "set_restart_policy", goes_away)
    with pytest.raises(Failure, match="does not answer"):
        await Stop(service=REF).perform(world.site)
    assert world.docker.running() == {"web"}
    assert not world.is_stopped
