"""What an agent says of its node."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from composia.agent.host import Host
from composia.agent.sites import Sites
from composia.errors import Failure
from composia.operations import fence
from composia.operations.fence import Fence
from composia.operations.stopped import Stopped, keep_stopped
from tests.unit.agent.test_checkout import COMPOSE, Node


class NoEngine:
    async def containers(self) -> Any:
        raise Failure("the engine does not answer")


@pytest.fixture
async def host(tmp_path: Path) -> Host:
    """Of an agent that has just been started, beside an engine that has died."""
    node = Node(tmp_path)
    await node.update(COMPOSE)
    sites = SimpleNamespace(
        docker=NoEngine(), checkouts=node.checkouts, state=lambda name: tmp_path / "known" / name
    )
    (tmp_path / "known" / "my-app").mkdir(parents=True)
    return Host(cast("Sites", sites), lambda _: None)


async def test_what_is_checked_out_is_told_without_an_engine(host: Host) -> None:
    state = await host.look()
    assert not state.docker
    (there,) = state.instances
    assert (there.service, there.revision, there.held, there.left) == ("my-app", "r1", False, False)


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
