"""Listening: the controller's application on its address, until a signal comes."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn
from structlog import get_logger

from composia.controller.app import create_app
from composia.errors import Failure
from composia.model.config import ControllerConfig

#: Seconds between two signs of life that an agent is asked for, and for its answer.
PING, PONG = 2.0, 3.0
#: Seconds that open calls have at the end: an event stream never ends by itself.
GRACE = 3
#: Bytes of one message of an agent.
LARGEST_MESSAGE = 16 * 1024 * 1024

_log = get_logger("composia.controller")


class Server(uvicorn.Server):
    """uvicorn, that tells whether the application came up."""

    @property
    def failed(self) -> bool:
        """Whether the start-up was given up."""
        return not self.started or self.lifespan.should_exit


def server(config: ControllerConfig, config_file: Path | None = None) -> Server:
    """A server for this controller: `await server.serve(sockets=[listening(config)])`."""
    return Server(
        uvicorn.Config(
            create_app(config, config_file),
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
