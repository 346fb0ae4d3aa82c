"""Nodes that were given up and come back: what still runs there of services that are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog import get_logger

from composia.controller.admit import Admit
from composia.controller.store.store import Store
from composia.errors import ComposiaError
from composia.model.task import Status
from composia.workflows.migrate import MigratePlan
from composia.workflows.rescue import RescuePlan, StopStalePlan

#: Seconds until it is tried again, where somebody holds the service there or it failed.
AGAIN = 2.0
#: Seconds between two looks at whether a task has ended.
PACE = 0.5

_log = get_logger("composia.returns")


class Returns:
    """For each service that a node was given up with: a `stop-stale`, until one succeeds."""

    def __init__(self, store: Store, admit: Admit, online: Callable[[str], bool]) -> None:
        self._store = store
        self._admit = admit
        self._online = online
        self._at_work: dict[str, asyncio.Task[None]] = {}

    async def returned(self, node: str) -> None:
        """A node has said Hello."""
        for move in await self._store.left_behind(node):
            try:
                plan = await self._store.plan(move)
            except ComposiaError as error:
                _log.error("what came back is not stopped", node=node, why=error.message)
                continue
            # Of a move the source alone is asked by its own steps; here it is a target given up.
            given_up = isinstance(plan, MigratePlan) and plan.target == node
            if (isinstance(plan, RescuePlan) or given_up) and move not in self._at_work:
                assert isinstance(plan, RescuePlan | MigratePlan)
                stop = StopStalePlan(service=plan.service, node=node, of_task=move)
                self._at_work[move] = asyncio.create_task(self._until_stopped(stop))

    async def aclose(self) -> None:
        """Try no more; it goes on at the node's next Hello."""
        for work in list(self._at_work.values()):
            work.cancel()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    async def _until_stopped(self, stop: StopStalePlan) -> None:
        try:
            while self._online(stop.node) and await self._is_due(stop):
                if not await self._has_stopped(stop):
                    await asyncio.sleep(AGAIN)
        finally:
            del self._at_work[stop.of_task]

    async def _has_stopped(self, stop: StopStalePlan) -> bool:
        try:
            task = await self._admit.submit(stop, created_by="controller", source="node")
        except ComposiaError as error:
            # Somebody works on the service there: the end of that is awaited.
            _log.info("stop-stale waits", service=stop.service.name, why=error.message)
            return False
        return await self._end_of(task.id) is Status.SUCCEEDED

    async def _is_due(self, stop: StopStalePlan) -> bool:
        return stop.of_task in await self._store.left_behind(stop.node)

    async def _end_of(self, task: str) -> Status:
        while True:
            status = (await self._store.statuses([task]))[task]
            if status.ended:
                return status
            await asyncio.sleep(PACE)
