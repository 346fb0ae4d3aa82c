from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from composia.agent import leftovers
from composia.errors import Failure
from composia.tools.shell import Command, LocalShell, Running
from tests.twins.docker import MemoryDocker


@asynccontextmanager
async def program(state_dir: Path) -> AsyncIterator[Running]:
    command = Command(("sh", "-c", "echo begun; read never"), env=leftovers.mark(state_dir))
    async with LocalShell().start(command) as running:
        # The kernel shows its environment a moment after its start.
        await running.stdout.readline()
        yield running


async def test_programs_of_an_earlier_agent_are_ended_and_no_others(tmp_path: Path) -> None:
    mine, others = tmp_path / "mine", tmp_path / "others"
    async with program(mine) as one, program(mine) as two, program(others) as other:
        assert await asyncio.to_thread(leftovers.end_programs, mine) == 2
        assert (await one.wait(), await two.wait()) == (-signal.SIGKILL, -signal.SIGKILL)
        assert await asyncio.to_thread(leftovers.end_programs, mine) == 0
        assert await asyncio.to_thread(leftovers.end_programs, others) == 1
        assert await other.wait() == -signal.SIGKILL


async def test_one_that_cannot_die_is_waited_for_in_peace_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *_: None)
    monkeypatch.setattr(leftovers, "PATIENCE", 0.5)
    looks: list[bytes] = []
    marked = leftovers._marked

    def counted(wanted: bytes) -> Iterator[int]:
        looks.append(wanted)
        return marked(wanted)

    monkeypatch.setattr(leftovers, "_marked", counted)
    async with program(tmp_path), asyncio.timeout(30):
        assert await asyncio.to_thread(leftovers.end_programs, tmp_path) == 1
    assert len(looks) <= 0.5 / leftovers.PAUSE + 2


async def test_readings_of_an_earlier_agent_are_ended_though_one_of_them_is_not() -> None:
    docker = MemoryDocker()
    for name in (f"{leftovers.READING}1", f"{leftovers.READING}2", "web"):
        docker.add(name)
    docker.refuses_kills = 1
    await leftovers.end_readings(docker)
    assert docker.running() == {f"{leftovers.READING}1", "web"}


async def test_all_containers_are_killed_that_can_be_and_the_other_is_named() -> None:
    docker = MemoryDocker()
    docker.add("one")
    docker.add("two")
    docker.refuses_kills = 1
    with pytest.raises(Failure, match="one: Docker: could not kill") as raised:
        await leftovers.end_containers(docker, ["one", "two", "one"])
    assert "docker rm -f one" in (raised.value.hint or "")
    assert docker.done == ["kill two"]
