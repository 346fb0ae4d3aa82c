"""Asking an agent: the question, and the seam behind which the agents are."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Protocol

from composia.model.task import StepProgress, Waiting
from composia.operations.base import Operation
from composia.operations.messages import Outcome


class Question(ABC):
    """One operation for one node, and what is to be told while it is worked on."""

    def __init__(
        self, key: str, task: str, step: str, operation: Operation[Any], *, sent: bool = False
    ) -> None:
        self.key = key
        self.task = task
        self.step = step
        self.operation = operation
        #: Whether it may have reached the node: then its outcome must be known.
        self.sent = sent
        #: Set when a person wants it to end.
        self.cancelled = asyncio.Event()
        #: Whether it is asked until it is answered, however long the node is away.
        self.insists = False
        #: Seconds after which a node that is away is not waited for, though the question may have
        #: reached it; None: as long as all others, and for ever once it was sent.
        self.patience: float | None = None
        #: Set when a person says that the node will never answer.
        self.abandoned = asyncio.Event()
        #: Set when nobody waits for its outcome any more.
        self.ended = asyncio.Event()

    @abstractmethod
    async def sending(self) -> None:
        """Called before it leaves for the node for the first time."""

    @abstractmethod
    async def wait_for(self, waiting: Waiting | None) -> None:
        """Why nothing happens, or that it goes on."""

    @abstractmethod
    def logged(self, line: str) -> None:
        """The operation said something."""

    @abstractmethod
    def noted(self, name: str) -> None:
        """The operation wrote a note."""

    @abstractmethod
    def progressed(self, progress: StepProgress) -> None:
        """How far the operation is."""


class Nodes(Protocol):
    """The agents. A question may be asked again under its key: it has one answer."""

    async def ask(self, node: str, question: Question) -> Outcome:
        """The outcome, however long it takes; over any number of connections.

        Raises NodeLost when it could not be sent in time, Cancelled when it was cancelled before it
        was sent, GivenUp when a person gave its node up.
        """
        ...

    def acknowledge(self, node: str, key: str) -> None:
        """The outcome is stored: the agent need not repeat it. May be lost, may be repeated."""
        ...
