"""An engine that many people watch."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from composia.tools.docker import Docker
from composia.tools.shell import LocalShell
from tests.twins.engine_socket import empty_engine

#: More than a client has connections.
WATCHERS = 101


async def test_however_many_logs_are_followed_the_engine_answers(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(empty_engine(tmp_path / "docker.sock"))
        docker = Docker(LocalShell(), host)
        stack.push_async_callback(docker.aclose)
        for _ in range(WATCHERS):
            following = await stack.enter_async_context(aclosing(docker.logs("web", follow=True)))
            assert await asyncio.wait_for(anext(following), 10) == b"a line\n"

        assert await asyncio.wait_for(docker.containers(), 10) == []
