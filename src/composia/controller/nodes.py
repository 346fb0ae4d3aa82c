"""The nodes: who is connected, and what they are asked."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import ValidationError
from structlog import get_logger

from composia import __version__
from composia.controller.asking import Question
from composia.controller.channel import TAKEN_OVER, WRONG_HELLO, Channel
from composia.controller.events import Event, Events
from composia.controller.keys import place_of
from composia.controller.pipes import Pipe
from composia.controller.store.store import Store
from composia.errors import Cancelled, Conflict, NodeLost, NotFound
from composia.model.config import NodeConfig
from composia.model.node import NodeState
from composia.model.task import StepProgress, Waiting
from composia.operations.messages import (
    PROTOCOL,
    Acknowledge,
    Ask,
    Cancel,
    Hello,
    LogLine,
    Noted,
    Outcome,
    Progress,
    Read,
    ReadingFailed,
    Revoke,
    StateChanged,
    StopReading,
    Welcome,
)
from composia.operations.readings import Reading

#: Seconds that a question waits for its node.
PATIENCE = 60.0
#: Seconds for a node to say Hello, and to begin a reading.
PROMPT = 30.0
#: How often it is written down that a node is there.
SEEN = timedelta(seconds=10)

_log = get_logger("composia.nodes")


@dataclass(slots=True)
class _Node:
    config: NodeConfig
    state: NodeState | None = None
    last_seen: datetime | None = None
    stored_at: datetime | None = None
    needs_update: bool = False
    channel: Channel | None = None
    #: Replaced and set whenever its connection comes or goes.
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def usable(self) -> Channel | None:
        """Its connection, unless that has just come to its end."""
        return None if self.channel is None or self.channel.closed.is_set() else self.channel

    def connection(self, channel: Channel | None, *, needs_update: bool = False) -> None:
        self.channel, self.needs_update = channel, needs_update
        self.last_seen = datetime.now(UTC)
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(slots=True)
class _Asked:
    question: Question
    outcome: asyncio.Future[Outcome]


@dataclass(slots=True)
class Stream:
    """A reading under way."""

    node: str
    reading: Reading
    pipe: Pipe
    begun: asyncio.Event


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
        self._patience = patience
        self._nodes: dict[str, _Node] = {config.id: _Node(config) for config in configs}
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._streams: dict[str, Stream] = {}

    async def open(self) -> None:
        """Recall the nodes as they were last seen."""
        for node_id, (last_seen, state) in (await self._store.seen_nodes()).items():
            if node := self._nodes.get(node_id):
                node.last_seen, node.state = last_seen, state

    async def reconfigure(self, configs: Sequence[NodeConfig]) -> None:
        """Take the nodes of a new config.yaml; those that are gone are cut off."""
        wanted = {config.id: config for config in configs}
        for node_id, node in list(self._nodes.items()):
            config = wanted.pop(node_id, None)
            if node.channel and (config is None or config.token != node.config.token):
                await node.channel.close(WRONG_HELLO, "the node's token has changed")
            if config is None:
                del self._nodes[node_id]
            else:
                node.config = config
        self._nodes |= {node_id: _Node(config) for node_id, config in wanted.items()}

    async def aclose(self) -> None:
        """Cut all connections."""
        for node in self._nodes.values():
            if node.channel:
                await node.channel.close(1001, "the controller stops")

    # What is known of them.

    def configs(self) -> Sequence[NodeConfig]:
        """As config.yaml has them."""
        return [node.config for node in self._nodes.values()]

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

    # The channel.

    async def serve(self, node_id: str, socket: WebSocket) -> None:
        """One connection of a node's agent, from Hello to its end."""
        channel = Channel(node_id, socket)
        hello = await self._greeted(channel, socket)
        if hello is None:
            return
        node = self._nodes[node_id]
        if node.channel:
            _log.warning("replaced", node=node_id)
            await node.channel.close(TAKEN_OVER, "a new connection of this node took over")
        channel.send(Welcome(protocol=PROTOCOL, version=__version__))
        node.connection(channel)
        await self._learn(node, hello.state)
        self._tell(node_id)
        _log.info("connected", node=node_id, version=hello.version)
        try:
            await self._end_leftovers(channel, hello.open_keys)
            await channel.serve(lambda message: self._on_message(channel, message))
        finally:
            await self._lost(node, channel)

    async def _greeted(self, channel: Channel, socket: WebSocket) -> Hello | None:
        try:
            text = await asyncio.wait_for(socket.receive_text(), PROMPT)
            said = json.loads(text)
            if said.get("type") == "hello" and said.get("protocol") != PROTOCOL:
                await self._outdated(channel, said)
                return None
            hello = Hello.model_validate_json(text)
        except (ValidationError, ValueError, AttributeError, KeyError, TimeoutError):
            await channel.close(WRONG_HELLO, "no Hello was understood")
            return None
        except WebSocketDisconnect:
            return None
        if hello.node != channel.node:
            reason = f"this token is node {channel.node}'s, not {hello.node}'s"
            await channel.close(WRONG_HELLO, reason)
            return None
        return hello

    async def _outdated(self, channel: Channel, said: Mapping[str, Any]) -> None:
        node = self._nodes[channel.node]
        if node.channel:
            await node.channel.close(TAKEN_OVER, "a new connection of this node took over")
        node.connection(None, needs_update=True)
        self._tell(channel.node)
        reason = f"needs update: protocol {PROTOCOL} is spoken here, not {said.get('protocol')}"
        _log.warning("needs update", node=channel.node, protocol=said.get("protocol"))
        await channel.close(WRONG_HELLO, reason)

    async def _lost(self, node: _Node, channel: Channel) -> None:
        if node.channel is channel:
            node.connection(None)
            self._tell(node.config.id)
            _log.info("disconnected", node=node.config.id)
            if node.last_seen:
                await self._store.saw_node(node.config.id, node.last_seen, node.state)

    async def _end_leftovers(self, channel: Channel, keys: Sequence[str]) -> None:
        for key in keys:
            if (channel.node, key) not in self._asked and await self._is_settled(key):
                channel.send(Revoke(key=key))

    async def _on_message(self, channel: Channel, message: Any) -> None:
        node = self._nodes.get(channel.node)
        if node is None:
            return
        match message:
            case StateChanged():
                await self._learn(node, message.state)
                self._tell(channel.node)
            case Outcome():
                await self._answered(channel, message)
            case ReadingFailed():
                if stream := self._streams.get(message.stream):
                    await stream.pipe.end(message.error.as_error())
            case Progress() | LogLine() | Noted():
                self._heard(channel.node, message)

    def _heard(self, node: str, message: Progress | LogLine | Noted) -> None:
        asked = self._asked.get((node, message.key))
        if asked is None:
            return
        match message:
            case LogLine():
                asked.question.logged(message.line)
            case Noted():
                asked.question.noted(message.name)
            case Progress():
                done, total = message.bytes_done, message.bytes_total
                asked.question.progressed(StepProgress(bytes_done=done, bytes_total=total))

    async def _answered(self, channel: Channel, outcome: Outcome) -> None:
        asked = self._asked.get((channel.node, outcome.key))
        if asked and not asked.outcome.done():
            asked.outcome.set_result(outcome)
        elif asked is None and await self._is_settled(outcome.key):
            channel.send(Acknowledge(key=outcome.key))

    async def _is_settled(self, key: str) -> bool:
        found = place_of(key)
        return found is None or await self._store.is_settled(*found)

    async def _learn(self, node: _Node, state: NodeState) -> None:
        before, node.state = node.state, state
        node.last_seen = now = datetime.now(UTC)
        for service in _changed_services(before, state):
            data = {"service": service, "node": node.config.id}
            self._events.publish(Event("service", service, data))
        if node.stored_at is None or now - node.stored_at > SEEN:
            node.stored_at = now
            await self._store.saw_node(node.config.id, now, state)

    def _tell(self, node_id: str) -> None:
        data = {
            "id": node_id,
            "online": self.online(node_id),
            "needs_update": self.needs_update(node_id),
        }
        self._events.publish(Event("node", None, data))

    # Questions.

    async def ask(self, node: str, question: Question) -> Outcome:
        """The outcome, however long it takes; see `asking.Nodes`."""
        slot = _Asked(question, asyncio.get_running_loop().create_future())
        self._asked[(node, question.key)] = slot
        try:
            while True:
                channel = await self._connection(node, question)
                await self._send(channel, question)
                if outcome := await self._outcome(slot, channel):
                    return outcome
        finally:
            del self._asked[(node, question.key)]

    def acknowledge(self, node: str, key: str) -> None:
        """The outcome is stored."""
        found = self._nodes.get(node)
        if found and found.channel:
            found.channel.send(Acknowledge(key=key))

    def question(self, node: str, key: str) -> Question | None:
        """What this node is asked under this key now."""
        asked = self._asked.get((node, key))
        return asked.question if asked else None

    async def _connection(self, node_id: str, question: Question) -> Channel:
        deadline = asyncio.get_running_loop().time() + self._patience
        waited = False
        while True:
            _refuse_given_up(node_id, question)
            node = self._nodes.get(node_id)
            if node and (channel := node.usable):
                if waited:
                    await question.wait_for(None)
                return channel
            waited = True
            await question.wait_for(self._waiting(node_id, question))
            await self._wait_for_change(node, question, deadline)

    async def _wait_for_change(
        self, node: _Node | None, question: Question, deadline: float
    ) -> None:
        if node is None:
            raise NodeLost("the node is not in config.yaml any more", hint="Add it again.")
        if node.usable:
            return
        left = deadline - asyncio.get_running_loop().time()
        watched = [node.changed.wait(), question.abandoned.wait()]
        if not question.cancelled.is_set():
            watched.append(question.cancelled.wait())
        limit = None if question.sent else max(left, 0.0)
        if not await _first(*watched, timeout=limit):
            raise NodeLost(
                f"node {node.config.id} did not take the question within {self._patience:.0f} s",
                hint=self._hint(node),
            )

    def _waiting(self, node_id: str, question: Question) -> Waiting:
        node = self._nodes.get(node_id)
        reason = f"node {node_id} is not connected"
        if node and node.needs_update:
            reason = f"node {node_id} needs update"
        if question.cancelled.is_set():
            reason += ": it ends when it is known what became of its last question"
        return Waiting.model_validate(
            {"for": reason, "since": datetime.now(UTC), "hint": self._hint(node)}
        )

    def _hint(self, node: _Node | None) -> str:
        if node is None:
            return "Add the node to config.yaml again."
        if node.needs_update:
            return f"Install version {__version__} of composia on {node.config.id}."
        seen = node.last_seen.strftime("%Y-%m-%dT%H:%M:%SZ") if node.last_seen else "never"
        return f"Start its agent with `composia agent`. Last seen: {seen}."

    async def _send(self, channel: Channel, question: Question) -> None:
        if not question.sent:
            await question.sending()
            question.sent = True
        if question.cancelled.is_set():
            # Also right for a question that never arrived: it is refused from then on.
            channel.send(Revoke(key=question.key))
            return
        channel.send(
            Ask(
                key=question.key,
                task=question.task,
                step=question.step,
                operation=question.operation,
            )
        )

    async def _outcome(self, slot: _Asked, channel: Channel) -> Outcome | None:
        question = slot.question
        told = question.cancelled.is_set()
        while not slot.outcome.done():
            if channel.closed.is_set():
                return None
            if question.cancelled.is_set() and not told:
                told = True
                channel.send(Cancel(key=question.key))
            watched = [channel.closed.wait(), asyncio.shield(slot.outcome)]
            if not told:
                watched.append(question.cancelled.wait())
            await _first(*watched)
        return slot.outcome.result()

    # Readings.

    @asynccontextmanager
    async def read(self, node: str, reading: Reading) -> AsyncIterator[AsyncIterator[bytes]]:
        """The bytes as they come; leaving ends the reading. Raises NotFound, Conflict."""
        channel = self._usable(node)
        stream_id = secrets.token_urlsafe(18)
        stream = Stream(node, reading, Pipe(), asyncio.Event())
        self._streams[stream_id] = stream
        channel.send(Read(stream=stream_id, reading=reading))
        watch = asyncio.create_task(_must_begin(stream, channel))
        try:
            yield stream.pipe.chunks()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            del self._streams[stream_id]
            await stream.pipe.close()
            channel.send(StopReading(stream=stream_id))

    def stream(self, node: str, stream: str) -> Stream:
        """A reading that this node was asked for. Raises NotFound."""
        found = self._streams.get(stream)
        if found is None or found.node != node:
            raise NotFound("nobody waits for this reading any more")
        return found

    def _usable(self, node: str) -> Channel:
        found = self._nodes.get(node)
        if found is None:
            raise NotFound(f"there is no node `{node}`")
        if found.usable is None:
            raise Conflict(f"node {node} is not connected", hint=self._hint(found))
        return found.usable


async def _must_begin(stream: Stream, channel: Channel) -> None:
    await _first(stream.begun.wait(), channel.closed.wait(), timeout=PROMPT)
    if not stream.begun.is_set():
        await stream.pipe.end(NodeLost(f"node {stream.node} does not answer"))


async def _first(*awaitables: Awaitable[Any], timeout: float | None = None) -> bool:
    """Wait for any of them; False when none was in time."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    return bool(done)


def _refuse_given_up(node: str, question: Question) -> None:
    if question.abandoned.is_set():
        raise Cancelled(
            f"given up: what became of {question.step} on node {node} is not known",
            hint="When the node is back, its agent ends what is left of it.",
        )
    if question.cancelled.is_set() and not question.sent:
        raise Cancelled(f"cancelled before {question.step} reached node {node}")


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
