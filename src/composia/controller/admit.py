"""Letting tasks in: the row and what it holds, or the name of who holds it."""

from __future__ import annotations

from collections.abc import Callable

from composia.controller.parts import Parts
from composia.controller.store.keys import KeyTaken
from composia.controller.store.tasks import NewTask
from composia.controller.store.times import Ids
from composia.errors import Conflict
from composia.model.task import Key, Task
from composia.workflows.plan import Plan

#: Begins a task, with its attempt.
Start = Callable[[str, int], None]


class Admit:
    """The door for new tasks."""

    def __init__(self, parts: Parts, ids: Ids, start: Start) -> None:
        self._parts = parts
        self._ids = ids
        self._start = start

    async def submit(
        self,
        plan: Plan,
        *,
        created_by: str,
        source: str,
        idempotency_key: str | None = None,
        asked: str | None = None,
    ) -> Task:
        """Store it and begin. Raises Conflict where something else holds what it needs.

        A key that was seen before answers with its task, where the same was `asked` for: the whole
        request, or without one the plan's kind, service and nodes.
        """
        key = Key.of(created_by, idempotency_key, asked or _in_short(plan))
        new = NewTask(
            id=self._ids.next(),
            created_by=created_by,
            source=source,
            idempotency_key=key.idempotency_key if key else None,
            request_hash=key.request_hash if key else None,
        )
        if first := await self.first_of(key):
            return first
        try:
            holder = await self._parts.store.admit(new, plan)
        except KeyTaken:
            # The same key at the same time.
            if first := await self.first_of(key):
                return first
            raise
        if holder:
            raise holder.conflict()
        self._start(new.id, 1)
        await self._parts.tell(new.id)
        return await self._task(new.id)

    async def first_of(self, key: Key | None) -> Task | None:
        """The task of a key that was seen before. Raises Conflict for one of another request."""
        if key is None:
            return None
        found = await self._parts.store.first_of(key.created_by, key.idempotency_key)
        if found is None:
            return None
        task, request_hash = found
        if request_hash != key.request_hash:
            raise Conflict(
                f"this Idempotency-Key belongs to task {task}, which was asked for something else",
                hint="Use a new key for every new request.",
            )
        return await self._task(task)

    async def _task(self, task: str) -> Task:
        found = await self._parts.store.task(task)
        assert found is not None
        return found


def _in_short(plan: Plan) -> str:
    # Not all of the plan: the catalog may have moved on between the two.
    return "\n".join((plan.plan, plan.service_name or "", *plan.nodes))
