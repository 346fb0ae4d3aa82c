"""Calls for the repository on their way: from a node without it to one that holds it, and back."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from composia.controller.channel import Channel
from composia.controller.first import first
from composia.controller.node import KnownNode
from composia.controller.pipes import Pipe
from composia.errors import NodeLost
from composia.model.service import RepositoryRef
from composia.operations.messages import ForgetCall, ObjectCall, Serve, StopServing, WayCall

#: Seconds for which a call is held while the node that holds the repository is away.
HELD = 60.0
#: Seconds for it to answer when it is there: it may have to list a large repository.
PROMPT = 120.0

#: Calls at once of one node: rustic has ten, and a node four operations. More of them wait; no node
#: takes the way of the others.
MANY = 48

Call = ObjectCall | ForgetCall | WayCall


@dataclass(frozen=True, slots=True)
class Head:
    """How an answer begins."""

    status: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class Relay:
    """One of them."""

    #: Who answers.
    node: str
    repository: RepositoryRef
    #: What is sent along, and what is answered.
    body: Pipe = field(default_factory=Pipe)
    content: Pipe = field(default_factory=Pipe)
    head: Head | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, head: Head) -> None:
        """The answer begins."""
        self.head = head
        self.answered.set()

    async def break_off(self, why: NodeLost) -> None:
        """Neither body nor answer comes to its end."""
        await self.body.end(why)
        await self.content.end(why)
        self.answered.set()


class Relays:
    """All of them, by their ids, which nobody can guess."""

    def __init__(self, *, held: float = HELD) -> None:
        self._relays: dict[str, Relay] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._held = held

    @asynccontextmanager
    async def relayed(
        self, node: KnownNode, repository: RepositoryRef, call: Call, asking: str
    ) -> AsyncIterator[Relay]:
        """A call on its way; leaving ends it. Raises NodeLost when the node stays away."""
        async with self._place(asking):
            channel = await self._connection(node)
            async with self._begun(node, channel, repository, call) as relay:
                yield relay

    @asynccontextmanager
    async def _place(self, asking: str) -> AsyncIterator[None]:
        places = self._places.setdefault(asking, asyncio.Semaphore(MANY))
        try:
            async with asyncio.timeout(self._held):
                await places.acquire()
        except TimeoutError:
            raise NodeLost(
                "too many calls for the repository at once", hint="Wait a little."
            ) from None
        try:
            yield
        finally:
            places.release()

    @asynccontextmanager
    async def _begun(
        self,
        node: KnownNode,
        channel: Channel,
        repository: RepositoryRef,
        call: Call,
    ) -> AsyncIterator[Relay]:
        relay_id, relay = secrets.token_urlsafe(18), Relay(node.id, repository)
        self._relays[relay_id] = relay
        channel.send(Serve(relay=relay_id, repository=repository, call=call))
        watch = asyncio.create_task(_watched(relay, channel))
        try:
            yield relay
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            del self._relays[relay_id]
            await relay.break_off(NodeLost("nobody waits for this any more"))
            await relay.body.close()
            await relay.content.close()
            channel.send(StopServing(relay=relay_id))

    def relay(self, node: str, relay: str) -> Relay | None:
        """A call that this node was asked to answer; None where nobody waits for it."""
        found = self._relays.get(relay)
        return found if found and found.node == node else None

    async def failed(self, node: str, relay: str) -> None:
        """The node that was asked does not answer it to its end."""
        if found := self.relay(node, relay):
            await found.break_off(NodeLost(f"node {node} broke off its answer"))

    async def _connection(self, node: KnownNode) -> Channel:
        deadline = asyncio.get_running_loop().time() + self._held
        while not (channel := node.usable):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not await first(node.changed.wait(), timeout=left):
                raise NodeLost(
                    f"{node.absence}, and the repository is reached through it", hint=node.hint
                )
        return channel


async def answered(relay: Relay) -> Head:
    """How the answer begins. Raises NodeLost."""
    await first(relay.answered.wait(), timeout=PROMPT)
    if relay.head is None:
        raise NodeLost(f"node {relay.node}, which holds the repository, does not answer")
    return relay.head


async def _watched(relay: Relay, channel: Channel) -> None:
    await channel.closed.wait()
    await relay.break_off(NodeLost(f"node {relay.node}, which holds the repository, is away"))
