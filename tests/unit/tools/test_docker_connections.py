"""An engine that many people watch."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.tools import docker as dockers
from composia.tools.docker import Docker
from composia.tools.shell import LocalShell
from tests.twins.engine_socket import UNREADABLE, empty_engine

#: More than a client has connections.
WATCHERS = 101


async def test_however_many_logs_are_followed_the_engine_answers(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(empty_engine(tmp_path / "docker.sock"))
        docker = Docker(LocalShell(), host)
        stack.push_async_callback(docker.aclose)
        for _ in range(WATCHERS):
            following = await stack.enter_async_context(aclosing(docker.logs("web", follow=True)))
            assert await asyncio.wait_for(anext(following), 30) == b"a line\n"

        assert await asyncio.wait_for(docker.containers(), 30) == []


async def test_a_log_that_cannot_be_read_is_told_in_the_words_of_the_engine(tmp_path: Path) -> None:
    async with empty_engine(tmp_path / "docker.sock") as host:
        docker = Docker(LocalShell(), host)
        with pytest.raises(Failure, match="does not support reading"):
            async with aclosing(docker.logs(UNREADABLE, follow=True)) as lines:
                await anext(lines)
        await docker.aclose()


async def test_a_container_that_goes_on_though_it_was_killed_is_a_failure(tmp_path: Path) -> None:
    async with empty_engine(tmp_path / "docker.sock") as host:
        docker = Docker(LocalShell(), host)
        with pytest.raises(Failure, match="could not kill"):
            await docker.kill_and_remove("hung")
        await docker.aclose()


@pytest.mark.parametrize("name", ["busy", "going"])
async def test_one_that_has_ended_is_enough_where_it_is_not_removed_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(dockers, "REMOVAL", 0.2)
    async with empty_engine(tmp_path / "docker.sock") as host:
        docker = Docker(LocalShell(), host)
        await asyncio.wait_for(docker.kill_and_remove(name), 30)
        await docker.aclose()
