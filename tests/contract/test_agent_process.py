"""A real agent process and its controller: connecting, losing each other, dying."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from composia.agent.leftovers import MARKER
from composia.model.service import ServiceRef
from composia.operations.service import Deploy, Stop
from tests.twins.controller import TOKEN, StandInController
from tests.twins.engine_socket import empty_engine

#: It says Hello when it has looked at its node, and bears silence, however long that takes here.
PROGRAM = """
import asyncio, sys
from composia.agent import channel, main
from composia.model.config import AgentConfig
main.FIRST_LOOK = channel.HEARTBEAT = 60.0
asyncio.run(main.run(AgentConfig.model_validate_json(sys.argv[1])))
"""
REF = ServiceRef(
    name="my-app",
    folder="my-app",
    project="my-app",
    compose_files=("docker-compose.yaml",),
    revision="r1",
)
FILES = {"docker-compose.yaml": "services: {}\n"}


class Machine:
    """A node's folders, its agents, and the controller they dial."""

    def __init__(self, folder: Path, controller: StandInController, docker_host: str) -> None:
        self.controller = controller
        self.state_dir = folder / "state"
        self.repo_dir = folder / "services"
        self.docker_host = docker_host
        self.agents: list[Process] = []

    async def agent(self) -> Process:
        config = (
            f'{{"controller_addr": "{self.controller.url}", "node_id": "main", "token": "{TOKEN}",'
            f' "repo_dir": "{self.repo_dir}", "state_dir": "{self.state_dir}"}}'
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, config,
            env={**os.environ, "DOCKER_HOST": self.docker_host},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        self.agents.append(process)
        return process

    async def end(self) -> None:
        for process in self.agents:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    controller = StandInController()
    controller.files["my-app"] = FILES
    with tempfile.TemporaryDirectory() as short:
        async with empty_engine(Path(short, "docker.sock")) as host, controller.serving():
            made = Machine(tmp_path, controller, host)
            yield made
            await made.end()


async def test_an_agent_says_hello_with_what_it_sees(machine: Machine) -> None:
    await machine.agent()
    hello = await machine.controller.connected()
    assert hello.node == "main"
    assert hello.state.docker
    assert hello.state.repo_dir == str(machine.repo_dir)


async def test_what_an_agent_keeps_is_for_nobody_else(machine: Machine) -> None:
    await machine.agent()
    await machine.controller.connected()
    assert machine.state_dir.stat().st_mode & 0o777 == 0o700
    # A container of another user, or an owner's own shell, looks for its files there.
    assert machine.repo_dir.stat().st_mode & 0o777 == 0o755


async def test_an_agent_dials_again_when_it_was_cut_off(machine: Machine) -> None:
    await machine.agent()
    await machine.controller.connected()
    await machine.controller.drop()
    await machine.controller.connected(times=2)


async def test_an_answer_is_told_again_until_it_was_taken(machine: Machine) -> None:
    machine.controller.acknowledges = False
    await machine.agent()
    await machine.controller.connected()
    await machine.controller.ask(Stop(service=REF))
    first = await machine.controller.outcome()
    await machine.controller.drop()
    hello = await machine.controller.connected(times=2)
    assert hello.open_keys == (first.key,)
    assert await machine.controller.outcome(times=2) == first


async def test_a_question_outlives_the_connection_it_came_by(machine: Machine) -> None:
    machine.controller.gives.clear()
    await machine.agent()
    await machine.controller.connected()
    await machine.controller.ask(Deploy(service=REF))
    await machine.controller.until(lambda: machine.controller.bundles_given == 1)
    await machine.controller.drop()
    hello = await machine.controller.connected(times=2)
    assert hello.open_keys == ("01TASK:step:main:1",)
    await machine.controller.cancel()
    error = (await machine.controller.outcome()).error
    assert error
    assert error.kind == "Cancelled"


async def test_a_killed_agent_answers_interrupted_after_its_next_start(machine: Machine) -> None:
    machine.controller.gives.clear()
    process = await machine.agent()
    await machine.controller.connected()
    await machine.controller.ask(Deploy(service=REF))
    await machine.controller.until(lambda: machine.controller.bundles_given == 1)
    process.kill()
    await process.wait()
    await machine.agent()
    error = (await machine.controller.outcome()).error
    assert error
    assert error.kind == "Interrupted"


async def test_an_agent_told_to_end_goes_at_once_and_well(machine: Machine) -> None:
    machine.controller.gives.clear()
    process = await machine.agent()
    await machine.controller.connected()
    await machine.controller.ask(Deploy(service=REF))
    await machine.controller.until(lambda: machine.controller.bundles_given == 1)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await process.wait() == 0


async def test_a_second_agent_with_the_same_state_is_refused(machine: Machine) -> None:
    await machine.agent()
    await machine.controller.connected()
    second = await machine.agent()
    said, _ = await second.communicate()
    assert second.returncode
    assert b"another agent works with" in said


async def test_no_token_is_ever_logged(machine: Machine) -> None:
    process = await machine.agent()
    await machine.controller.connected()
    process.send_signal(signal.SIGTERM)
    said, _ = await process.communicate()
    assert b"agent starts" in said
    assert TOKEN.encode() not in said


async def test_a_program_that_a_killed_agent_left_is_ended(machine: Machine) -> None:
    machine.state_dir.mkdir()
    left = await asyncio.create_subprocess_exec(
        "sleep", "1000", env={**os.environ, MARKER: str(machine.state_dir.resolve())}
    )
    await machine.agent()
    await machine.controller.connected()
    async with asyncio.timeout(20):
        assert await left.wait() == -signal.SIGKILL
