"""`composia agent`: the process that works on one node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from composia import __version__
from composia.agent import forwards, leftovers
from composia.agent.bulk import Bulk
from composia.agent.channel import Channel
from composia.agent.checkout import Checkouts
from composia.agent.executor import Executor
from composia.agent.gateway import Gateway
from composia.agent.holder import Holder
from composia.agent.host import Host
from composia.agent.journal import Journal
from composia.agent.outbox import Outbox
from composia.agent.readings import Readings
from composia.agent.relays import Relays
from composia.agent.sites import ASIDE, CHECKED, Doors, Sites
from composia.agent.wires import Wires
from composia.errors import ComposiaError, Failure
from composia.model.config import AgentConfig
from composia.operations import left_behind
from composia.operations.kept import expire
from composia.tools.alone import alone
from composia.tools.compose_program import find_compose
from composia.tools.docker import Docker
from composia.tools.mounts import try_to_remove
from composia.tools.shell import LocalShell

log = structlog.get_logger()

#: Seconds in which a first look at the node should end; the controller is not kept waiting longer.
FIRST_LOOK = 2.0
#: Seconds between two looks at what may be removed.
TIDY = 3600.0
#: Seconds until an engine that is away is tried again.
RETRY = 5.0


async def run(config: AgentConfig, *, signals: bool = True) -> None:
    """Work until cancelled, or with `signals` until SIGTERM or SIGINT.

    Raises Conflict where another agent works with the same state_dir.
    """
    state_dir = _folder(config.state_dir, mode=0o700)
    _folder(config.repo_dir)
    async with alone(state_dir, "agent"):
        log.info(
            "agent starts",
            node=config.node_id,
            version=__version__,
            controller=config.controller_addr,
            repo_dir=str(config.repo_dir),
            state_dir=str(state_dir),
        )
        if ended := await asyncio.to_thread(leftovers.end_programs, state_dir):
            log.warning("ended programs of an earlier agent", programs=ended)
        await asyncio.to_thread(try_to_remove, state_dir / CHECKED)
        async with _agent(config, state_dir) as work:
            await _until_told(work, signals)
        log.info("agent ends", node=config.node_id)


@asynccontextmanager
async def _agent(
    config: AgentConfig, state_dir: Path
) -> AsyncIterator[list[Coroutine[Any, Any, None]]]:
    """Everything that goes on in an agent; leaving it lets operations clean up."""
    shell = LocalShell({**os.environ, **leftovers.mark(state_dir)})
    docker, outbox, journal = Docker(shell), Outbox(), Journal(state_dir / "journal")
    async with _session(config) as session:
        bulk = Bulk(session, config.controller_addr)
        checkouts = Checkouts(config.repo_dir, state_dir)
        wires = Wires(session, config.controller_addr)
        generated = config.caddy.generated_dir if config.caddy else None
        gateway = Gateway(session, config.controller_addr)
        sites = Sites(
            config.node_id, state_dir, checkouts, shell, docker, Doors(bulk, wires, gateway),
            generated, await find_compose(shell),
        )  # fmt: skip
        relays = Relays(Holder(sites), bulk, gateway, outbox.send)
        host = Host(sites, outbox.send)
        executor = Executor(config.node_id, journal, sites, outbox, host.look_again, host.show)
        readings = Readings(sites, bulk, outbox)
        channel = Channel(
            session, config.controller_addr, config.node_id, outbox, executor, readings, host,
            relays,
        )  # fmt: skip
        try:
            await executor.put_all_right()
            yield [
                host.run(),
                _connected(channel, host),
                _tidied(journal, sites, executor),
                forwards.ended(executor, sites),
                _without_old_readings(docker),
            ]
        finally:
            await executor.close()
            await readings.close()
            await relays.close()
            journal.close()
            await docker.aclose()


async def _until_told(work: list[Coroutine[Any, Any, None]], signals: bool) -> None:
    """Do all of it until a signal comes; an error in one of them ends the agent."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT) if signals else ():
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    working: asyncio.Future[Any] = asyncio.gather(*work)
    waiting: asyncio.Future[Any] = asyncio.ensure_future(told.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)


async def _connected(channel: Channel, host: Host) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_LOOK):
            await host.seen.wait()
    await channel.run()


async def _tidied(journal: Journal, sites: Sites, executor: Executor) -> None:
    """Remove, every hour, what is kept no longer."""
    without_left = partial(_without_left, executor)
    while True:
        for tidy in (_without_old_outcomes, _without_replaced, without_left):
            try:
                await tidy(journal, sites)
            except (ComposiaError, OSError) as error:
                log.warning("could not tidy up", reason=str(error))
        await asyncio.sleep(TIDY)


async def _without_old_outcomes(journal: Journal, sites: Sites) -> None:
    await journal.expire(datetime.now(UTC))


async def _without_replaced(journal: Journal, sites: Sites) -> None:
    aside, now = sites.checkouts.repo_dir / ASIDE, datetime.now(UTC)
    for task in await expire(aside, sites.docker, now, at_work=journal.tasks_at_work):
        log.info("removed what a restore had replaced", task=task)


async def _without_left(executor: Executor, journal: Journal, sites: Sites) -> None:
    repo_dir, now, alone = sites.checkouts.repo_dir, datetime.now(UTC), executor.alone
    for left in await left_behind.expire(sites.instances, repo_dir, sites.docker, now, alone):
        log.info("removed what a service had left behind", service=left.service)
        if left.changed:
            log.warning("changed since it was left: it stays", places=list(left.changed))
        if left.elsewhere:
            log.warning("not in the service's folder: it stays", places=list(left.elsewhere))


async def _without_old_readings(docker: Docker) -> None:
    while True:
        if (await docker.versions())[0]:
            # Once: later they may be this agent's own. What is left of them ends by itself.
            with contextlib.suppress(Failure):
                await leftovers.end_readings(docker)
            return
        await asyncio.sleep(RETRY)


def _session(config: AgentConfig) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {config.token.get_secret_value()}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
        # Logs and listings of many people at once, beside bundles.
        connector=aiohttp.TCPConnector(limit=0),
    )


def _folder(path: Path, *, mode: int = 0o755) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as error:
        raise Failure(
            f"{path} cannot be made: {error.strerror}", hint="Check the agent's paths and rights."
        ) from error
    return path.resolve()
