"""Of two that work with one folder the second one ends, unless the first is gone."""

from __future__ import annotations

import asyncio
import fcntl
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from composia.errors import Conflict
from composia.tools import alone as module
from composia.tools.alone import alone


async def test_another_one_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LINGERS", 0.1)
    async with alone(tmp_path, "agent"):
        with pytest.raises(Conflict, match=f"another agent works .*: process {os.getpid()}$"):
            async with alone(tmp_path, "agent"):
                pass
        async with alone(tmp_path, "controller"):
            pass


async def test_what_a_killed_one_had_open_is_waited_for(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        with (tmp_path / "agent.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            begins = asyncio.create_task(stack.enter_async_context(alone(tmp_path, "agent")))
            await asyncio.sleep(0)
            assert not begins.done()
        await asyncio.wait_for(begins, 30)
