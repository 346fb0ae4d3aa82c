"""Pipes on either loop: closed with their transport, and never a second time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from composia.tools import pipes

LINE = 100
Runs = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def runs(request: pytest.FixtureRequest) -> Runs:
    """Each loop that Composia runs on."""
    return request.param  # type: ignore[no-any-return]


def test_what_goes_in_comes_out(runs: Runs) -> None:
    async def carried() -> None:
        reading, writing = os.pipe()
        reader, read_from = await pipes.reader(reading, LINE)
        writer, written_to = await pipes.writer(writing)
        writer.write(b"one\n")
        await writer.drain()
        assert await reader.readline() == b"one\n"

        written_to.close()
        assert await reader.read() == b""
        read_from.close()
        await asyncio.sleep(0)
        assert not _is_open(reading)
        assert not _is_open(writing)

    runs(carried())


@pytest.mark.parametrize("way", ["reader", "writer"])
def test_a_pipe_that_uvloop_has_closed_is_not_closed_again(way: str) -> None:
    # By then its number may be that of another thread's file.
    async def closed() -> bool:
        here, there = os.pipe()
        if way == "reader":
            _, transport = await pipes.reader(here, LINE)
        else:
            here, there = there, here
            _, transport = await pipes.writer(here)
        file = transport.get_extra_info("pipe")
        transport.close()
        await asyncio.sleep(0)
        assert not _is_open(here)
        os.close(there)
        closes_it_too: bool = file.closefd
        return closes_it_too

    assert not uvloop.run(closed())


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
