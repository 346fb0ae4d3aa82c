"""Streams that go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from composia.controller.api import streams
from composia.errors import Denied


class Caller:
    """One who may have a stream until somebody says otherwise."""

    allowed = True

    async def is_still_allowed(self) -> bool:
        return self.allowed


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await asyncio.sleep(0)


async def silent() -> AsyncIterator[bytes]:
    yield b"x"
    await asyncio.Event().wait()


@pytest.mark.parametrize("source", [endless, silent])
async def test_a_revoked_token_loses_its_streams(
    monkeypatch: pytest.MonkeyPatch, source: object
) -> None:
    monkeypatch.setattr(streams, "AGAIN", 0.01)
    caller, heard = Caller(), 0

    async def listens() -> None:
        nonlocal heard
        async for _ in streams.while_allowed(caller, source()):  # type: ignore[arg-type,operator]
            heard += 1
            caller.allowed = False

    # No end as of what is whole: half a download is none.
    with pytest.raises(Denied):
        await asyncio.wait_for(listens(), 30)

    assert heard >= 1


async def test_events_of_a_revoked_token_end_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "AGAIN", 0.01)
    caller, heard = Caller(), 0

    async def listens() -> None:
        nonlocal heard
        async for _ in streams.events(caller, endless()).body_iterator:  # type: ignore[arg-type]
            heard += 1
            caller.allowed = False

    await asyncio.wait_for(listens(), 30)

    assert heard >= 1


async def test_a_stream_that_ends_has_come_whole() -> None:
    async def some() -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"

    found = [one async for one in streams.while_allowed(Caller(), some())]  # type: ignore[arg-type]

    assert found == [b"1", b"2"]
