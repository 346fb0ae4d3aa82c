"""The pages on a port of the system's choice, in a thread of their own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from composia import web
from composia.controller import api
from tests.waiting import until


class Serving:
    """A server that can be stopped and started again on the same port."""

    def __init__(self, office: Any) -> None:
        self.office = office
        self.app = FastAPI(openapi_url="/api/v1/openapi.json")
        api.mount(self.app)
        web.mount(self.app)
        self.app.state.controller = office
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; returns when it does."""
        config = uvicorn.Config(
            self.app,
            port=self.port,
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(60)

    def stop(self) -> None:
        """End, and cut every connection."""
        if self._server and self._thread:
            self._server.should_exit = True
            self._thread.join(60)

    def _run(self, ready: threading.Event) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        assert self._server
        server, self.loop = self._server, asyncio.get_running_loop()
        serving = asyncio.create_task(server.serve())
        await until(lambda: server.started or serving.done())
        ready.set()
        await serving


@contextmanager
def served(office: Any) -> Iterator[Serving]:
    """The pages over this controller, until the end of it."""
    serving = Serving(office)
    serving.start()
    try:
        yield serving
    finally:
        serving.stop()
