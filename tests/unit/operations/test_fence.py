"""What keeps a node from starting a service that may be active elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from composia.errors import Conflict
from composia.operations import fence
from composia.operations.fence import Fence
from tests.twins.site import Twins


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    (tmp_path / "app").mkdir()
    return Twins(tmp_path / "app")


def put_up(twins: Twins, **more: object) -> None:
    there = {"task": "01MOVE", "side": "source", "epoch": 3, **more}
    fence.put_up(twins.site.state, Fence.model_validate(there))


async def test_a_service_without_a_fence_may_start(twins: Twins) -> None:
    await fence.pass_by(twins.site, epoch=0)
    assert fence.read(twins.site.state) is None


@pytest.mark.parametrize("side", ["source", "target", "left"])
async def test_nothing_of_the_same_placement_passes(twins: Twins, side: str) -> None:
    put_up(twins, side=side)
    with pytest.raises(Conflict, match="task 01MOVE"):
        await fence.pass_by(twins.site, epoch=3)
    assert fence.read(twins.site.state)


async def test_a_newer_placement_takes_it_down(twins: Twins) -> None:
    put_up(twins)
    await fence.pass_by(twins.site, epoch=4)
    assert fence.read(twins.site.state) is None


async def test_an_open_one_only_tells_what_was_made(twins: Twins) -> None:
    put_up(twins, side="target", open=True)
    await fence.pass_by(twins.site, epoch=3)
    assert fence.read(twins.site.state)


async def test_one_that_was_opened_because_nothing_started_again_goes(
    twins: Twins,
) -> None:
    put_up(twins, side="source", open=True)
    await fence.pass_by(twins.site, epoch=3)
    assert fence.read(twins.site.state) is None
