"""How far a step is while its node works on it: shown, logged, and told to those who watch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from structlog import get_logger

from composia.controller.asking import Question
from composia.controller.failure_points import kill_at
from composia.controller.parts import Parts
from composia.controller.store.steps import Place
from composia.model.task import StepProgress, Waiting
from composia.operations.base import Operation

#: Seconds of work after which a step is in its middle, for failure points.
MIDDLE = 0.5
#: Seconds between two records of a step's progress.
PACE = 0.5

_log = get_logger("composia.progress")


class StepQuestion(Question):
    """A question whose progress is shown as its step's."""

    def __init__(
        self,
        key: str,
        place: Place,
        operation: Operation[Any],
        parts: Parts,
        wait: Callable[[Place, Waiting | None], Awaitable[None]],
        *,
        sent: bool,
    ) -> None:
        super().__init__(key, place.task, place.name, operation, sent=sent)
        self.node = place.node
        self.place = place
        self._parts = parts
        self._wait = wait
        self._latest: StepProgress | None = None
        self._recording: asyncio.Task[None] | None = None
        self._in_the_middle = False
        self._timer: asyncio.TimerHandle | None = None

    async def sending(self) -> None:
        await self._parts.store.step_sent(self.place)
        self._timer = asyncio.get_running_loop().call_later(MIDDLE, self._middle)

    async def wait_for(self, waiting: Waiting | None) -> None:
        await self._wait(self.place, waiting)

    def logged(self, line: str) -> None:
        where = f"{self.place.node} {self.place.name}"
        self._parts.logs.write(self.place.task, line, where)

    def noted(self, name: str) -> None:
        self._middle()
        kill_at(self.place.name, name)

    def progressed(self, progress: StepProgress) -> None:
        self._latest = progress
        if self._recording is None:
            self._recording = asyncio.create_task(self._record())

    async def end(self) -> None:
        """Nothing more is told."""
        # Quick work has a middle too.
        self._middle()
        if self._timer:
            self._timer.cancel()
        if self._recording:
            self._recording.cancel()
            await asyncio.gather(self._recording, return_exceptions=True)
        if self._latest:
            await self._parts.store.step_progress(self.place, self._latest)

    def _middle(self) -> None:
        if not self._in_the_middle:
            self._in_the_middle = True
            kill_at(self.place.name, "middle")

    async def _record(self) -> None:
        try:
            while self._latest:
                latest, self._latest = self._latest, None
                await self._parts.store.step_progress(self.place, latest)
                await self._parts.show(self.place.task)
                await asyncio.sleep(PACE)
        except SQLAlchemyError as error:
            # The next one is tried again.
            _log.warning("progress not written", task=self.place.task, why=type(error).__name__)
        finally:
            self._recording = None
