from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from composia.tools import manifest
from composia.tools.delta_frames import DATA
from composia.tools.wire import Wire
from tests.contract.wires_world import WIRE, WiresWorld, wires_world
from tests.unit.operations.carried import TwoNodes
from tests.waiting import until

MEGABYTE = 1024 * 1024
SIZE = 200 * MEGABYTE


class CutWire:
    """A wire that is hung up after some frames of data."""

    def __init__(self, wire: Wire, left: int) -> None:
        self._wire = wire
        self._left = left

    async def send(self, frame: bytes) -> None:
        self._left -= frame[:1] == DATA
        if self._left == 0:
            await self._wire._socket.close()  # type: ignore[attr-defined]
        await self._wire.send(frame)

    async def receive(self) -> bytes:
        return await self._wire.receive()


class RealWires(TwoNodes):
    """Two nodes that are joined by a real controller's door."""

    def __init__(self, folder: Path, world: WiresWorld) -> None:
        super().__init__(folder)
        self.world = world
        self.cut_after: list[int] = []
        self.source = replace(self.source, wire=self._cut)
        self.target = replace(self.target, wire=self._whole)
        for node in ("main", "edge"):
            world.ask(node)

    def _whole(self, _name: str) -> AbstractAsyncContextManager[Wire]:
        return self.world.wire("edge", WIRE)

    @asynccontextmanager
    async def _cut(self, _name: str) -> AsyncIterator[Wire]:
        async with self.world.wire("main", WIRE) as wire:
            yield CutWire(wire, self.cut_after.pop(0)) if self.cut_after else wire


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[RealWires]:
    async with wires_world() as world:
        nodes = RealWires(tmp_path, world)
        nodes.data.mkdir()
        with (nodes.data / "large").open("wb") as file:
            for _ in range(SIZE // MEGABYTE):
                file.write(os.urandom(MEGABYTE))
        for number in range(500):
            (nodes.data / f"small-{number}").write_bytes(b"%d" % number)
        yield nodes


def is_whole(nodes: RealWires) -> bool:
    there, here = (manifest.take(path) for path in (nodes.data, nodes.staged))
    with (nodes.data / "large").open("rb") as one, (nodes.staged / "large").open("rb") as other:
        while piece := one.read(MEGABYTE):
            if other.read(MEGABYTE) != piece:
                return False
    return not manifest.differences(there, here)


async def test_what_was_carried_before_a_cut_is_not_carried_again(nodes: RealWires) -> None:
    nodes.cut_after = [400, 100]

    sent, _ = await nodes.last()

    assert is_whole(nodes)
    # 100 MB and 25 MB had arrived, but for what was under way.
    assert sent.bytes < SIZE - 75 * MEGABYTE


async def test_hundreds_of_megabytes_need_little_memory(nodes: RealWires) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    await nodes.pre_copy()
    await nodes.last()

    assert is_whole(nodes)
    # Source, controller and target together.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


async def test_a_cancelled_copy_leaves_no_thread_that_writes(nodes: RealWires) -> None:
    copying = asyncio.create_task(nodes.pre_copy())
    await until((nodes.staged / "large").exists)
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)

    size = (nodes.staged / "large").stat().st_size
    await asyncio.sleep(0.1)

    assert (nodes.staged / "large").stat().st_size == size
