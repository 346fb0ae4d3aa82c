"""A task carried out in memory: nodes answer what they are told to, and every step is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, TypeVar

from pydantic import BaseModel

from composia.errors import ComposiaError
from composia.operations.base import Operation
from composia.workflows.plan import Control

Result = TypeVar("Result", bound=BaseModel)
Answer = BaseModel | ComposiaError
Node = Callable[[str, Operation[Any]], Answer]


class MemoryRun:
    """`answer` is asked for every operation, with the node."""

    task = "01JABCDEFGHJKMNPQRSTVWXYZ0"
    attempt = 1

    def __init__(self, answer: Node) -> None:
        self._answer = answer
        self.steps: list[tuple[str, str | None]] = []
        self.asked: list[Operation[Any]] = []
        self.told: dict[str, Any] = {}
        self.lines: list[str] = []
        #: What the controller's own steps answer, or what makes it of their arguments.
        self.controlled: dict[str, Any] = {
            "now": "2026-11-24T04:00:00Z",
            "known_snapshots": {},
        }

    async def on(
        self,
        node: str,
        step: str,
        operation: Operation[Result],
        *,
        insist: bool = False,
        patience: float | None = None,
    ) -> Result:
        outcome = self._ask(node, step, operation)
        if isinstance(outcome, ComposiaError):
            raise outcome
        found: Result = outcome
        return found

    async def on_each(
        self,
        step: str,
        operations: Mapping[str, Operation[Result]],
        *,
        patience: Mapping[str, float] | None = None,
    ) -> Mapping[str, Result | ComposiaError]:
        return {node: self._ask(node, step, one) for node, one in operations.items()}

    async def on_both(self, step: str, operations: Mapping[str, Operation[Any]]) -> dict[str, Any]:
        answers = {node: self._ask(node, step, one) for node, one in operations.items()}
        for answer in answers.values():
            if isinstance(answer, ComposiaError):
                raise answer
        return answers

    async def control(self, step: str, action: str, **arguments: Any) -> Any:
        # As the real one: by a method's name, with what it takes, and that as JSON.
        signature(getattr(Control, action)).bind(self, **arguments)
        json.dumps(arguments)
        self.steps.append((step, None))
        self.told[action] = arguments
        answer = self.controlled.get(action)
        return answer(**arguments) if callable(answer) else answer

    def log(self, line: str) -> None:
        self.lines.append(line)

    def _ask(self, node: str, step: str, operation: Operation[Any]) -> Any:
        self.steps.append((step, node))
        self.asked.append(operation)
        return self._answer(node, operation)
