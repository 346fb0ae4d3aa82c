"""Whose turn it is to stop a container: a restore stops those of other services too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from composia.operations.held import Kept
from composia.strategies.base import Site
from composia.tools.containers import ContainerInfo

#: By a container's id, while somebody has its turn or waits for it.
_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


class Turn:
    """The containers that somebody has to himself."""

    def __init__(self, site: Site, until: AsyncExitStack) -> None:
        self._site = site
        self._until = until
        self._ids: set[str] = set()

    def is_of(self, containers: Iterable[ContainerInfo]) -> bool:
        """Whether all of these are among them."""
        return all(one.id in self._ids for one in containers)

    async def take(self, containers: Collection[ContainerInfo | Kept]) -> None:
        """Have these too, as soon as nobody else has one of them.

        What is waited for by who has a turn already was made after he had looked round, and is had
        by somebody who has looked later: so they never wait in a circle.
        """
        # In one order for all: nobody waits for somebody who waits.
        wanted = {
            one.name: _turns.setdefault(one.id, asyncio.Lock())
            for one in sorted(containers, key=lambda one: one.id)
            if one.id not in self._ids
        }
        # Without any turn of its own, which others would wait for meanwhile.
        while taken := [name for name, turn in wanted.items() if turn.locked()]:
            self._site.notes.log(f"Waiting for {taken[0]}, which something else has stopped")
            async with wanted[taken[0]]:
                pass
        for turn in wanted.values():
            await self._until.enter_async_context(turn)
        self._ids.update(one.id for one in containers)


@asynccontextmanager
async def turn_of(containers: Collection[ContainerInfo | Kept], site: Site) -> AsyncIterator[Turn]:
    """Have these to oneself among those who stop containers here, and start them again.

    Who stops one that a hold has stopped already would take it for one that rests, and its policy
    for none; and the hold would start it afterwards.
    """
    async with AsyncExitStack() as until:
        turn = Turn(site, until)
        await turn.take(containers)
        yield turn
