"""One connection of one agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, TypeAdapter
from structlog import get_logger

from composia.operations.messages import FromAgent

#: Why the controller closes a connection.
WRONG_TOKEN, WRONG_HELLO, TAKEN_OVER, UNREADABLE = 4401, 4400, 4409, 4422

#: So many messages may wait to be worked with before no more are taken.
WAITING = 1000

_MESSAGES: TypeAdapter[Any] = TypeAdapter(FromAgent)
_log = get_logger("composia.channel")


class Channel:
    """Messages out in their order, messages in one by one, until either side ends it.

    They are taken as they come, however long one is worked with: who waits to be taken waits in
    front of the answers to our pings, and would look dead.
    """

    def __init__(self, node: str, socket: WebSocket) -> None:
        self.node = node
        #: Set when the connection is over.
        self.closed = asyncio.Event()
        self._socket = socket
        self._out: asyncio.Queue[BaseModel] = asyncio.Queue()
        self._unreadable = False
        #: None: no more come.
        self._in: asyncio.Queue[Any] = asyncio.Queue(WAITING)

    def send(self, message: BaseModel) -> None:
        """Send it; lost when the connection ends first."""
        self._out.put_nowait(message)

    async def receive(self) -> Any:
        """The next message. Raises WebSocketDisconnect, or ValidationError."""
        return _MESSAGES.validate_json(await self._socket.receive_text())

    async def close(self, code: int, reason: str) -> None:
        """End it."""
        self.closed.set()
        with suppress(RuntimeError, WebSocketDisconnect, OSError):
            await self._socket.close(code, reason[:120])

    async def serve(self, on_message: Callable[[Any], Awaitable[None]]) -> None:
        """Send and receive until the end."""
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._write())
        ending = asyncio.create_task(self.closed.wait())
        worker = asyncio.create_task(self._work(on_message))
        tasks = (reader, writer, ending, worker)
        try:
            # The reader's end is the worker's, when that has worked with what came before it.
            await asyncio.wait(tasks[1:], return_when=asyncio.FIRST_COMPLETED)
            if self._unreadable:
                await self.close(UNREADABLE, "a message could not be read")
        finally:
            self.closed.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        with suppress(WebSocketDisconnect, RuntimeError, OSError):
            while True:
                message = await self._out.get()
                await self._socket.send_text(message.model_dump_json())

    async def _read(self) -> None:
        try:
            while True:
                await self._in.put(await self.receive())
        except (WebSocketDisconnect, RuntimeError):
            pass
        except Exception as error:
            _log.warning("unreadable", node=self.node, why=type(error).__name__)
            self._unreadable = True
        await self._in.put(None)

    async def _work(self, on_message: Callable[[Any], Awaitable[None]]) -> None:
        while (message := await self._in.get()) is not None:
            try:
                await on_message(message)
            except Exception:
                # A full disk here, perhaps. What matters is said again, so the node stays.
                _log.exception("a message was lost", node=self.node, type=message.type)
