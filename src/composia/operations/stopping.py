"""Stopping containers: each is asked once, and what was asked is seen to its end.

An engine goes on with a stop whose asker is gone. A start changes nothing before the container has
exited, and a second signal ends many a program at once that is about to end well.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from composia.errors import Failure
from composia.operations.held import Kept
from composia.operations.project import containers_of, refuse_at_work
from composia.strategies.base import Site
from composia.tools.cancelling import to_the_end
from composia.tools.containers import ContainerInfo

#: Seconds between two looks at something that takes its time.
POLL = 0.1
#: Seconds between two tries to reach an engine that is away.
AWAY_POLL = 0.5
#: Seconds within which an engine has killed what did not end in the time of its stop.
TO_KILL = 15.0
#: Seconds to wait for one that may take as long as it likes: perhaps nobody has asked it.
ENDLESS = 3600.0

What = TypeVar("What")
#: When each container was started that is to stop, by its id: what runs since then may be stopping.
Runs = Mapping[str, str]


async def stop_once(
    stop: Callable[[], Coroutine[Any, Any, None]],
    asked: Sequence[Kept | ContainerInfo],
    site: Site,
) -> None:
    """Note what is asked to stop, and ask. When this returns or raises, no engine goes on with it.

    After a crash that is seen to by `let_stop`.
    """
    runs = await note_stop(asked, site)
    await to_the_end(_stop(stop, runs, site), lambda: _say([one.name for one in asked], site))


async def note_stop(asked: Iterable[Kept | ContainerInfo], site: Site) -> Runs:
    """Note what is about to be asked to stop."""
    runs = {one.id: one.started_at for one in asked}
    await site.notes.note("stopping", runs=runs)
    return runs


async def let_stop(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """After a crash: let what had been asked to stop come to its end in the engine."""
    if runs := notes.get("stopping", {}).get("runs"):
        await _let_stop(runs, site)


async def stop_for_good(site: Site) -> None:
    """Disarm and stop the project's containers, and see that they stay so.

    Raises Failure where one runs all the same.
    """
    own = [one for one in await containers_of(site) if not one.is_one_off]
    ran = [one for one in own if one.at_work]
    # The policies first: an engine that restarts starts what has one, stopped or not.
    armed = [one.id for one in own if one.restart_policy != "no"]
    await site.docker.set_restart_policy(armed, "no")
    await stop_once(partial(site.docker.stop, [one.id for one in ran]), ran, site)
    # One-offs too, though none was stopped: what one writes here from now on would be lost.
    refuse_at_work(await containers_of(site), site, where=f" on {site.node}")


async def _stop(stop: Callable[[], Awaitable[None]], runs: Runs, site: Site) -> None:
    try:
        await stop()
    except Failure:
        # Who asked has ended, and perhaps not the stop.
        await _let_stop(runs, site)
        raise


async def _let_stop(runs: Runs, site: Site) -> None:
    with contextlib.suppress(Failure):
        await persistently(wait_for_stop, runs, site)


async def wait_for_stop(runs: Runs, site: Site) -> None:
    """Wait for what still runs as it did when it was asked to stop, while it may be stopping.

    What runs on after its time does so because the engine was never asked.
    """
    began = asyncio.get_running_loop().time()
    said = False
    while stopping := await _may_be_stopping(runs, began, site):
        if not said:
            _say(stopping, site)
            said = True
        await asyncio.sleep(POLL)


async def _may_be_stopping(runs: Runs, began: float, site: Site) -> list[str]:
    waited = asyncio.get_running_loop().time() - began
    return [
        one.name
        for one in await site.docker.containers()
        if one.at_work
        and runs.get(one.id) == one.started_at
        and waited < (one.stop_grace if one.stop_grace >= 0 else ENDLESS) + TO_KILL
    ]


def _say(names: Iterable[str], site: Site) -> None:
    """Tell a person why it goes on: an engine does not take back a stop."""
    site.notes.log(f"Waiting for {', '.join(names)} to stop, which was asked already")


async def persistently(
    work: Callable[[What, Site], Awaitable[Any]], about: What, site: Site
) -> None:
    """Do it, again and again where the engine is away. Raises Failure where it answers."""
    while True:
        try:
            await work(about, site)
            return
        except Failure:
            if await _engine_answers(site):
                raise
        site.notes.log(f"Waiting for the Docker engine of {site.node}")
        await wait_for_engine(site)


async def wait_for_engine(site: Site) -> None:
    """Wait until the engine of this node answers."""
    while not await _engine_answers(site):  # noqa: ASYNC110  # nobody tells when it is back
        await asyncio.sleep(AWAY_POLL)


async def _engine_answers(site: Site) -> bool:
    return (await site.docker.versions())[0] is not None
