"""Promise 18: a source is fenced before it stops, and proven stopped before that counts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.model.service import ServiceRef
from composia.operations import fence
from composia.operations.leaving import ExportData, StopSource
from tests.twins.site import Twins

SERVICE = ServiceRef(
    name="my-app",
    folder="my-app",
    project="my-app",
    compose_files=("docker-compose.yaml",),
    revision="0" * 40,
)
EXPORT = ExportData(service=SERVICE, wire="w", cargo=(), epoch=2)
STOP = StopSource(service=SERVICE, epoch=2)


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    made = Twins(tmp_path)
    made.docker.add("web", policy="always")
    return made


async def test_the_fence_stands_before_anything_stops(twins: Twins) -> None:
    async def policy(containers: Collection[str], policy: str) -> None:
        found = fence.read(twins.site.state)
        stood.append(found.side if found else None)
        await change(containers, policy)

    change, stood = twins.docker.set_restart_policy, list[str | None]()
    twins.docker.set_restart_policy = policy  # type: ignore[method-assign]  # it looks first
    await EXPORT.perform(twins.site)
    assert stood == ["source"]
    assert twins.docker.running() == set()


async def test_what_stayed_stopped_is_proven(twins: Twins) -> None:
    await EXPORT.perform(twins.site)
    await STOP.perform(twins.site)
    assert twins.docker.running() == set()


@pytest.mark.parametrize(
    "somebody",
    [
        lambda twins: twins.docker.starts_by_itself("web"),
        lambda twins: twins.docker.starts_and_ends("web"),
    ],
    ids=["runs", "has run"],
)
async def test_what_somebody_started_since_is_not(
    twins: Twins, somebody: Callable[[Twins], None]
) -> None:
    await EXPORT.perform(twins.site)
    somebody(twins)
    with pytest.raises(Failure, match="web"):
        await STOP.perform(twins.site)


async def test_without_its_fence_nothing_is_proven(twins: Twins) -> None:
    await EXPORT.perform(twins.site)
    fence.take_down(twins.site.state)
    with pytest.raises(Failure, match="not fenced on main by this move"):
        await STOP.perform(twins.site)
