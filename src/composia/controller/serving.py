"""Listening: the controller's application on its address, until a signal comes."""

from __future__ import annotations

import gc
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from structlog import get_logger

from composia.controller.app import create_app
from composia.errors import Failure
from composia.model.config import ControllerConfig
from composia.operations.messages import LARGEST_MESSAGE

#: Seconds between two signs of life that an agent is asked for, and for its answer.
PING, PONG = 2.0, 3.0
#: Seconds that open calls have at the end: an event stream never ends by itself.
GRACE = 3
#: Seconds that an idle connection is kept: longer than agents do, or one that they are about to use
#: would be closed under them.
KEEP = 60

#: Objects between two looks for garbage. A page makes some thousands, and drops them by itself;
#: with Python's 700, every sixtieth page waited until the whole heap had been looked through.
MADE_BY_A_PAGE = 20_000

_log = get_logger("composia.controller")


class Server(uvicorn.Server):
    """uvicorn, that ends quietly on a signal and tells why it did not come up."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end it; they are not raised once more, for an agent may be beside."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Come up; what stands from now on is no garbage, and is not looked through for it."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(MADE_BY_A_PAGE, *gc.get_threshold()[1:])

    async def listen(self, config: ControllerConfig) -> None:
        """Serve until a signal comes, or `should_exit`. Raises why it could not begin."""
        # uvicorn would end the process, and with it an agent beside.
        with listening(config) as opened, suppress(SystemExit):
            await self.serve(sockets=[opened])
        if not self.started:
            app: FastAPI = self.config.app  # type: ignore[assignment]  # as `server` made it
            raise getattr(app.state, "failure", None) or Failure("the controller did not come up")


def server(
    config: ControllerConfig,
    config_file: Path | None = None,
    more: Callable[[FastAPI], None] | None = None,
) -> Server:
    """A server for this controller: `await server(config).listen(config)`.

    `more` adds to the application what stands above the controller.
    """
    app = create_app(config, config_file)
    if more:
        more(app)
    return Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            ws="websockets-sansio",
            ws_max_size=LARGEST_MESSAGE,
            ws_ping_interval=PING,
            ws_ping_timeout=PONG,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=KEEP,
        )
    )


def listening(config: ControllerConfig) -> socket.socket:
    """The open socket. Raises Failure where the address cannot be had."""
    host, port = config.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise Failure(
            f"cannot listen on {config.listen_addr}: {error.strerror}",
            hint="Does something else listen there? `listen_addr` in config.yaml names another.",
        ) from error
    opened.setblocking(False)
    address = opened.getsockname()
    _log.info("listening", host=address[0], port=address[1])
    return opened
