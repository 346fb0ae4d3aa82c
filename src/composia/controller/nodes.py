"""The nodes: who is connected, and what becomes of what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from sqlalchemy.exc import SQLAlchemyError
from structlog import get_logger

from composia import __version__
from composia.controller.asking import Question
from composia.controller.channel import TAKEN_OVER, WRONG_HELLO, Channel
from composia.controller.events import Event, Events
from composia.controller.keys import place_of
from composia.controller.node import KnownNode
from composia.controller.questions import Questions
from composia.controller.relays import Call, Relay, Relays
from composia.controller.store.store import Store
from composia.controller.streams import Stream, Streams
from composia.errors import NotFound
from composia.model.config import NodeConfig
from composia.model.node import NodeState
from composia.model.service import RepositoryRef
from composia.operations.messages import (
    PROTOCOL,
    Acknowledge,
    Hello,
    LogLine,
    Noted,
    Outcome,
    Progress,
    ReadingFailed,
    Revoke,
    ServingFailed,
    StateChanged,
    Welcome,
)
from composia.operations.readings import Reading

#: Seconds that a question waits for its node.
PATIENCE = 60.0
#: Seconds for a node to say Hello.
PROMPT = 30.0
#: How often it is written down that a node is there.
SEEN = timedelta(seconds=10)

_log = get_logger("composia.nodes")


class Agents:
    """All nodes of config.yaml, with or without a connection."""

    def __init__(
        self,
        configs: Sequence[NodeConfig],
        store: Store,
        events: Events,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._events = events
        self._on_return: Callable[[str], Awaitable[None]] = _nothing
        self._nodes = {config.id: KnownNode(config) for config in configs}
        self._questions = Questions(self._nodes, patience)
        self._streams = Streams()
        self._relays = Relays()
        #: Connections whose token was looked at, and which have not said Hello.
        self._greeting: set[Channel] = set()

    def on_return(self, tell: Callable[[str], Awaitable[None]]) -> None:
        """Who is told of a node that has said Hello, before it is asked anything."""
        self._on_return = tell

    async def open(self) -> None:
        """Recall the nodes as they were last seen."""
        for node_id, (last_seen, state) in (await self._store.seen_nodes()).items():
            node = self._nodes.get(node_id)
            if node and node.state is None:
                node.last_seen, node.state = last_seen, state

    async def reconfigure(self, configs: Sequence[NodeConfig]) -> None:
        """Take the nodes of a new config.yaml; those that are gone are cut off."""
        wanted = {config.id: config for config in configs}
        for channel in tuple(self._greeting):
            await channel.close(WRONG_HELLO, "config.yaml has changed: dial again")
        for node_id, node in list(self._nodes.items()):
            config = wanted.pop(node_id, None)
            if node.channel and (config is None or config.token != node.config.token):
                await node.channel.close(WRONG_HELLO, "the node's token has changed")
            if config is None:
                del self._nodes[node_id]
                # Who waits for it waits for another one of its name from now on.
                node.changed.set()
            else:
                node.config = config
        self._nodes.update({node_id: KnownNode(config) for node_id, config in wanted.items()})
        # One that was named before may run still what it ran when it was seen last.
        await self.open()

    async def aclose(self) -> None:
        """Cut all connections."""
        for node in self._nodes.values():
            if node.channel:
                await node.channel.close(1001, "the controller stops")

    def states(self) -> Mapping[str, NodeState | None]:
        """Every node as it was last seen; None: never."""
        return {node_id: node.state for node_id, node in self._nodes.items()}

    def online(self, node: str) -> bool:
        """Whether it is connected and can be asked."""
        return node in self._nodes and self._nodes[node].usable is not None

    def needs_update(self, node: str) -> bool:
        """Whether its agent speaks another protocol."""
        return node in self._nodes and self._nodes[node].needs_update

    def last_seen(self, node: str) -> datetime | None:
        """When it was last connected."""
        if self.online(node):
            return datetime.now(UTC)
        return self._nodes[node].last_seen if node in self._nodes else None

    async def ask(self, node: str, question: Question) -> Outcome:
        """See `asking.Nodes`."""
        return await self._questions.ask(node, question)

    def acknowledge(self, node: str, key: str) -> None:
        """See `asking.Nodes`."""
        found = self._nodes.get(node)
        if found and found.channel:
            found.channel.send(Acknowledge(key=key))

    def question(self, node: str, key: str) -> Question | None:
        """What this node is asked under this key now."""
        return self._questions.question(node, key)

    def read(
        self, node: str, reading: Reading
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The bytes as they come; leaving ends the reading. Raises NotFound, Conflict."""
        found = self._nodes.get(node)
        if found is None:
            raise NotFound(f"there is no node `{node}`")
        return self._streams.read(found, reading)

    def stream(self, node: str, stream: str) -> Stream:
        """A reading that this node was asked for. Raises NotFound."""
        return self._streams.stream(node, stream)

    def relayed(
        self, node: str, repository: RepositoryRef, call: Call, asking: str
    ) -> AbstractAsyncContextManager[Relay]:
        """A call for the repository on its way to a node that holds it. Raises NotFound."""
        found = self._nodes.get(node)
        if found is None:
            raise NotFound(f"there is no node `{node}`")
        return self._relays.relayed(found, repository, call, asking)

    def relay(self, node: str, relay: str) -> Relay | None:
        """A call that this node was asked to answer; None where nobody waits for it."""
        return self._relays.relay(node, relay)

    async def serve(self, node_id: str, socket: WebSocket) -> None:
        """One connection of a node's agent, from Hello to its end."""
        channel = Channel(node_id, socket)
        self._greeting.add(channel)
        try:
            hello = await self._greeted(channel, socket)
        finally:
            self._greeting.discard(channel)
        node = self._nodes.get(node_id)
        if hello is None or node is None or channel.closed.is_set():
            return
        await _evict(node)
        channel.send(Welcome(protocol=PROTOCOL, version=__version__))
        node.connection(channel)
        _log.info("connected", node=node_id, version=hello.version)
        try:
            await self._learn(node, hello.state)
            await self._store.know_epochs(node_id, hello.epochs)
            self._tell(node_id)
            await self._on_return(node_id)
            await self._end_leftovers(channel, hello.open_keys)
            await channel.serve(lambda message: self._on_message(channel, message))
        finally:
            await self._lost(node, channel)

    async def _greeted(self, channel: Channel, socket: WebSocket) -> Hello | None:
        try:
            text = await asyncio.wait_for(socket.receive_text(), PROMPT)
            said = json.loads(text)
            if said.get("type") == "hello" and said.get("protocol") != PROTOCOL:
                await self._outdated(channel, said.get("protocol"))
                return None
            hello = Hello.model_validate_json(text)
        except WebSocketDisconnect:
            return None
        except (ValueError, AttributeError, TimeoutError):
            await channel.close(WRONG_HELLO, "no Hello was understood")
            return None
        if hello.node != channel.node:
            reason = f"this token is node {channel.node}'s, not {hello.node}'s"
            await channel.close(WRONG_HELLO, reason)
            return None
        return hello

    async def _outdated(self, channel: Channel, protocol: Any) -> None:
        if node := self._nodes.get(channel.node):
            await _evict(node)
            node.connection(None, needs_update=True)
            self._tell(channel.node)
        _log.warning("needs update", node=channel.node, protocol=protocol)
        reason = f"needs update: protocol {PROTOCOL} is spoken here, not {protocol}"
        await channel.close(WRONG_HELLO, reason)

    async def _lost(self, node: KnownNode, channel: Channel) -> None:
        channel.closed.set()
        if node.channel is channel:
            node.connection(None)
            self._tell(node.id)
            _log.info("disconnected", node=node.id)
            await self._write_down(node, datetime.now(UTC))

    async def _write_down(self, node: KnownNode, now: datetime) -> None:
        try:
            await self._store.saw_node(node.id, now, node.state)
        except SQLAlchemyError as error:
            # It is for people only, and a full disk must cut no node off.
            _log.warning("not written", node=node.id, reason=type(error).__name__)

    async def _end_leftovers(self, channel: Channel, keys: Sequence[str]) -> None:
        for key in keys:
            if self.question(channel.node, key) is None and await self._is_settled(key):
                channel.send(Revoke(key=key))

    async def _on_message(self, channel: Channel, message: Any) -> None:
        node = self._nodes.get(channel.node)
        if node is None:
            return
        match message:
            case StateChanged():
                await self._learn(node, message.state)
                self._tell(node.id)
            case Outcome():
                if not self._questions.answered(node.id, message) and await self._is_settled(
                    message.key
                ):
                    channel.send(Acknowledge(key=message.key))
            case ReadingFailed():
                await self._streams.failed(node.id, message.stream, message.error)
            case ServingFailed():
                await self._relays.failed(node.id, message.relay)
            case Progress() | LogLine() | Noted():
                self._questions.heard(node.id, message)

    async def _is_settled(self, key: str) -> bool:
        found = place_of(key)
        return found is None or await self._store.is_settled(*found)

    async def _learn(self, node: KnownNode, state: NodeState) -> None:
        before, now = node.state, datetime.now(UTC)
        node.learn(state)
        for service in _changed_services(before, state):
            data = {"service": service, "node": node.id}
            self._events.publish(Event("service", service, data))
        if node.stored_at is None or now - node.stored_at > SEEN:
            node.stored_at = now
            await self._write_down(node, now)

    def _tell(self, node: str) -> None:
        data = {"id": node, "online": self.online(node), "needs_update": self.needs_update(node)}
        self._events.publish(Event("node", None, data))


async def _nothing(node: str) -> None:
    return


async def _evict(node: KnownNode) -> None:
    if node.channel:
        _log.warning("replaced", node=node.id)
        await node.channel.close(TAKEN_OVER, "a new connection of this node took over")


def _changed_services(before: NodeState | None, after: NodeState) -> list[str]:
    known = {one.service: one for one in before.instances} if before else {}
    return [
        one.service
        for one in after.instances
        if known.get(one.service) != one
        or _containers(before, one.project) != _containers(after, one.project)
    ]


def _containers(state: NodeState | None, project: str) -> set[Any]:
    return {one for one in state.containers if one.project == project} if state else set()
