from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from composia.agent import leftovers
from composia.tools.shell import Command, LocalShell, Running


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
