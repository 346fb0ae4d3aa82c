"""Ending forwards of this node when their time is over, whoever had begun them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog

from composia.agent.executor import Executor
from composia.agent.sites import Errand, Sites
from composia.errors import ComposiaError
from composia.operations import forward, forwarded
from composia.operations.forwarded import Forward

log = structlog.get_logger()

#: Seconds between two looks at what is over.
LOOK = 1.0
#: Seconds until one that could not be ended is tried again.
AGAIN = 30.0


class _NoNotes:
    """Nothing is put right from notes here: what is not done is done at the next look."""

    async def note(self, name: str, **facts: Any) -> None:
        return

    def progress(self, done: int, total: int | None = None) -> None:
        return

    def log(self, line: str) -> None:
        log.info(line)


async def ended(executor: Executor, sites: Sites) -> None:
    """Look every second, and end what is over."""
    while True:
        wait = LOOK
        try:
            for one in forwarded.due(sites.instances, datetime.now(UTC)):
                async with executor.alone(one.service.name):
                    await _end(one, sites)
        except (ComposiaError, OSError, ValueError) as error:
            log.warning("a forward could not be ended", reason=str(error))
            wait = AGAIN
        await asyncio.sleep(wait)


async def _end(due: Forward, sites: Sites) -> None:
    errand = Errand(due.service, None, due.task, key="", caddy=due.caddy)
    site = sites.site(errand, _NoNotes())
    # It may have been replaced while an operation was waited for.
    if forwarded.read(site.state) == due:
        await forward.end(site)
        log.info("ended a forward", service=due.service.name, to=due.to)
