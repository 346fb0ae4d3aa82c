"""A call of a twin that takes as long as a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Coroutine
from typing import Any

import pytest

from composia.errors import CommandFailed
from tests.twins.site import Twins
from tests.waiting import until

#: What the log says while an engine goes on with a stop of `web`.
WAITING = "Waiting for web to stop, which was asked already"


class Slow:
    """Calls of this name, but for the first few, take from now on until they are told to go on."""

    def __init__(self, twin: Any, name: str, *, after: int = 0) -> None:
        self._begun, self.go_on = asyncio.Event(), asyncio.Event()
        self._quick = after
        self._call = getattr(twin, name)
        setattr(twin, name, self._slowly)

    async def has_begun(self) -> None:
        """Wait for the first of them."""
        async with asyncio.timeout(30):
            await self._begun.wait()

    async def _slowly(self, *args: Any, **named: Any) -> Any:
        if self._quick > 0:
            self._quick -= 1
        else:
            self._begun.set()
            await self.go_on.wait()
        return await self._call(*args, **named)


async def cancelled_twice_while(slow: Slow, task: asyncio.Task[Any]) -> None:
    """Cancel a task again and again in such a call, and see that it waits for the call's end."""
    await slow.has_begun()
    for _ in range(2):
        task.cancel()
        # Longer than a task needs to end that does not wait.
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    slow.go_on.set()


async def cancelled_in_its_stop(twins: Twins, work: Awaitable[Any]) -> None:
    """Cancel work while `web` takes its time to stop: it ends when that has stopped."""
    twins.docker.stops_slowly = {"web"}
    task = asyncio.ensure_future(work)
    await twins.docker.is_stopping.wait()
    task.cancel()
    await until(lambda: WAITING in twins.notes.lines or task.done())
    twins.docker.has_stopped("web")
    with pytest.raises(asyncio.CancelledError):
        await task


async def died_in_its_stop(twins: Twins, work: Awaitable[Any]) -> dict[str, Any]:
    """The notes of an agent that died in this work, while the engine goes on to stop `web`."""
    twins.docker.stops_slowly = {"web"}
    task = asyncio.ensure_future(work)
    await twins.docker.is_stopping.wait()
    notes, there = dict(twins.notes.noted), dict(twins.docker.there)
    state = {path: path.read_bytes() for path in twins.site.state.glob("*.json")}
    twins.docker.has_stopped("web")
    twins.docker.stops_slowly = set()
    await task
    # All of it but the question has not been: a test can kill no agent.
    twins.docker.there, twins.docker.stops_slowly = there, {"web"}
    for path, content in state.items():
        path.write_bytes(content)
    for heard in (twins.docker.done, twins.docker.signals, twins.notes.noted, twins.notes.lines):
        heard.clear()
    await left_alone(twins.docker.stop(["id-web"]))
    return notes


async def lets_it_stop(twins: Twins, work: Awaitable[Any]) -> None:
    """See that such work goes on when `web` has stopped by itself, and not before."""
    task = asyncio.ensure_future(work)
    await until(lambda: WAITING in twins.notes.lines or task.done())
    assert not task.done()
    twins.docker.has_stopped("web")
    await task


def engine_goes_on_alone(twins: Twins) -> None:
    """Whoever asks for the stop of `web` fails, and the engine goes on with it; it is away then."""
    stop, docker = twins.docker.stop, twins.docker

    async def breaks_off(containers: Collection[str]) -> None:
        await left_alone(stop(containers))
        docker.away = 3
        raise CommandFailed("docker stop: error during connect")

    docker.stops_slowly, docker.stop = {"web"}, breaks_off  # type: ignore[method-assign]  # no engine


async def left_alone(stop: Coroutine[Any, Any, None]) -> None:
    """Ask for a stop, and end the program that waits for it."""
    task = asyncio.ensure_future(stop)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
