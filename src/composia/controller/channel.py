"""One connection of one agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, TypeAdapter, ValidationError
from structlog import get_logger

from composia.operations.messages import FromAgent

#: Why the controller closes a connection.
WRONG_TOKEN, WRONG_HELLO, TAKEN_OVER, UNREADABLE = 4401, 4400, 4409, 4422

_MESSAGES: TypeAdapter[Any] = TypeAdapter(FromAgent)
_log = get_logger("composia.channel")


class Channel:
    """Messages out in their order, messages in one by one, until either side ends it."""

    def __init__(self, node: str, socket: WebSocket) -> None:
        self.node = node
        #: Set when the connection is over.
        self.closed = asyncio.Event()
        self._socket = socket
        self._out: asyncio.Queue[BaseModel] = asyncio.Queue()

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
        writer = asyncio.create_task(self._write())
        ending = asyncio.create_task(self.closed.wait())
        reader = asyncio.create_task(self._read(on_message))
        tasks = (writer, ending, reader)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
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

    async def _read(self, on_message: Callable[[Any], Awaitable[None]]) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                try:
                    message = await self.receive()
                except ValidationError as error:
                    _log.warning("unreadable", node=self.node, problems=error.error_count())
                    await self.close(UNREADABLE, "a message could not be read")
                    return
                await on_message(message)
