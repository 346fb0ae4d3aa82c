"""What users run between rustic on a node and the repository on another: three processes.

The controller is the real one, whole. The agents are what answers for the repository on `main`,
and the gateway on `edge`, without what needs an engine. Each part says a line when it is there,
and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog
import uvloop

from composia.controller import serving
from composia.model.config import ControllerConfig
from tests.contract.gateway_world import MainAgent, edge_gateway, question
from tests.lab.paths import ROOT
from tests.lab.shell import run
from tests.twins.agent import StandInAgent
from tests.waiting import until

NODES = ("main", "edge")


@asynccontextmanager
async def three_processes(folder: Path) -> AsyncIterator[str]:
    """All of it for `folder`/repository, which is made; the gateway's address."""
    (folder / "repository").mkdir()
    async with (
        _part("controller", str(folder / "controller")) as url,
        _part("main", url, str(folder / "repository")),
        _part("edge", url) as address,
    ):
        yield address


@asynccontextmanager
async def _part(*words: str) -> AsyncIterator[str]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.gateway_parts", *words,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert started.stdin
    assert started.stdout
    try:
        said = await asyncio.wait_for(started.stdout.readline(), 30)
        if not said:
            raise RuntimeError(f"{words[0]} did not come up")
        yield said.decode().strip()
    finally:
        started.stdin.close()
        await started.communicate()


async def _controller(folder: str) -> None:
    config = _config(Path(folder))
    server = serving.server(config)
    with socket.create_server(("127.0.0.1", 0)) as opened:
        working = asyncio.create_task(server.serve(sockets=[opened]))
        await until(lambda: server.started, 30)
        nodes = server.config.app.state.controller.nodes  # type: ignore[union-attr]  # as `server` made it
        asking = asyncio.create_task(_asked(nodes))
        await _until_told(f"http://127.0.0.1:{opened.getsockname()[1]}")
        asking.cancel()
        server.should_exit = True
        await working


def _config(folder: Path) -> ControllerConfig:
    run("git", "init", "--quiet", str(folder / "catalog"))
    return ControllerConfig.model_validate({
        "repo_dir": folder / "catalog",
        "state_dir": folder / "state",
        "log_dir": folder / "logs",
        "nodes": tuple({"id": node, "token": f"{node}-token"} for node in NODES),
    })  # fmt: skip


async def _asked(nodes: Any) -> None:
    await until(lambda: all(nodes.online(node) for node in NODES), 30)
    await nodes.ask("edge", question())


async def _main(url: str, folder: str) -> None:
    agent = MainAgent(url, Path(folder))
    await agent.connect()
    await _until_told("connected")
    await agent.kill()


async def _edge(url: str) -> None:
    agent = StandInAgent(url, "edge", "edge-token")
    asked = asyncio.Event()

    async def works(*_: object) -> dict[str, Any]:
        asked.set()
        return await asyncio.Future()

    agent.on("deploy", works)
    await agent.connect()
    await asyncio.wait_for(asked.wait(), 30)
    async with edge_gateway(url) as address:
        await _until_told(address)
    await agent.end()


async def _until_told(said: str) -> None:
    """Say it, and go on until whoever has started this wants its end."""
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


PARTS: dict[str, Any] = {"controller": _controller, "main": _main, "edge": _edge}

if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    part: Awaitable[None] = PARTS[sys.argv[1]](*sys.argv[2:])
    uvloop.run(part)  # type: ignore[arg-type]  # a coroutine
