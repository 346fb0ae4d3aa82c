"""Calls for the repository: no node blocks the way for others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from composia.controller import relays, repository
from composia.controller.relays import Relay, Relays
from composia.errors import NodeLost
from composia.operations.messages import WayCall

REPOSITORY: Any = None


def main_node() -> Any:
    """A node that holds the repository, and takes what it is sent."""
    channel = SimpleNamespace(send=lambda message: None, closed=asyncio.Event())
    return SimpleNamespace(id="main", usable=channel)


@pytest.fixture
async def stack(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncExitStack]:
    monkeypatch.setattr(relays, "Serve", lambda **fields: fields)
    async with AsyncExitStack() as opened:
        yield opened


async def test_one_nodes_calls_leave_room_for_others(stack: AsyncExitStack) -> None:
    every, node = Relays(held=0.05), main_node()
    for _ in range(relays.MANY):
        await stack.enter_async_context(every.relayed(node, REPOSITORY, WayCall(), "bad"))

    with pytest.raises(NodeLost, match="too many"):
        await stack.enter_async_context(every.relayed(node, REPOSITORY, WayCall(), "bad"))
    assert await stack.enter_async_context(every.relayed(node, REPOSITORY, WayCall(), "good"))


async def test_a_call_too_many_waits_until_another_has_ended(stack: AsyncExitStack) -> None:
    every, node = Relays(), main_node()
    for _ in range(relays.MANY - 1):
        await stack.enter_async_context(every.relayed(node, REPOSITORY, WayCall(), "busy"))

    async def one_more() -> None:
        async with every.relayed(node, REPOSITORY, WayCall(), "busy"):
            return

    async with every.relayed(node, REPOSITORY, WayCall(), "busy"):
        waiting = asyncio.create_task(one_more())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 30)


async def test_a_body_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "STILL", 0.01)
    relay = Relay("main", REPOSITORY)

    async def receive() -> dict[str, Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    request = Request({"type": "http", "headers": []}, receive)
    await asyncio.wait_for(repository._send(request, relay), 30)

    with pytest.raises(NodeLost, match="stands still"):
        await anext(relay.body.chunks())
