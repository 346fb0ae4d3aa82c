"""The command `composia`: the command line, and the processes it starts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import click

from composia.cli import cli

# What the processes need is imported when they start: the command line is to be quick.
if TYPE_CHECKING:
    from composia.model.config import AgentConfig, Config, ControllerConfig

_config = click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default="config.yaml",
    show_default=True,
    envvar="COMPOSIA_CONFIG",
    help="The configuration.  [COMPOSIA_CONFIG]",
)


@cli.command()
@_config
def controller(file: Path) -> None:
    """Run the controller: the API, the catalog, and the tasks.

    \b
    Example:
      composia controller --config /etc/composia/config.yaml
    """
    config = _read(file)
    _run(_controller(_section(config.controller, "controller", file), file))


@cli.command()
@_config
def agent(file: Path) -> None:
    """Run the agent of this node.

    \b
    Example:
      composia agent --config /etc/composia/config.yaml
    """
    config = _read(file)
    _run(_agent(_section(config.agent, "agent", file)))


@cli.command()
@_config
def serve(file: Path) -> None:
    """Run both in one process, for one machine.

    \b
    Example:
      composia serve --config /srv/composia/config.yaml
    """
    config = _read(file)
    controlling = _section(config.controller, "controller", file)
    working = _section(config.agent, "agent", file)
    _run(_both(controlling, working, file))


def main() -> None:
    """The entry point."""
    cli()


async def _controller(config: ControllerConfig, file: Path) -> None:
    with _importing():
        from composia import web
        from composia.controller.serving import server

    await server(config, file, web.mount).listen(config)


async def _agent(config: AgentConfig) -> None:
    with _importing():
        from composia.agent.main import run

    await run(config)


async def _both(controlling: ControllerConfig, working: AgentConfig, file: Path) -> None:
    import asyncio

    with _importing():
        from composia import web
        from composia.agent.main import run
        from composia.controller.serving import server

    controlling_server = server(controlling, file, web.mount)
    serving = asyncio.create_task(controlling_server.listen(controlling))
    agent_task = asyncio.create_task(run(working, signals=False))
    try:
        await asyncio.wait((serving, agent_task), return_when=asyncio.FIRST_COMPLETED)
    finally:
        controlling_server.should_exit = True
        agent_task.cancel()
        ended = await asyncio.gather(agent_task, serving, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException) and not isinstance(error, asyncio.CancelledError):
            raise error


@contextmanager
def _importing() -> Iterator[None]:
    """Spare the garbage collector what is never garbage: a fifth of a start, and of each turn."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _read(file: Path) -> Config:
    with _importing():
        from composia.model.config import load_config

    config = load_config(file)
    _log_to_stdout(_secrets(config))
    return config


def _section(section: Any, name: str, file: Path) -> Any:
    from composia.errors import Invalid

    if section is None:
        raise Invalid(f"{file} has no section `{name}`", hint="`composia init` writes one.")
    return section


def _run(work: Coroutine[Any, Any, None]) -> None:
    import uvloop

    uvloop.run(work)


def _secrets(config: Config) -> tuple[str, ...]:
    from composia.controller.logs import secrets_of

    return tuple(sorted(secrets_of(config), key=len, reverse=True))


def _log_to_stdout(secrets: Iterable[str]) -> None:
    import logging

    import structlog

    def hidden(_logger: Any, _name: str, line: Any) -> Any:
        for secret in secrets:
            line = line.replace(secret, "…")
        return line

    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            ),
            hidden,
        ],
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Lossy(sys.stdout))),
    )


class Lossy:
    """The process's own log: whoever says something goes on, whether or not the disk takes it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        """Say it."""
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        """Now."""
        with suppress(OSError):
            self._file.flush()
