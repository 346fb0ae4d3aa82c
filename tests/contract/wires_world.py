"""Two nodes' ends of a wire, and a real controller's door between them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace

import aiohttp
import uvicorn
from fastapi import FastAPI

from composia.agent import wires
from composia.controller import agents
from composia.controller.api import problems
from composia.controller.auth import NodeGate
from composia.controller.serving import PING, PONG
from composia.controller.wires import Wires
from composia.model.config import NodeConfig
from composia.operations.messages import LARGEST_MESSAGE
from composia.tools.wire import Wire
from tests.contract.nodes_world import Asked

WIRE = "01TASK-data"


class WiresWorld:
    """The nodes `main`, `edge` and `third`, and what they are asked."""

    def __init__(self, url: str, sessions: dict[str, aiohttp.ClientSession]) -> None:
        self.url = url
        self.questions: dict[tuple[str, str], Asked] = {}
        self.patience = 60.0
        self._sessions = sessions

    def ask(self, node: str, wire: str = WIRE) -> Asked:
        """Have the controller ask the node something over a wire."""
        question = Asked(f"01TASK:step:{node}:1", SimpleNamespace(wire=wire))
        self.questions[node, question.key] = question
        return question

    def end(self, node: str) -> None:
        """The node's question is answered."""
        self.questions.pop((node, f"01TASK:step:{node}:1")).ended.set()

    def wire(self, node: str, wire: str = WIRE) -> AbstractAsyncContextManager[Wire]:
        """The node dials."""
        dialling = wires.Wires(self._sessions[node], self.url, patience=self.patience)
        return dialling.open(f"01TASK:step:{node}:1", wire)


@asynccontextmanager
async def wires_world() -> AsyncIterator[WiresWorld]:
    """A controller that joins, and sessions with the nodes' tokens."""
    configs = [
        NodeConfig.model_validate({"id": node, "token": f"{node}-token"})
        for node in ("main", "edge", "third")
    ]
    app = FastAPI()
    app.include_router(agents.router)
    problems.install(app, lambda _path: set())
    sessions = {
        one.id: aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {one.token.get_secret_value()}"}
        )
        for one in configs
    }
    async with _served(app) as url:
        world = WiresWorld(url, sessions)
        nodes = SimpleNamespace(question=lambda node, key: world.questions.get((node, key)))
        app.state.controller = SimpleNamespace(
            nodes=nodes, node_gate=NodeGate(configs), wires=Wires()
        )
        yield world
        for session in sessions.values():
            await session.close()


@asynccontextmanager
async def _served(app: FastAPI) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        config = uvicorn.Config(
            app,
            log_config=None,
            ws="websockets-sansio",
            ws_max_size=LARGEST_MESSAGE,
            ws_ping_interval=PING,
            ws_ping_timeout=PONG,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[opened]))
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving
