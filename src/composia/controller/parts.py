"""What a task that is carried out works with."""

from __future__ import annotations

from dataclasses import dataclass

from composia.controller.asking import Nodes
from composia.controller.events import Event, Events
from composia.controller.logs import Logs
from composia.controller.store.store import Store
from composia.workflows.plan import Control


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run works with."""

    store: Store
    nodes: Nodes
    control: Control
    logs: Logs
    events: Events

    async def show(self, task: str) -> None:
        """Tell those who watch how far the task has come."""
        if self.events.watched:
            await self.tell(task)
        else:
            self.events.changed()

    async def tell(self, task: str) -> None:
        """Tell those who listen that the task has begun or ended, and how."""
        if not self.events.heard:
            self.events.changed()
        elif found := await self.store.task(task):
            data = found.model_dump(mode="json", by_alias=True)
            self.events.publish(Event("task", found.service, data))
