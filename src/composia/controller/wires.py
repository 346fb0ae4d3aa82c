"""Wires: two nodes joined by what their questions name, and frames passed on between them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from structlog import get_logger

from composia.controller.asking import Question
from composia.controller.first import first
from composia.errors import Denied, NotFound
from composia.tools.wire import JOINED, WINDOW

#: Bytes under way in one direction: twice what an agent sends before it is told to go on.
LARGEST_BACKLOG = 2 * WINDOW
GONE = 4410

_log = get_logger("composia.wires")


def asked_over(question: Question | None, wire: str, node: str) -> Question:
    """The question, if it is asked over this wire. Raises NotFound, Denied."""
    if question is None:
        raise NotFound(f"node {node} is not asked this now")
    if getattr(question.operation, "wire", None) != wire:
        raise Denied(f"node {node} is not asked anything over wire {wire}")
    return question


class Wires:
    """All of them, by name. A node that dials again takes the place of its older connection."""

    def __init__(self) -> None:
        self._ends: dict[str, list[_End]] = {}

    async def serve(self, wire: str, node: str, question: Question, socket: WebSocket) -> None:
        """One end of a wire, until it, the other end or the question ends."""
        end = _End(node, socket)
        ends = self._ends.setdefault(wire, [])
        for older in [one for one in ends if one.node == node]:
            older.leave()
        other = next((one for one in ends if not one.other and not one.gone.is_set()), None)
        ends.append(end)
        if other:
            end.join(other)
            _log.info("joined", wire=wire, nodes=[other.node, node])
        try:
            await first(end.gone.wait(), question.ended.wait(), end.listen(), end.pass_on())
        finally:
            end.leave()
            ends.remove(end)
            if not ends and self._ends.get(wire) is ends:
                del self._ends[wire]
            with suppress(RuntimeError, WebSocketDisconnect):
                await socket.close(GONE, "the other end has gone")


class _End:
    """One node's connection, and what it sent that was not passed on yet."""

    def __init__(self, node: str, socket: WebSocket) -> None:
        self.node = node
        self.other: _End | None = None
        #: Set when this connection is to end at once.
        self.gone = asyncio.Event()
        self._socket = socket
        self._sent: deque[Mapping[str, Any]] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._silent = False
        self._joined = asyncio.Event()

    def join(self, other: _End) -> None:
        """From here on each is passed what the other sends."""
        self.other, other.other = other, self
        self._joined.set()
        other._joined.set()

    def leave(self) -> None:
        """Nothing more comes from here; the other end is passed what has come, and ends too."""
        self._silent = True
        self._news.set()
        self.gone.set()

    async def listen(self) -> None:
        """Take what the node sends, at once: it must always be heard that it lives."""
        try:
            while self._size <= LARGEST_BACKLOG:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                self._sent.append(message)
                self._size += _size(message)
                self._news.set()
            _log.warning("a node sends more than it may", node=self.node)
        except RuntimeError:
            return

    async def pass_on(self) -> None:
        """Send the node what the other end sends, until that has gone."""
        await self._joined.wait()
        assert self.other
        with suppress(WebSocketDisconnect, RuntimeError):
            await self._socket.send_text(JOINED)
            while message := await self.other.next_sent():
                await self._socket.send({**message, "type": "websocket.send"})

    async def next_sent(self) -> Mapping[str, Any] | None:
        """The next thing that this node sent; None when it has gone."""
        while not self._sent:
            if self._silent:
                return None
            self._news.clear()
            await self._news.wait()
        message = self._sent.popleft()
        self._size -= _size(message)
        return message


def _size(message: Mapping[str, Any]) -> int:
    return len(message.get("bytes") or message.get("text") or b"")
