"""Nodes that were given up and come back: what still runs there of services that are elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from structlog import get_logger

from composia.controller.admit import Admit
from composia.controller.runner import Runner
from composia.controller.store.store import Store
from composia.errors import ComposiaError, Conflict
from composia.model.task import Status, Task
from composia.workflows.backup import BackupPlan
from composia.workflows.migrate import MigratePlan
from composia.workflows.plan import Plan, instance
from composia.workflows.rescue import RescuePlan, StopStalePlan
from composia.workflows.restore import RestorePlan
from composia.workflows.verify import VerifyPlan

#: Work on data that is not the service's any more: not worth its end, however long that takes.
STALE = (BackupPlan, VerifyPlan, RestorePlan)
#: Seconds until it is tried again, where somebody holds the service there or it failed.
AGAIN = 2.0
#: The same at most, for one that fails again and again.
LONGEST = 60.0
#: Seconds between two looks at whether a task has ended.
PACE = 0.5

_log = get_logger("composia.returns")


class Returns:
    """For each service that a node was given up with: a `stop-stale`, until one succeeds."""

    def __init__(
        self, store: Store, admit: Admit, runner: Runner, online: Callable[[str], bool]
    ) -> None:
        self._store = store
        self._admit = admit
        self._runner = runner
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
            stop = _stop(plan, move, node)
            if stop and move not in self._at_work:
                self._at_work[move] = asyncio.create_task(self._until_stopped(stop))

    async def aclose(self) -> None:
        """Try no more; it goes on at the node's next Hello."""
        for work in list(self._at_work.values()):
            work.cancel()
        await asyncio.gather(*self._at_work.values(), return_exceptions=True)

    async def _until_stopped(self, stop: StopStalePlan) -> None:
        wait = AGAIN
        try:
            while self._online(stop.node):
                try:
                    if not await self._is_due(stop) or await self._has_stopped(stop):
                        return
                except Conflict as error:
                    # Somebody works on the service there: the end of that is awaited.
                    _log.info("stop-stale waits", service=stop.service.name, why=error.message)
                    await self._cancel_stale_work(stop)
                    await asyncio.sleep(AGAIN)
                    continue
                except Exception:
                    # A full disk, perhaps. Until the node's next Hello nobody else would try.
                    _log.exception("stop-stale", service=stop.service.name)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST)
        finally:
            del self._at_work[stop.of_task]

    async def _has_stopped(self, stop: StopStalePlan) -> bool:
        task = await self._earlier(stop)
        if task is None:
            task = await self._admit.submit(stop, created_by="controller", source="node")
        elif task.status.ended:
            task = await self._runner.retry(task.id)
        return await self._end_of(task.id) is Status.SUCCEEDED

    async def _cancel_stale_work(self, stop: StopStalePlan) -> None:
        service, node = stop.service.name, stop.node
        why = f"{node} had been given up, and what still runs of {service} there is stopped first"
        try:
            for task in await self._store.holders(instance(service, node)):
                with suppress(ComposiaError):
                    if await self._is_stale(task):
                        await self._runner.cancel(task, why=why)
        except Exception:
            _log.exception("stale work is not cancelled", service=service, node=node)

    async def _is_stale(self, task: str) -> bool:
        plan = await self._store.plan(task)
        return isinstance(plan, STALE) and not await self._store.cancel_asked(task)

    async def _earlier(self, stop: StopStalePlan) -> Task | None:
        """The task that has tried it before: one is enough, however often it is tried."""
        service = stop.service.name
        for task in await self._store.tasks(services=(service,), type=stop.plan):
            with suppress(ComposiaError):
                plan = await self._store.plan(task.id)
                if isinstance(plan, StopStalePlan) and plan.of_task == stop.of_task:
                    return task if task.status is not Status.SUCCEEDED else None
        return None

    async def _is_due(self, stop: StopStalePlan) -> bool:
        return stop.of_task in await self._store.left_behind(stop.node)

    async def _end_of(self, task: str) -> Status:
        while True:
            status = (await self._store.statuses([task]))[task]
            if status.ended:
                return status
            await asyncio.sleep(PACE)


def _stop(plan: Plan | None, move: str, node: str) -> StopStalePlan | None:
    match plan:
        case RescuePlan(service=service, caddy_on_gone=caddy):
            return StopStalePlan(service=service, node=node, of_task=move, caddy=caddy)
        # Of a move the source alone is asked by its own steps; here it is a target given up.
        case MigratePlan(service=service, caddy_on_target=caddy) if plan.target == node:
            return StopStalePlan(service=service, node=node, of_task=move, caddy=caddy)
        case _:
            return None
