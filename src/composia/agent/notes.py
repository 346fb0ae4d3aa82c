"""The notes of one operation: kept in the journal, told to the controller, and failure points."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import structlog

from composia.agent.journal import Journal
from composia.agent.outbox import Outbox
from composia.errors import Failure
from composia.operations.messages import Ask, LogLine, Noted, Progress
from composia.tools import failpoints

log = structlog.get_logger()

#: Seconds between two messages of progress.
BETWEEN = 0.25
#: Characters of a line that are told.
LONGEST_LINE = 4000


class Moments:
    """The failure points of one operation, on this node."""

    def __init__(self, node: str, step: str) -> None:
        self._actions = (failpoints.kill_agent(node), failpoints.ERROR)
        self._step = step
        self._middle_is_over = False

    def pass_by(self, moment: str) -> None:
        """Do what is armed for the moment. Raises Failure where that is an error."""
        action = failpoints.fire(self._step, moment, self._actions)
        if action == failpoints.ERROR:
            raise Failure(f"failure point {self._step}:{moment}")
        if action:
            os.kill(os.getpid(), signal.SIGKILL)

    def pass_middle(self) -> None:
        """The same for the middle, which is there once."""
        if not self._middle_is_over:
            self._middle_is_over = True
            self.pass_by("middle")


class JournalNotes:
    """What an operation leaves behind, and tells while it works."""

    def __init__(
        self, ask: Ask, journal: Journal, outbox: Outbox, moments: Moments | None = None
    ) -> None:
        self._ask = ask
        self._journal = journal
        self._outbox = outbox
        self._moments = moments
        self._told = _Seldom(self._tell)

    async def note(self, name: str, **facts: Any) -> None:
        """Write down what is about to be done, and flush it to the disk, before it is done."""
        await self._journal.note(self._ask.key, name, facts)
        self._outbox.send(Noted(key=self._ask.key, name=name))
        if self._moments:
            self._moments.pass_by(name)
            self._moments.pass_middle()

    def progress(self, done: int, total: int | None = None) -> None:
        """Tell how many bytes are done, at most four times a second."""
        self._told(done, total)

    def log(self, line: str) -> None:
        """Add a line to the task's log."""
        self._outbox.send(LogLine(key=self._ask.key, line=line[:LONGEST_LINE]))

    def _tell(self, done: int, total: int | None) -> None:
        self._outbox.send(Progress(key=self._ask.key, bytes_done=done, bytes_total=total))


class _Seldom:
    """Passes on a call now and then, and whatever is the end."""

    def __init__(self, call: Callable[[int, int | None], None]) -> None:
        self._call = call
        self._next = 0.0

    def __call__(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + BETWEEN
            self._call(done, total)
