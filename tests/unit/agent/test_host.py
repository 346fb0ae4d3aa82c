"""What an agent says of its node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from composia.agent.host import Host
from composia.agent.sites import Sites
from composia.errors import Failure
from composia.operations import fence
from composia.operations.fence import Fence
from composia.operations.stopped import Stopped, keep_stopped
from composia.tools.containers import ContainerInfo
from tests.twins.docker import MemoryDocker
from tests.twins.site import MemoryCompose, NoShell
from tests.unit.agent.test_checkout import COMPOSE, Node


class DyingEngine(MemoryDocker):
    """One that answers no more as soon as `dies` says so."""

    alive = False

    async def containers(self, *, project: str | None = None) -> Sequence[ContainerInfo]:
        if not self.alive:
            raise Failure("the engine does not answer")
        return await super().containers(project=project)


@pytest.fixture
def engine() -> DyingEngine:
    return DyingEngine()


@pytest.fixture
async def host(tmp_path: Path, engine: DyingEngine) -> Host:
    """Of an agent that has just been started, beside an engine that has died."""
    node = Node(tmp_path)
    await node.update(COMPOSE)
    sites = SimpleNamespace(
        docker=engine,
        checkouts=node.checkouts,
        state=lambda name: tmp_path / "known" / name,
        compose=lambda _: MemoryCompose(node.folder, NoShell()),
    )
    (tmp_path / "known" / "my-app").mkdir(parents=True)
    return Host(cast("Sites", sites), lambda _: None)


async def test_what_is_checked_out_is_told_without_an_engine(host: Host) -> None:
    state = await host.look()
    assert not state.docker
    (there,) = state.instances
    assert (there.service, there.revision, there.held, there.left) == ("my-app", "r1", False, False)


async def test_a_look_that_hangs_hinders_no_later_one(
    host: Host, engine: DyingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(_: MemoryCompose) -> None:
        await asyncio.Event().wait()

    engine.alive = True
    with monkeypatch.context() as patch:
        patch.setattr("composia.agent.host.LOOK", 0.0)
        patch.setattr(MemoryCompose, "config", hangs)
        await host.show()
    assert not host.seen.is_set()
    await host.show()
    assert host.state.docker


async def test_and_whether_it_was_stopped_before(host: Host, tmp_path: Path) -> None:
    known = tmp_path / "known" / "my-app"
    keep_stopped(known, Stopped(proven=False))
    # It is only to stop: an engine that has died meanwhile has its containers run on.
    assert not (await host.look()).instances[0].held
    keep_stopped(known, Stopped())
    fence.put_up(known, Fence(task="01A", side="left", epoch=1))
    (there,) = (await host.look()).instances
    assert (there.held, there.left) == (True, True)
    fence.put_up(known, Fence(task="01A", side="target", epoch=1, open=True))
    assert not (await host.look()).instances[0].left


async def test_what_somebody_has_started_since_is_not_told_as_stopped_when_the_engine_dies(
    host: Host, engine: DyingEngine, tmp_path: Path
) -> None:
    keep_stopped(tmp_path / "known" / "my-app", Stopped())
    engine.add("web", project="my-app", state="exited")
    for state, held in (("exited", True), ("running", False), ("exited", True)):
        engine.change("web", state=state)
        engine.alive = True
        assert (await host.look()).docker
        engine.alive = False
        for _ in range(2):
            assert (await host.look()).instances[0].held is held
