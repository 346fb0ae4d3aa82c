"""An agent in the test's own process: a real connection, and work that the test decides on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
from pydantic import TypeAdapter

from composia.errors import Cancelled, ComposiaError, Interrupted, told
from composia.model.node import NodeState, Versions
from composia.operations.messages import (
    PROTOCOL,
    Acknowledge,
    Ask,
    Cancel,
    FromController,
    Hello,
    LogLine,
    Message,
    Noted,
    Outcome,
    Progress,
    Read,
    ReadingFailed,
    Revoke,
    StopReading,
)
from composia.operations.readings import Reading

Tell = Callable[[Message], Awaitable[None]]
Does = Callable[[Ask, "StandInAgent"], Awaitable[dict[str, Any]]]

_messages: TypeAdapter[Any] = TypeAdapter(FromController)


class StandInAgent:
    """Keeps a journal, as agents do; its connection can be cut and made again."""

    def __init__(self, url: str, node: str = "main", token: str = "main-token") -> None:
        self.url = url
        self.node = node
        self.done: list[str] = []
        self.asked: list[str] = []
        self.acknowledged: list[str] = []
        self.stopped: list[str] = []
        self.journal: dict[str, Outcome] = {}
        self.protocol = PROTOCOL
        #: How readings are answered: chunks, or what is raised.
        self.reads: Callable[[Reading], Any] | None = None
        self.close_code: int | None = None
        self._token = token
        self._does: dict[str, Does] = {}
        self._working: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._listening: asyncio.Task[None] | None = None

    def on(self, step: str, does: Does) -> None:
        """What it does in this step; without it, an empty result."""
        self._does[step] = does

    async def connect(self) -> None:
        """Dial, and say Hello."""
        headers = {"Authorization": f"Bearer {self._token}"}
        self._session = aiohttp.ClientSession(headers=headers)
        self._socket = await self._session.ws_connect(f"{self.url}/api/agent/channel")
        hello = Hello(
            protocol=self.protocol,
            node=self.node,
            version="0",
            state=self.state(),
            open_keys=tuple({*self.journal, *self._working} - {*self.acknowledged}),
        )
        await self.tell(hello)
        answer = await self._socket.receive()
        if answer.type is not aiohttp.WSMsgType.TEXT:
            self.close_code = self._socket.close_code
            await self._session.close()
            return
        self._listening = asyncio.create_task(self._listen(self._socket))

    async def cut(self) -> None:
        """End the connection; what it works on goes on."""
        if self._socket:
            await self._socket.close()
        if self._listening:
            await self._listening
        if self._session:
            await self._session.close()

    def kill(self) -> None:
        """What it works on is put right, as on a start."""
        for work in self._working.values():
            work.cancel("killed")

    async def end(self) -> None:
        """Leave nothing behind."""
        await self.cut()
        for task in (*self._working.values(), *self._tasks):
            task.cancel()
        await asyncio.gather(*self._working.values(), *self._tasks, return_exceptions=True)

    async def tell(self, message: Message) -> None:
        """Send it, if there is a connection."""
        if self._socket and not self._socket.closed:
            with suppress(ConnectionError):
                await self._socket.send_str(message.model_dump_json())

    async def say(self, ask: Ask, line: str) -> None:
        """Tell of the work: a line, a note, and how far it is."""
        await self.tell(LogLine(key=ask.key, line=line))
        await self.tell(Noted(key=ask.key, name="began"))
        await self.tell(Progress(key=ask.key, bytes_done=1, bytes_total=2))

    @staticmethod
    def state(**facts: Any) -> NodeState:
        """A node at rest."""
        known = {"versions": Versions(composia="0"), "docker": True, "now": datetime.now(UTC)}
        return NodeState.model_validate({**known, **facts})

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            await self._hear(_messages.validate_json(message.data))
        self.close_code = socket.close_code

    async def _hear(self, message: Any) -> None:
        match message:
            case Ask():
                self.asked.append(message.key)
                if message.key not in self.journal and message.key not in self._working:
                    work = asyncio.create_task(self._work(message))
                    self._working[message.key] = work
                await self._repeat(message.key)
            case Cancel():
                self._working[message.key].cancel("cancelled")
            case Revoke():
                await self._revoke(message.key)
            case Acknowledge():
                self.acknowledged.append(message.key)
            case Read():
                self._background(self._read(message))
            case StopReading():
                self.stopped.append(message.stream)

    async def _revoke(self, key: str) -> None:
        if key in self._working:
            self._working[key].cancel("cancelled")
            await asyncio.gather(self._working[key], return_exceptions=True)
        if key not in self.journal:
            self.journal[key] = Outcome(key=key, error=Cancelled("revoked").as_told())
        await self._repeat(key)

    async def _repeat(self, key: str) -> None:
        if key in self.journal:
            await self.tell(self.journal[key])

    async def _work(self, ask: Ask) -> None:
        self.done.append(f"{self.node}: {ask.step}")
        try:
            does = self._does.get(ask.step)
            outcome = Outcome(key=ask.key, result=await does(ask, self) if does else {})
        except ComposiaError as error:
            outcome = Outcome(key=ask.key, error=told(error))
        except asyncio.CancelledError as error:
            killed = error.args == ("killed",)
            why = Interrupted("the agent was restarted") if killed else Cancelled("cancelled")
            outcome = Outcome(key=ask.key, error=told(why))
        self.journal[ask.key] = outcome
        await self._repeat(ask.key)

    async def _read(self, message: Read) -> None:
        assert self._session is not None
        assert self.reads is not None
        url = f"{self.url}/api/agent/streams/{message.stream}"
        try:
            chunks = self.reads(message.reading)
            async with self._session.post(url, data=chunks):
                pass
        except ComposiaError as error:
            await self.tell(ReadingFailed(stream=message.stream, error=told(error)))
        except (aiohttp.ClientError, ConnectionError):
            pass

    def _background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
