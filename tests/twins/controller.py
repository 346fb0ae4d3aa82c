"""The other end of an agent's channel, in the test's own process."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

from aiohttp import WSMsgType, web
from pydantic import TypeAdapter

from composia.operations.base import Operation
from composia.operations.messages import (
    PROTOCOL,
    Acknowledge,
    Ask,
    Cancel,
    FromAgent,
    Hello,
    LogLine,
    Message,
    Noted,
    Outcome,
    Read,
    Revoke,
    Welcome,
)
from composia.operations.readings import Reading

TOKEN = "main-agent-token"
_agent: TypeAdapter[Any] = TypeAdapter(FromAgent)


class StandInController:
    """Answers one agent, gives it files, and remembers what it said."""

    def __init__(self) -> None:
        self.files: dict[str, Mapping[str, str]] = {}
        self.bundles_given = 0
        self.manifests: dict[str, bytes] = {}
        self.streams: dict[str, bytes] = {}
        self.heard: list[Any] = []
        self.hellos: list[Hello] = []
        self.acknowledges = True
        #: Clear it, and bundles are not given before it is set again.
        self.gives = asyncio.Event()
        self.gives.set()
        self.more = asyncio.Condition()
        self._socket: web.WebSocketResponse | None = None
        self._site: web.TCPSite | None = None
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Listen on a port of the system's choice, and later on the same one again."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/api/agent/channel", self._channel),
                web.get("/api/agent/bundles/{key}/{service}", self._bundle),
                web.put("/api/agent/manifests/{backup}", self._keep),
                web.get("/api/agent/manifests/{backup}", self._kept),
                web.post("/api/agent/streams/{stream}", self._stream),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await self.drop()
            await runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def drop(self) -> None:
        """Cut the connection."""
        if self._socket:
            socket, self._socket = self._socket, None
            await socket.close()

    async def ask(self, operation: Operation[Any], key: str = "01TASK:step:main:1") -> None:
        task, step, _, _ = key.split(":")
        await self.send(Ask(key=key, task=task, step=step, operation=operation))

    async def read(self, reading: Reading, stream: str = "s1") -> None:
        await self.send(Read(stream=stream, reading=reading))

    async def cancel(self, key: str = "01TASK:step:main:1") -> None:
        await self.send(Cancel(key=key))

    async def revoke(self, key: str = "01TASK:step:main:1") -> None:
        await self.send(Revoke(key=key))

    async def send(self, message: Message) -> None:
        assert self._socket
        await self._socket.send_str(message.model_dump_json())

    async def connected(self, times: int = 1) -> Hello:
        """Wait until the agent has said hello so often."""
        await self._until(lambda: len(self.hellos) >= times)
        return self.hellos[-1]

    async def outcome(self, key: str = "01TASK:step:main:1", times: int = 1) -> Outcome:
        """Wait until a key was answered so often."""
        await self._until(lambda: len(self.outcomes(key)) >= times)
        return self.outcomes(key)[-1]

    async def told(self, kind: type[Message]) -> Any:
        """Wait for a message of the kind; the last one."""
        await self._until(lambda: any(isinstance(one, kind) for one in self.heard))
        return [one for one in self.heard if isinstance(one, kind)][-1]

    async def noted(self, name: str) -> None:
        """Wait until an operation has noted something."""
        await self._until(lambda: name in self.notes)

    async def until(self, holds: Any) -> None:
        """Wait until it holds of what was heard."""
        await self._until(holds)

    def outcomes(self, key: str = "01TASK:step:main:1") -> list[Outcome]:
        return [one for one in self.heard if isinstance(one, Outcome) and one.key == key]

    @property
    def notes(self) -> list[str]:
        return [one.name for one in self.heard if isinstance(one, Noted)]

    @property
    def lines(self) -> list[str]:
        return [one.line for one in self.heard if isinstance(one, LogLine)]

    async def _until(self, holds: Any) -> None:
        async with asyncio.timeout(60), self.more:
            await self.more.wait_for(holds)

    async def _channel(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(status=401)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        hello = _agent.validate_json(await socket.receive_str())
        await socket.send_str(Welcome(protocol=PROTOCOL, version="0").model_dump_json())
        self._socket = socket
        self.hellos.append(hello)
        await self._tell()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._hear(socket, _agent.validate_json(message.data))
        return socket

    async def _hear(self, socket: web.WebSocketResponse, message: Any) -> None:
        self.heard.append(message)
        await self._tell()
        if isinstance(message, Outcome) and self.acknowledges:
            await socket.send_str(Acknowledge(key=message.key).model_dump_json())

    async def _tell(self) -> None:
        async with self.more:
            self.more.notify_all()

    async def _bundle(self, request: web.Request) -> web.Response:
        files = self.files.get(request.match_info["service"])
        self.bundles_given += 1
        await self._tell()
        await self.gives.wait()
        return web.Response(body=a_bundle(files)) if files is not None else web.Response(status=404)

    async def _keep(self, request: web.Request) -> web.Response:
        self.manifests[request.match_info["backup"]] = await request.read()
        return web.Response(status=204)

    async def _kept(self, request: web.Request) -> web.Response:
        kept = self.manifests.get(request.match_info["backup"])
        return web.Response(body=kept) if kept is not None else web.Response(status=404)

    async def _stream(self, request: web.Request) -> web.Response:
        received: defaultdict[str, bytes] = defaultdict(bytes)
        async for chunk in request.content.iter_any():
            received["all"] += chunk
        self.streams[request.match_info["stream"]] = received["all"]
        await self._tell()
        return web.Response(status=204)


def a_bundle(files: Mapping[str, str]) -> bytes:
    """A service's folder as the controller sends it; `-> target` is a symbolic link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.mode = 0o755 if text.startswith("#!") else 0o644
            if text.startswith("-> "):
                info.type, info.linkname = tarfile.SYMTYPE, text[3:]
                tar.addfile(info)
                continue
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()
