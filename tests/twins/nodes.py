"""Nodes in memory: agents with a journal each, that can be cut off, killed and told what to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from composia.controller.asking import Question
from composia.errors import Cancelled, ComposiaError, GivenUp, Interrupted, NodeLost, told
from composia.model.task import Waiting
from composia.operations.messages import Outcome

#: What a node does when it is asked: the result, or what it raises.
Does = Callable[[Question], Awaitable[dict[str, Any]]]


class MemoryNodes:
    """Answers a repeated question with the first outcome, as agents do."""

    def __init__(self, *, patience: float = 60.0) -> None:
        #: `node: step`, once for each time that an operation was really performed.
        self.done: list[str] = []
        #: Keys in the order they were sent, repeated ones too.
        self.sent: list[str] = []
        self.acknowledged: list[str] = []
        self._patience = patience
        self._does: dict[str, Does] = {}
        self._journal: dict[str, Outcome] = {}
        self._working: dict[str, asyncio.Task[Outcome]] = {}
        self._offline: set[str] = set()
        self._changed = asyncio.Condition()

    def on(self, step: str, does: Does) -> None:
        """What happens in this step on any node; without it, an empty result."""
        self._does[step] = does

    async def disconnect(self, node: str) -> None:
        """Cut it off; what it works on goes on."""
        async with self._changed:
            self._offline.add(node)
            self._changed.notify_all()

    async def connect(self, node: str) -> None:
        """Join it again."""
        async with self._changed:
            self._offline.discard(node)
            self._changed.notify_all()

    def online(self, node: str) -> bool:
        """Whether it is joined."""
        return node not in self._offline

    def kill(self, node: str) -> None:
        """End the agent in the middle of its work; a new one has put it right."""
        for key, work in self._working.items():
            if key.split(":")[2] == node:
                work.cancel()

    async def ask(self, node: str, question: Question) -> Outcome:
        """See `asking.Nodes`."""
        while True:
            await self._connected(node, question)
            if not question.sent:
                await question.sending()
                question.sent = True
            self.sent.append(question.key)
            if outcome := await self._outcome(node, question):
                return outcome

    def acknowledge(self, node: str, key: str) -> None:
        """See `asking.Nodes`."""
        self.acknowledged.append(key)

    async def end(self) -> None:
        """Leave nothing behind."""
        for work in self._working.values():
            work.cancel()
        await asyncio.gather(*self._working.values(), return_exceptions=True)

    async def _connected(self, node: str, question: Question) -> None:
        if node in self._offline:
            hint = "Start its agent."
            waiting = {"for": f"node {node} is not connected", "since": datetime.now(UTC)}
            await question.wait_for(Waiting.model_validate({**waiting, "hint": hint}))
        own = question.patience
        deadline = asyncio.get_running_loop().time() + (self._patience if own is None else own)
        while node in self._offline:
            if question.abandoned.is_set():
                raise GivenUp(f"given up on node {node}")
            if question.cancelled.is_set() and not question.sent:
                raise Cancelled(f"cancelled before it reached node {node}")
            is_bound = own is not None or not question.sent
            if is_bound and asyncio.get_running_loop().time() > deadline:
                raise NodeLost(f"node {node} was waited for", hint="Start its agent.")
            await self._look()
        await question.wait_for(None)

    async def _outcome(self, node: str, question: Question) -> Outcome | None:
        key = question.key
        if question.cancelled.is_set() and key not in self._journal | self._working:
            self._journal[key] = Outcome(key=key, error=Cancelled("revoked").as_told())
        if key not in self._journal | self._working:
            self._working[key] = asyncio.create_task(self._work(node, question))
            self._working[key].add_done_callback(partial(self._killed_at_once, key))
        while key not in self._journal:
            if node in self._offline:
                return None
            if question.cancelled.is_set():
                self._working[key].cancel("cancelled")
            await self._look()
        return self._journal[key]

    async def _work(self, node: str, question: Question) -> Outcome:
        self.done.append(f"{node}: {question.step}")
        try:
            does = self._does.get(question.step)
            result = await does(question) if does else {}
            outcome = Outcome(key=question.key, result=result)
        except ComposiaError as error:
            outcome = Outcome(key=question.key, error=told(error))
        except asyncio.CancelledError as error:
            asked = error.args == ("cancelled",)
            why = Cancelled("cancelled") if asked else Interrupted("the agent was restarted")
            outcome = Outcome(key=question.key, error=told(why))
        self._journal[question.key] = outcome
        return outcome

    def _killed_at_once(self, key: str, work: asyncio.Task[Outcome]) -> None:
        # Work that ends before its first line has answered nothing.
        if work.cancelled():
            error = told(Interrupted("the agent was restarted"))
            self._journal.setdefault(key, Outcome(key=key, error=error))

    async def _look(self) -> None:
        # A twin may poll: it knows of no channel that could wake it.
        await asyncio.sleep(0.005)
