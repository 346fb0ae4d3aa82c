from __future__ import annotations

import asyncio

import pytest

from composia.controller.pipes import CHUNKS, Closed, Pipe
from composia.errors import Failure


async def test_whoever_puts_waits_for_whoever_takes() -> None:
    pipe = Pipe()
    for _ in range(CHUNKS):
        await pipe.put(b"x")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pipe.put(b"y"), 0.02)


async def test_nobody_puts_into_what_is_closed() -> None:
    pipe = Pipe()
    await pipe.close()

    with pytest.raises(Closed):
        await pipe.put(b"x")


async def test_what_came_before_an_error_is_read() -> None:
    pipe = Pipe()
    await pipe.put(b"x")
    await pipe.end(Failure("broken"))
    chunks = pipe.chunks()

    assert await anext(chunks) == b"x"
    with pytest.raises(Failure, match="broken"):
        await anext(chunks)
