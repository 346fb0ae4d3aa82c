"""A node to be asked, behind the real channel and as its memory twin."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import uvicorn
from fastapi import FastAPI

from composia.controller import agents
from composia.controller.api import problems
from composia.controller.asking import Nodes, Question
from composia.controller.auth import NodeGate
from composia.controller.events import Events
from composia.controller.nodes import Agents
from composia.controller.store.store import open_store
from composia.model.config import NodeConfig
from composia.model.task import StepProgress, Waiting
from composia.operations.messages import Ask
from tests.twins.agent import StandInAgent
from tests.twins.nodes import MemoryNodes
from tests.waiting import until

#: Seconds that a question waits for its node in these tests.
PATIENCE = 0.3

Work = Callable[[], Awaitable[dict[str, Any]]]


class NodesWorld(Protocol):
    """The node `main`."""

    @property
    def nodes(self) -> Nodes: ...

    @property
    def done(self) -> list[str]: ...

    def works(self, work: Work) -> None: ...

    async def cut(self) -> None: ...

    async def join(self) -> None: ...

    def kill(self) -> None: ...


class MemoryWorld:
    """The twin."""

    def __init__(self) -> None:
        self.nodes: MemoryNodes = MemoryNodes(patience=PATIENCE)

    @property
    def done(self) -> list[str]:
        return self.nodes.done

    def works(self, work: Work) -> None:
        self.nodes.on("deploy", lambda _question: work())

    async def cut(self) -> None:
        await self.nodes.disconnect("main")

    async def join(self) -> None:
        await self.nodes.connect("main")

    def kill(self) -> None:
        self.nodes.kill("main")


class ChannelWorld:
    """The real registry, on a port of its own, and an agent that dials it."""

    def __init__(self, nodes: Agents, agent: StandInAgent) -> None:
        self.nodes: Agents = nodes
        self.agent = agent

    @property
    def done(self) -> list[str]:
        return self.agent.done

    def works(self, work: Work) -> None:
        def does(_ask: Ask, _agent: StandInAgent) -> Awaitable[dict[str, Any]]:
            return work()

        self.agent.on("deploy", does)

    async def cut(self) -> None:
        await self.agent.cut()
        await until(lambda: not self.nodes.online("main"))

    async def join(self) -> None:
        await self.agent.connect()

    def kill(self) -> None:
        self.agent.kill()


@asynccontextmanager
async def memory_world(_folder: Path) -> AsyncIterator[MemoryWorld]:
    """The twin."""
    world = MemoryWorld()
    yield world
    await world.nodes.end()


@asynccontextmanager
async def channel_world(folder: Path) -> AsyncIterator[ChannelWorld]:
    """The real thing."""
    store = await open_store(folder)
    config = NodeConfig.model_validate({"id": "main", "token": "main-token"})
    nodes = Agents([config], store, Events(), patience=PATIENCE)
    app = FastAPI()
    app.include_router(agents.router)
    problems.install(app, lambda _path: set())
    app.state.controller = SimpleNamespace(nodes=nodes, node_gate=NodeGate([config]))
    async with served(app) as url:
        agent = StandInAgent(url)
        await agent.connect()
        yield ChannelWorld(nodes, agent)
        await agent.end()
    await store.aclose()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application on a port of its own; its address."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        config = uvicorn.Config(
            app, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=1
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[opened]))
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


class Asked(Question):
    """A question that remembers what it was told."""

    def __init__(self, key: str, operation: Any, *, sent: bool = False) -> None:
        super().__init__(key, "task", "deploy", operation, sent=sent)
        self.lines: list[str] = []
        self.notes: list[str] = []
        self.progress: list[StepProgress] = []
        self.waited: list[Waiting] = []
        self.sendings = 0
        self.is_waiting = asyncio.Event()
        self.goes_on = asyncio.Event()
        self.was_sent = asyncio.Event()

    async def sending(self) -> None:
        self.sendings += 1
        self.was_sent.set()

    async def wait_for(self, waiting: Waiting | None) -> None:
        if waiting:
            self.waited.append(waiting)
            self.is_waiting.set()
        else:
            self.goes_on.set()

    def logged(self, line: str) -> None:
        self.lines.append(line)

    def noted(self, name: str) -> None:
        self.notes.append(name)

    def progressed(self, progress: StepProgress) -> None:
        self.progress.append(progress)
