"""The target of a move: its fence, its start with the right policies, and its end in an undo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from composia.errors import CommandFailed, Failure
from composia.model.service import ServiceRef
from composia.operations import answering, fence
from composia.operations.answering import quiet_ones
from composia.operations.arriving import ClearTarget, PrepareTarget, StartOnTarget, StopTarget
from composia.operations.cargo import Cargo
from composia.operations.fence import Fence
from composia.operations.stopped import Stopped, StoppedContainer, keep_stopped, read_stopped
from composia.operations.surveying import SurveySource, SurveyTarget
from composia.strategies.base import Site
from composia.tools.shell import Command
from tests.twins.compose import ProjectCompose
from tests.twins.docker import a_volume
from tests.twins.shell import Answer, MemoryShell
from tests.twins.site import Twins
from tests.twins.slow import Slow, died_in_its_stop, lets_it_stop

REF = ServiceRef(
    name="my-app", folder="my-app", project="app", compose_files=("c.yaml",), revision="r1"
)
PREPARE = PrepareTarget(service=REF, images={}, epoch=2)
OURS = Fence(task="01TASK", side="target", epoch=2, volumes_before=())


class World:
    """A node to which `my-app` comes."""

    def __init__(self, tmp_path: Path) -> None:
        self.twins = Twins(tmp_path / "services" / "my-app")
        self.compose = ProjectCompose(self.twins)
        self.compose.services = {"web": "running"}
        self.docker = self.twins.docker

    @property
    def site(self) -> Site:
        return replace(self.twins.site, compose=self.compose)

    def fenced(self, by: Fence) -> None:
        fence.put_up(self.site.state, by)

    def was_stopped(self) -> None:
        """By a person, who was asked to."""
        self.docker.add("web", policy="no", state="exited", folder=self.site.folder)
        web = StoppedContainer(id="id-web", name="web", policy="always", ran=True)
        keep_stopped(self.site.state, Stopped(containers=(web,)))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_what_a_person_had_stopped_here_has_its_policies_again(world: World) -> None:
    world.was_stopped()
    await PREPARE.perform(world.site)
    assert world.docker.policies() == {"web": "no"}
    await StartOnTarget(service=REF).perform(world.site)
    assert world.docker.policies() == {"web": "always"}
    assert read_stopped(world.site.state) is None


async def test_a_start_that_fails_forgets_no_policy(world: World) -> None:
    world.was_stopped()
    await PREPARE.perform(world.site)
    world.compose.fails = "up"
    with pytest.raises(CommandFailed):
        await StartOnTarget(service=REF).perform(world.site)
    await StopTarget(service=REF).perform(world.site)
    assert world.docker.running() == set()
    assert world.docker.policies() == {"web": "no"}
    assert read_stopped(world.site.state) is not None


async def test_no_newer_image_comes_along_whatever_the_pull_policy(world: World) -> None:
    await PREPARE.perform(world.site)
    await StartOnTarget(service=REF).perform(world.site)
    assert world.compose.done == ["create --pull missing", "up --pull never"]


async def test_what_the_start_leaves_alone_has_not_died_of_it(world: World) -> None:
    """An orphan, or one behind a profile, that was killed when the service was here before."""
    world.docker.add("debug", state="exited", folder=world.site.folder)
    world.docker.change("debug", exit_code=137)
    await PREPARE.perform(world.site)
    await StartOnTarget(service=REF).perform(world.site)
    found = fence.read(world.site.state)
    assert found is not None
    assert found.open
    assert world.docker.running() == {"web"}


async def test_what_dies_of_the_start_is_refused_though_it_had_died_before(world: World) -> None:
    world.docker.add("web", state="exited", folder=world.site.folder)
    world.docker.change("web", exit_code=137)
    world.compose.services = {"web": "exited 1"}
    with pytest.raises(Failure, match="web ended with code 1 after its start"):
        await StartOnTarget(service=REF).perform(world.site)


async def test_what_has_done_its_work_and_ended_well_is_asked_no_more(world: World) -> None:
    world.docker.add("job", folder=world.site.folder)
    world.docker.add("web", folder=world.site.folder)
    world.docker.change("job", health_command=("CMD", "true"), health_patience=30.0)

    def ends(_: Command) -> Answer:
        world.docker.change("job", state="exited", exit_code=0)
        return Answer(code=1)

    world.compose.shell = MemoryShell(ends)
    await StartOnTarget(service=REF).perform(world.site)
    assert world.docker.running() == {"web"}


@pytest.mark.parametrize("quiet", [None, (), ("web",)])
async def test_a_service_of_which_nothing_runs_has_not_answered(
    world: World, quiet: tuple[str, ...] | None
) -> None:
    """Whose only container ends well at once, and is not started again."""
    world.fenced(OURS)
    world.compose.services = {"web": "exited 0"}
    with pytest.raises(Failure, match="nothing of my-app runs on main") as raised:
        await StartOnTarget(service=REF, quiet=quiet).perform(world.site)
    assert raised.value.hint == "See why: docker logs web"
    found = fence.read(world.site.state)
    assert found is not None
    assert not found.open


async def test_one_that_ends_well_before_it_has_answered_is_not_waited_for(world: World) -> None:
    world.docker.add("web", folder=world.site.folder)
    world.docker.change("web", health_command=("CMD", "true"), health_patience=30.0)

    def ends(_: Command) -> Answer:
        world.docker.change("web", state="exited", exit_code=0)
        return Answer(code=1)

    world.compose.shell = MemoryShell(ends)
    with pytest.raises(Failure, match="nothing of my-app runs on main"):
        async with asyncio.timeout(10):
            await StartOnTarget(service=REF).perform(world.site)


@pytest.fixture
async def listening() -> AsyncIterator[int]:
    """A port of this machine at which somebody answers."""
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_worker_that_answers_at_no_port_need_not_answer_on_the_target(
    world: World, listening: int
) -> None:
    """Made from the image of the web server: it exposes the same port, and listens at none."""
    free = 1
    for name, port in {"web": listening, "worker": free, "ill": free}.items():
        world.docker.add(name, folder=world.site.folder)
        world.docker.change(name, address="127.0.0.1", ports=(port,))
    world.docker.change("ill", health_command=("CMD", "curl"), health="unhealthy")
    seen = await SurveySource(service=REF, cargo=()).perform(world.site)
    assert seen.quiet == ("worker",)

    world.docker.there.pop("ill")
    world.fenced(OURS)
    await StartOnTarget(service=REF, quiet=seen.quiet).perform(world.site)
    found = fence.read(world.site.state)
    assert found is not None
    assert found.open


async def test_what_has_just_been_started_may_have_yet_to_listen(world: World) -> None:
    world.docker.add("web", folder=world.site.folder)
    world.docker.change("web", started_at=datetime.now(UTC).isoformat())
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        world.docker.change("web", address="127.0.0.1", ports=(1,))
        looking = asyncio.ensure_future(SurveySource(service=REF, cargo=()).perform(world.site))
        await asyncio.sleep(0)
        assert await quiet_ones(world.site) == ("web",)
        assert not looking.done()
        world.docker.change("web", ports=(port,))
        assert (await looking).quiet == ()


def test_an_image_that_an_older_version_has_named_by_its_id_is_read() -> None:
    older = {"service": REF.model_dump(), "images": {"web:1": "sha256:1"}, "epoch": 2}
    assert PrepareTarget.model_validate(older).images == {"web:1": ("sha256:1",)}


async def test_variables_that_move_along_are_not_missed(world: World) -> None:
    world.site.folder.mkdir(parents=True)
    (world.site.folder / ".env").write_text("A=b")
    cargo = (Cargo(item="settings", include=("./.env",)),)
    assert not (await SurveySource(service=REF, cargo=cargo).perform(world.site)).own_variables


async def test_variables_that_are_nowhere_else_are_seen_on_both_sides(world: World) -> None:
    async def in_the_catalog(_: str) -> bytes:
        return b"A=b"

    world.site.folder.mkdir(parents=True)
    asks, looks = SurveySource(service=REF, cargo=()), SurveyTarget(service=REF)
    assert not (await asks.perform(world.site)).own_variables
    assert not (await looks.perform(world.site)).variables
    (world.site.folder / ".env").write_text("A=b")
    assert (await asks.perform(world.site)).own_variables
    assert (await looks.perform(world.site)).variables
    known = replace(world.site, read_catalog=in_the_catalog)
    assert not (await asks.perform(known)).own_variables


async def test_a_health_command_has_the_time_that_docker_gives_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "ANSWER", 0.0)
    world.docker.add("web", folder=world.site.folder)
    world.docker.change("web", health_command=("CMD", "rails", "runner"), health_patience=30.0)
    world.compose.shell = MemoryShell()
    slow = Slow(world.compose.shell, "run")
    async with asyncio.timeout(30):
        start = asyncio.create_task(StartOnTarget(service=REF, quiet=()).perform(world.site))
        await slow.has_begun()
        await asyncio.sleep(0)
        slow.go_on.set()
        await start
    assert len(world.compose.shell.commands) == 1


@pytest.mark.parametrize("quiet", [None, ()])
async def test_where_nobody_knows_who_answers_what_runs_is_enough(
    world: World, monkeypatch: pytest.MonkeyPatch, quiet: tuple[str, ...] | None
) -> None:
    """In a rescue: nobody can look at the source, and the service is down."""
    monkeypatch.setattr(answering, "PATIENCE", 0.1)
    monkeypatch.setattr(answering, "SLOW", 0.1)
    world.docker.add("web", folder=world.site.folder)
    world.docker.change("web", address="127.0.0.1", ports=(1,))
    start = StartOnTarget(service=REF, quiet=quiet)
    if quiet is None:
        await start.perform(world.site)
        assert "web of my-app did not answer on main" in world.twins.notes.lines[-1]
    else:
        with pytest.raises(Failure, match="web of my-app did not answer on main"):
            await start.perform(world.site)


@pytest.mark.parametrize(("is_open", "epoch"), [(False, 1), (True, 1), (True, 2)])
async def test_the_fence_of_another_attempt_is_closed_and_knows_what_is_there(
    world: World, tmp_path: Path, *, is_open: bool, epoch: int
) -> None:
    world.fenced(OURS.model_copy(update={"open": is_open, "epoch": epoch}))
    # Made by hand since that attempt, which could not be cleared.
    world.twins.volume("data", tmp_path / "volume")
    world.compose.declared = world.twins.compose.declared
    await PREPARE.perform(world.site)
    found = fence.read(world.site.state)
    assert found is not None
    assert (found.open, found.epoch, found.volumes_before) == (False, 2, ("app_data",))


async def test_a_question_that_is_asked_again_keeps_its_fence(world: World, tmp_path: Path) -> None:
    world.fenced(OURS)
    world.docker.volumes["app_data"] = a_volume("app_data", tmp_path / "volume")
    await PREPARE.perform(world.site)
    assert fence.read(world.site.state) == OURS


LEFT = Fence(
    task="01EARLIER", side="left", epoch=1, kept_until=datetime(2026, 11, 24, tzinfo=UTC),
    volumes_left=("app_data",),
)  # fmt: skip


async def test_nothing_runs_on_a_target_after_its_undo_whatever_its_fence_says(
    world: World,
) -> None:
    world.fenced(LEFT)
    world.docker.add("web", folder=world.site.folder)
    await ClearTarget(service=REF).perform(world.site)
    assert world.docker.running() == set()
    # What an earlier move has left there is none of this one's.
    assert fence.read(world.site.state) == LEFT


async def test_a_target_is_proven_stopped_or_that_is_an_error(world: World) -> None:
    world.docker.add("web", folder=world.site.folder)
    world.docker.does_not_stop.add("web")
    with pytest.raises(Failure, match="did not stop"):
        await StopTarget(service=REF).perform(world.site)
    world.docker.does_not_stop.clear()
    await StopTarget(service=REF).perform(world.site)
    assert world.docker.running() == set()


@pytest.mark.parametrize("undo", [StopTarget(service=REF), ClearTarget(service=REF)])
async def test_an_undo_whose_agent_died_in_the_stop_tells_nothing_twice(
    world: World, undo: StopTarget | ClearTarget
) -> None:
    world.fenced(LEFT)
    world.docker.add("web", folder=world.site.folder)
    notes = await died_in_its_stop(world.twins, undo.perform(world.site))
    await lets_it_stop(world.twins, undo.put_right(world.site, notes))
    await undo.perform(world.site)
    assert world.docker.signals == ["web"]


async def test_a_target_on_which_somebody_runs_something_is_not_stopped(world: World) -> None:
    world.docker.add("migration", one_off=True, folder=world.site.folder)
    with pytest.raises(Failure, match="did not stop on main"):
        await StopTarget(service=REF).perform(world.site)
    assert world.docker.running() == {"migration"}


async def test_what_was_cleared_is_not_cleared_twice(world: World, tmp_path: Path) -> None:
    """A stop of what came back leaves a fence of the move's own task, which knows no volumes."""
    world.fenced(Fence(task="01TASK", side="left", epoch=1))
    world.twins.volume("data", tmp_path / "volume")
    world.compose.declared = world.twins.compose.declared
    await ClearTarget(service=REF).perform(world.site)
    assert "app_data" in world.docker.volumes
