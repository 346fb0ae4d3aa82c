"""A real controller process, killed as a power cut does, with an agent that lives on."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from composia.operations.messages import Ask
from tests.twins.agent import StandInAgent
from tests.waiting import until

CONFIG = """controller:
  listen_addr: "127.0.0.1:0"
  repo_dir: {folder}/catalog
  state_dir: {folder}/state
  log_dir: {folder}/logs
  access_tokens:
    - {{name: admin, token: planted-admin-token}}
  nodes:
    - {{id: main, token: planted-main-token}}
"""
META = "name: my-app\nnodes: [main]\n"
COMPOSE = "services: {web: {image: 'busybox:lab'}}\n"
PROGRAM = Path(sys.executable).with_name("composia")
HEADERS = {"Authorization": "Bearer planted-admin-token"}


class Process:
    """`composia controller` on a folder, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failpoints = folder / "failpoints.json"
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Until it answers."""
        env = {**os.environ, "COMPOSIA_FAILPOINTS": str(self.failpoints)}
        with (self.folder / "out").open("wb") as out:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM,
                "controller", "--config", str(self.folder / "config.yaml"),
                stdout=out, stderr=out, env=env,
            )  # fmt: skip
        await until(self._is_ready, seconds=60)

    async def wait_killed(self) -> None:
        """Until something else has killed it."""
        assert self._process is not None
        async with asyncio.timeout(60):
            assert await self._process.wait() == -signal.SIGKILL

    async def kill(self) -> None:
        """SIGKILL."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def call(self, method: str, path: str) -> Any:
        """One call of the API, which must answer well."""
        async with (
            aiohttp.ClientSession(headers=HEADERS) as session,
            session.request(method, f"{self.url}/api/v1{path}") as answer,
        ):
            found = await answer.json()
            assert answer.ok, found
            return found

    async def ended(self, task: str) -> Any:
        """The task, when it has ended."""

        async def has_ended() -> bool:
            return (await self.call("GET", f"/tasks/{task}"))["finished_at"] is not None

        await until(has_ended, seconds=60)
        return await self.call("GET", f"/tasks/{task}")

    async def _is_ready(self) -> bool:
        told = (self.folder / "out").read_text()
        assert self._process is not None
        assert self._process.returncode is None, told
        found = re.search(r"event=listening .*port=(\d+)", told)
        if not found or 'event="controller starts"' not in told:
            return False
        self.url = f"http://127.0.0.1:{found[1]}"
        return True


def make_catalog(catalog: Path) -> None:
    folder = catalog / "my-app"
    folder.mkdir(parents=True)
    (folder / "composia-meta.yaml").write_text(META)
    (folder / "docker-compose.yaml").write_text(COMPOSE)
    author = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    for command in (("init", "-qb", "main"), ("add", "-A"), (*author, "commit", "-qm", "Add")):
        subprocess.run(["git", "-C", str(catalog), *command], check=True)


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Process]:
    (tmp_path / "config.yaml").write_text(CONFIG.format(folder=tmp_path))
    make_catalog(tmp_path / "catalog")
    made = Process(tmp_path)
    await made.start()
    yield made
    await made.kill()


@pytest.mark.parametrize("moment", ["before", "middle", "after"])
async def test_a_controller_killed_in_a_step_carries_the_task_on(
    process: Process, moment: str
) -> None:
    point = {"step": "deploy", "moment": moment, "action": "kill-controller"}
    process.failpoints.write_text(json.dumps([point]))
    agent = StandInAgent(process.url, token="planted-main-token")
    agent.on("deploy", changes)
    await agent.connect()
    # It may be killed before it has answered.
    with suppress(aiohttp.ClientError):
        await process.call("POST", "/services/my-app/deploy")
    await process.wait_killed()
    await agent.cut()

    await process.start()
    agent.url = process.url
    await agent.connect()
    (task,) = (await process.call("GET", "/tasks"))["items"]
    ended = await process.ended(task["id"])

    assert ended["status"] == "succeeded", ended
    assert agent.done == ["main: deploy"]
    assert ended["result"] == {"changed": {"main": True}}
    await agent.end()


async def test_a_second_controller_on_the_same_state_is_refused(process: Process) -> None:
    second = await asyncio.create_subprocess_exec(
        PROGRAM,
        "controller", "--config", str(process.folder / "config.yaml"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip

    told, _ = await asyncio.wait_for(second.communicate(), 60)

    assert second.returncode
    assert b"another controller works with" in told


async def test_no_use_of_a_token_goes_unnoted(process: Process) -> None:
    await process.call("GET", "/nodes")

    def is_noted() -> bool:
        store = process.folder / "state" / "composia.db"
        query = "SELECT token || ' ' || path FROM audit"
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            noted = [row[0] for row in db.execute(query)]
        return noted == ["admin /api/v1/nodes"]

    await until(is_noted)


async def changes(_ask: Ask, _agent: StandInAgent) -> dict[str, Any]:
    return {"changed": True}
