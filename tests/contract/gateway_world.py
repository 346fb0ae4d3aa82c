"""The whole way to a repository: gateway, controller, a holding node's agent. No engine."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from fastapi import FastAPI
from pydantic import TypeAdapter

from composia.agent.bulk import Bulk
from composia.agent.gateway import Gateway
from composia.agent.relays import Relays as Answering
from composia.agent.repository import Repository
from composia.controller import agents, repository
from composia.controller.api import problems
from composia.controller.auth import NodeGate
from composia.controller.events import Events
from composia.controller.nodes import Agents
from composia.controller.store.store import open_store
from composia.errors import Failure
from composia.model.config import NodeConfig
from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.messages import (
    PROTOCOL,
    FromController,
    Hello,
    Serve,
    ServingFailed,
    StopServing,
)
from composia.operations.repository import DescribeRepository
from composia.tools.rustic_way import Way
from tests.contract.nodes_world import Asked, served
from tests.lab import rustic
from tests.twins.agent import StandInAgent
from tests.waiting import until

PASSWORD = "planted-rustic-secret"  # planted, to be looked for
KEY = "task:save_data:edge:1"
SERVICE = ServiceRef(
    name="infra-backup", folder="infra-backup", project="infra-backup",
    compose_files=("compose.yaml",), revision="0" * 40,
)  # fmt: skip
REPOSITORY = RepositoryRef(
    service=SERVICE, compose_service="rustic", profile="default", main_nodes=("main",)
)
_messages: TypeAdapter[Any] = TypeAdapter(FromController)


class FolderHolder:
    """A node whose repository is this folder."""

    def __init__(self, folder: Path) -> None:
        self._repository = Repository(folder, "main")
        #: So many calls come to nothing.
        self.failing = 0

    async def repository(self, ref: RepositoryRef, key: str) -> Repository:
        if self.failing:
            self.failing -= 1
            raise ConnectionResetError("planted")
        return self._repository

    async def way(self, ref: RepositoryRef, key: str) -> Way:
        raise Failure("not asked for here")

    async def forget(self, ref: RepositoryRef, key: str, call: Any) -> None:
        raise Failure("not asked for here")


class MainAgent:
    """The channel of the node that holds it, as far as it is about the repository."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url = url
        self.holder = FolderHolder(folder)
        self._session: aiohttp.ClientSession | None = None
        self._listening: asyncio.Task[None] | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self.relays: Answering | None = None
        self._telling: set[asyncio.Future[None]] = set()

    async def connect(self) -> None:
        """Dial, and say Hello."""
        self._session = aiohttp.ClientSession(headers={"Authorization": "Bearer main-token"})
        bulk = Bulk(self._session, self._url)
        holder: Any = self.holder
        gateway = Gateway(self._session, self._url)
        self.relays = Answering(holder, bulk, gateway, self._tell)
        self._socket = await self._session.ws_connect(f"{self._url}/api/agent/channel")
        hello = Hello(protocol=PROTOCOL, node="main", version="0", state=StandInAgent.state())
        await self._socket.send_str(hello.model_dump_json())
        self._listening = asyncio.create_task(self._listen(self._socket, self.relays))

    async def kill(self) -> None:
        """As a process that ends at once."""
        assert self._session
        assert self._socket
        assert self.relays
        await self.relays.close()
        await self._socket.close()
        if self._listening:
            await self._listening
        await self._session.close()

    def _tell(self, message: ServingFailed) -> None:
        if self._socket:
            self._telling.add(
                asyncio.ensure_future(self._socket.send_str(message.model_dump_json()))
            )

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse, relays: Answering) -> None:
        async for message in socket:
            match _messages.validate_json(message.data):
                case Serve() as serve:
                    relays.begin(serve)
                case StopServing() as stop:
                    relays.stop(stop.relay)


class GatewayWorld:
    """An edge with an open question about the repository, and programs that use its gateway."""

    def __init__(self, folder: Path, nodes: Agents, main: MainAgent, url: str) -> None:
        self.repository = folder / "repository"
        self.nodes = nodes
        self.main = main
        self.url = url
        self.address = ""
        self._folder = folder

    @property
    def http(self) -> str:
        """The address as HTTP, with its token."""
        return self.address.removeprefix("rest:")

    def objects(self) -> set[str]:
        """Every file of the repository, scratch too."""
        return {
            str(path.relative_to(self.repository))
            for path in self.repository.rglob("*")
            if path.is_file()
        }

    async def rustic(self, *words: str) -> str:
        """rustic through the gateway; its output."""
        program = rustic.found()
        assert program, "bin/setup makes rustic"
        options = ("--no-progress", "--no-cache")
        env = {"RUSTIC_REPOSITORY": self.address, "RUSTIC_PASSWORD": PASSWORD}
        return await ended(await self._started(env, str(program), *options, *words))

    async def restic(self, *words: str) -> str:
        """restic through the gateway; its output."""
        return await ended(await self.restic_begun(*words))

    async def restic_begun(self, *words: str) -> asyncio.subprocess.Process:
        env = {"RESTIC_REPOSITORY": self.address, "RESTIC_PASSWORD": PASSWORD}
        return await self._started(env, "restic", "--no-cache", *words)

    async def _started(self, env: dict[str, str], *argv: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *argv,
            env={**os.environ, "HOME": str(self._folder), **env},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )

    def data(self, name: str = "data", size: int = 200_000, files: int = 5) -> Path:
        """A folder that is like no other."""
        made = self._folder / name
        made.mkdir()
        for number in range(files):
            (made / f"file{number}").write_bytes(secrets.token_bytes(size))
        return made


class ProgramFailed(Exception):
    """A program ended with an error; its output."""


async def ended(process: asyncio.subprocess.Process) -> str:
    """What it said. Raises ProgramFailed."""
    said, _ = await process.communicate()
    if process.returncode:
        raise ProgramFailed(said.decode(errors="replace"))
    return said.decode(errors="replace")


@asynccontextmanager
async def gateway_world(folder: Path) -> AsyncIterator[GatewayWorld]:
    """All of it on a state_dir, with an empty folder for the repository."""
    (folder / "repository").mkdir()
    store = await open_store(folder)
    configs = [
        NodeConfig.model_validate({"id": name, "token": f"{name}-token"})
        for name in ("main", "edge")
    ]
    nodes = Agents(configs, store, Events(), patience=600)
    app = FastAPI()
    app.include_router(agents.router)
    app.include_router(repository.router)
    problems.install(app, lambda _path: set())
    app.state.controller = SimpleNamespace(nodes=nodes, node_gate=NodeGate(configs))
    async with served(app) as url:
        main = MainAgent(url, folder / "repository")
        await main.connect()
        await until(lambda: nodes.online("main"))
        asking = asyncio.create_task(nodes.ask("edge", question()))
        world = GatewayWorld(folder, nodes, main, url)
        async with edge_gateway(url) as address:
            world.address = address
            yield world
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await main.kill()
    await store.aclose()


@asynccontextmanager
async def edge_gateway(url: str) -> AsyncIterator[str]:
    headers = {"Authorization": "Bearer edge-token"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        gateway = Gateway(session, url)
        gateway.connected()
        async with gateway.opened(KEY) as address:
            yield address
        await gateway.close()


def question() -> Asked:
    return Asked(KEY, DescribeRepository(service=SERVICE, repository=REPOSITORY))
