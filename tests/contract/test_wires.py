from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import AsyncIterator

import pytest

from composia.errors import WireCut
from composia.tools.wire import LARGEST_FRAME
from tests.contract.wires_world import WiresWorld, wires_world


@pytest.fixture
async def world() -> AsyncIterator[WiresWorld]:
    async with wires_world() as made:
        yield made


@pytest.fixture
async def asked(world: WiresWorld) -> WiresWorld:
    world.ask("main")
    world.ask("edge")
    return world


async def test_frames_pass_in_order_and_in_both_directions(asked: WiresWorld) -> None:
    async def speaks(node: str, word: bytes) -> list[bytes]:
        async with asked.wire(node) as wire:
            for number in range(100):
                await wire.send(b"%s %d" % (word, number))
            heard = [await wire.receive() for _ in range(100)]
            # Both have heard everything before one hangs up.
            await wire.send(b"end")
            assert await wire.receive() == b"end"
            return heard

    main, edge = await asyncio.gather(speaks("main", b"main"), speaks("edge", b"edge"))

    assert main == [b"edge %d" % number for number in range(100)]
    assert edge == [b"main %d" % number for number in range(100)]


async def test_a_node_waits_until_the_other_one_is_asked(world: WiresWorld) -> None:
    world.ask("main")
    waiting = asyncio.create_task(_sends(world, "main", b"hello"))
    await asyncio.sleep(0)
    world.ask("edge")

    async with world.wire("edge") as wire:
        assert await wire.receive() == b"hello"
    await waiting


async def test_a_node_dials_until_the_controller_is_back(asked: WiresWorld) -> None:
    controller, turned_away = asked.url, asyncio.Event()

    # The client itself asks once more, so the third call is one of ours.
    calls = itertools.count(1)

    async def turn_away(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(calls) == 3:
            turned_away.set()
        writer.close()

    async with await asyncio.start_server(turn_away, "127.0.0.1", 0) as door:
        port = door.sockets[0].getsockname()[1]
        asked.url = f"http://127.0.0.1:{port}"
        waiting = asyncio.create_task(_sends(asked, "main", b"hello"))
        async with asyncio.timeout(30):
            await turned_away.wait()
    asked.url = controller
    async with asyncio.timeout(30), await _leading_to(controller, port), asked.wire("edge") as wire:
        assert await wire.receive() == b"hello"
    await waiting


async def _leading_to(controller: str, port: int) -> asyncio.Server:
    """What a controller listens on that has started again."""
    host, _, there = controller.removeprefix("http://").partition(":")

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(there))
        await asyncio.gather(pour(reader, far_writer), pour(far_reader, writer))

    return await asyncio.start_server(lead, "127.0.0.1", port)


async def test_a_node_that_comes_alone_gives_up(world: WiresWorld) -> None:
    world.ask("main")
    world.patience = 0.2

    with pytest.raises(WireCut, match="did not come to wire"):
        async with world.wire("main"):
            pass


@pytest.mark.parametrize(("node", "wire"), [("third", "01TASK-data"), ("main", "another")])
async def test_nobody_joins_a_wire_that_is_not_named_in_its_question(
    asked: WiresWorld, monkeypatch: pytest.MonkeyPatch, node: str, wire: str
) -> None:
    monkeypatch.setattr("composia.agent.wires.UNKNOWN", 0.0)

    with pytest.raises(WireCut, match=r"refused wire .* \(40[34]\)"):
        async with asked.wire(node, wire):
            pass


async def test_when_one_end_goes_the_other_reads_what_came_and_then_is_cut(
    asked: WiresWorld,
) -> None:
    leaving = asyncio.create_task(_sends(asked, "main", b"last words"))

    async with asked.wire("edge") as wire:
        assert await wire.receive() == b"last words"
        with pytest.raises(WireCut):
            await wire.receive()
    await leaving


async def test_when_a_question_ends_both_ends_are_cut(asked: WiresWorld) -> None:
    async def listens(node: str) -> None:
        async with asked.wire(node) as wire:
            if node == "edge":
                asked.end("main")
            with pytest.raises(WireCut):
                await wire.receive()

    async with asyncio.timeout(30):
        await asyncio.gather(listens("main"), listens("edge"))


async def test_a_node_that_dials_again_takes_its_own_place(asked: WiresWorld) -> None:
    joined = asyncio.Event()

    async def is_replaced() -> None:
        async with asked.wire("main") as wire:
            joined.set()
            with pytest.raises(WireCut):
                await wire.receive()

    async def dials_twice() -> None:
        async with asked.wire("edge") as wire:
            with pytest.raises(WireCut):
                await wire.receive()
        async with asked.wire("edge") as wire:
            assert await wire.receive() == b"again"

    first, edge = asyncio.create_task(is_replaced()), asyncio.create_task(dials_twice())
    await joined.wait()
    async with asyncio.timeout(30):
        await _sends(asked, "main", b"again")
        await asyncio.gather(first, edge)


async def test_memory_is_bounded_while_a_slow_end_is_sent_hundreds_of_megabytes(
    asked: WiresWorld,
) -> None:
    frame, frames = bytes(LARGEST_FRAME), 300
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ahead: list[int] = []
    sent = received = 0

    async def pours() -> None:
        nonlocal sent
        async with asked.wire("main") as wire:
            for _ in range(frames):
                await wire.send(frame)
                sent += 1
            await wire.receive()

    async def sips() -> None:
        nonlocal received
        async with asked.wire("edge") as wire:
            for number in range(frames):
                if number < 5:
                    await asyncio.sleep(0.05)
                assert len(await wire.receive()) == LARGEST_FRAME
                received += 1
                ahead.append(sent - received)
            await wire.send(b"done")

    async with asyncio.timeout(60):
        await asyncio.gather(pours(), sips())

    assert max(ahead) <= 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


async def _sends(world: WiresWorld, node: str, frame: bytes) -> None:
    async with world.wire(node) as wire:
        await wire.send(frame)
