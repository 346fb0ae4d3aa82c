"""Whose turn it is to stop a container: a restore stops those of other services too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from composia.operations.held import Kept
from composia.strategies.base import Site
from composia.tools.containers import ContainerInfo

#: By a container's id, while somebody has its turn or waits for it.
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


@asynccontextmanager
async def turn_of(containers: Iterable[ContainerInfo | Kept], site: Site) -> AsyncIterator[None]:
    """Have these to oneself among those who stop containers here, and start them again.

    Who stops one that a hold has stopped already would take it for one that rests, and its policy
    for none; and the hold would start it afterwards.
    """
    # In one order for all: nobody waits for somebody who waits.
    wanted = {
        one.name: _turns.setdefault(one.id, asyncio.Lock())
        for one in sorted(containers, key=lambda one: one.id)
    }
    # Without any turn of its own, which others would wait for meanwhile.
    while taken := [name for name, turn in wanted.items() if turn.locked()]:
        site.notes.log(f"Waiting for {taken[0]}, which something else has stopped")
        async with wanted[taken[0]]:
            pass
    async with AsyncExitStack() as turns:
        for turn in wanted.values():
            await turns.enter_async_context(turn)
        yield
