"""One task being carried out: every step checkpointed, shown, and safe to repeat."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import pydantic_core
from pydantic import BaseModel, ValidationError
from structlog import get_logger

from composia.controller.answer import Answer
from composia.controller.failure_points import fail_at, kill_at
from composia.controller.keys import TRIES, key_of
from composia.controller.parts import Parts
from composia.controller.progress import StepQuestion
from composia.controller.store.steps import Begun, Place
from composia.controller.store.writing import until_written
from composia.errors import Cancelled, ComposiaError, Failure, told
from composia.model.task import Waiting
from composia.operations.base import Operation
from composia.operations.messages import Outcome
from composia.workflows.plan import numbered

Result = TypeVar("Result", bound=BaseModel)
Work = Callable[[], Awaitable[Answer]]

_log = get_logger("composia.run")


class Checkpoint(Protocol):
    """A step's place in the workflow: its work is done once, and its answer kept."""

    async def __call__(self, work: Work) -> Answer: ...


#: Takes the next place, under a name; in the order of the calls.
Reserve = Callable[[str], Checkpoint]


@dataclass(frozen=True, slots=True)
class _Wanted(Generic[Result]):
    """What a step wants of a node, and for how long; see `Run.on`."""

    place: Place
    operation: Operation[Result]
    insists: bool = False
    patience: float | None = None


class TaskRun:
    """A Run, as `workflows/plan.py` promises it."""

    def __init__(self, task: str, attempt: int, parts: Parts, reserve: Reserve) -> None:
        self.attempt = attempt
        #: The step that failed last.
        self.failed: str | None = None
        self._task = task
        self._parts = parts
        self._reserve = reserve
        self._cancelled = False
        self._questions: set[StepQuestion] = set()
        #: Steps that are not worth their end any more.
        self._unwanted: set[Place] = set()
        #: What is asked at the same time of nodes that work with one another, by each step.
        self._pairs: dict[Place, Mapping[Place, asyncio.Future[Any]]] = {}
        self._waiting: dict[Place, Waiting] = {}
        #: How often a step was named in this attempt, by name and node.
        self._named: Counter[tuple[str, str]] = Counter()

    @property
    def task(self) -> str:
        """The task's id."""
        return self._task

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return self._cancelled

    def cancel(self) -> None:
        """End as soon as it is safe."""
        self._cancelled = True
        for question in self._questions:
            if not question.insists:
                question.cancelled.set()

    def abandon(self) -> None:
        """Wait no more for nodes that are not connected."""
        for question in self._questions:
            question.abandoned.set()

    async def on(
        self,
        node: str,
        step: str,
        operation: Operation[Result],
        *,
        insist: bool = False,
        patience: float | None = None,
    ) -> Result:
        """Ask a node; see `Run.on`."""
        place, checkpoint = self._placed(step, node)
        return await self._on(_Wanted(place, operation, insist, patience), checkpoint)

    async def on_both(self, step: str, operations: Mapping[str, Operation[Any]]) -> dict[str, Any]:
        """Ask nodes that work with one another; see `Run.on_both`."""
        places = {node: self._placed(step, node) for node in operations}
        asking = {
            place: asyncio.ensure_future(self._on(_Wanted(place, operations[node]), checkpoint))
            for node, (place, checkpoint) in places.items()
        }
        for place in asking:
            self._pairs[place] = asking
        try:
            answers = await self._together(asking)
        finally:
            # A controller that stops leaves nothing running behind it.
            for one in asking.values():
                one.cancel()
            await asyncio.gather(*asking.values(), return_exceptions=True)
        errors = [answer for answer in answers if isinstance(answer, BaseException)]
        # Who was cancelled for the other's sake has nothing to tell.
        for error in sorted(errors, key=lambda error: isinstance(error, Cancelled)):
            raise error
        return dict(zip(operations, answers, strict=True))

    async def _together(self, asking: Mapping[Place, asyncio.Future[Any]]) -> list[Any]:
        """What each of them ended with; the first that fails has the others cancelled."""
        _, others = await asyncio.wait(asking.values(), return_when=asyncio.FIRST_EXCEPTION)
        if others:
            self._unwanted |= {place for place, one in asking.items() if one in others}
            for question in self._questions:
                if question.place in self._unwanted:
                    question.cancelled.set()
        return await asyncio.gather(*asking.values(), return_exceptions=True)

    async def on_each(
        self,
        step: str,
        operations: Mapping[str, Operation[Result]],
        *,
        patience: Mapping[str, float] | None = None,
    ) -> Mapping[str, Result | ComposiaError]:
        """Ask several nodes side by side; see `Run.on_each`."""
        places = {node: self._placed(step, node) for node in operations}
        answers = await asyncio.gather(
            *(
                self._caught(
                    _Wanted(place, operations[node], patience=(patience or {}).get(node)),
                    checkpoint,
                )
                for node, (place, checkpoint) in places.items()
            )
        )
        return dict(zip(operations, answers, strict=True))

    async def control(self, step: str, action: str, **arguments: Any) -> Any:
        """Ask the controller itself; see `Run.control`."""
        place, checkpoint = self._placed(step)
        work = partial(self._controlled, place, getattr(self._parts.control, action), arguments)
        return (await self._done(place, checkpoint, work)).opened()

    def log(self, line: str) -> None:
        """Add a line to the task's log."""
        self._parts.logs.write(self._task, line)

    def _placed(self, step: str, node: str = "") -> tuple[Place, Checkpoint]:
        """The next place of that name. One that was there before is not answered once more.

        In the order of the calls, which is the same when they are made again after a crash.
        """
        self._named[step, node] += 1
        name = numbered(step, self._named[step, node])
        place = Place(task=self._task, attempt=self.attempt, name=name, node=node)
        return place, self._reserve(step)

    async def _caught(
        self, wanted: _Wanted[Result], checkpoint: Checkpoint
    ) -> Result | ComposiaError:
        try:
            return await self._on(wanted, checkpoint)
        except ComposiaError as error:
            return error

    async def _on(self, wanted: _Wanted[Result], checkpoint: Checkpoint) -> Result:
        place = wanted.place
        answer = await self._done(place, checkpoint, partial(self._asked, wanted))
        if answer.key:
            self._parts.nodes.acknowledge(place.node, answer.key)
        try:
            return wanted.operation.result.model_validate(answer.opened())  # type: ignore[return-value]  # of the operation
        except ValidationError as error:
            raise Failure(
                f"node {place.node} answered {place.name} in a way that is not understood",
                hint="Agent and controller may be of different versions.",
            ) from error

    async def _done(self, place: Place, checkpoint: Checkpoint, work: Work) -> Answer:
        answer = await checkpoint(partial(self._worked, place, work))
        if answer.error:
            self.failed = place.name
        ended = partial(self._parts.store.end_step, place, answer.status, answer.shown)
        await until_written(ended, place.name)
        await self._parts.show(self._task)
        return answer

    async def _worked(self, place: Place, work: Work) -> Answer:
        try:
            # All of it may be asked twice, as after a crash: nothing of it is lost to a full disk.
            answer = await until_written(work, place.name)
        except ComposiaError as error:
            answer = Answer(error=told(error))
        except Exception as error:
            _log.exception("bug", task=place.task, step=place.name)
            answer = Answer(error=told(error))
        # The moment in which the answer is known and not yet kept: what is asked again after it
        # must have the same answer.
        kill_at(place.name, "after")
        self._say(place, answer.summary)
        return answer

    async def _controlled(
        self, place: Place, action: Callable[..., Awaitable[Any]], arguments: Mapping[str, Any]
    ) -> Answer:
        await self._parts.store.begin_step(place, sent=False)
        await self._parts.show(self._task)
        kill_at(place.name, "before")
        for moment in ("before", "middle"):
            fail_at(place.name, moment)
        found = await action(**arguments)
        fail_at(place.name, "after")
        return Answer(result=pydantic_core.to_jsonable_python(found))

    async def _asked(self, wanted: _Wanted[Any]) -> Answer:
        place = wanted.place
        epoch = await self._parts.store.epoch(wanted.operation.service.name)
        operation = wanted.operation.model_copy(update={"epoch": epoch})
        begun = await self._parts.store.begin_step(place, sent=False)
        await self._parts.show(self._task)
        kill_at(place.name, "before")
        if self._is_unwanted(wanted) and not begun.sent:
            raise Cancelled(f"cancelled before {place.name}")
        self._say(place, "asked again" if begun.sent else "begun")
        while True:
            key = key_of(place, begun.tries)
            question = StepQuestion(key, place, operation, self._parts, self._wait, sent=begun.sent)
            question.insists, question.patience = wanted.insists, wanted.patience
            outcome = await self._answer(question)
            again = self._again(question, begun, outcome)
            if again is None:
                return Answer.of(outcome, cancelled=self._is_unwanted(question))
            await self._parts.store.ask_step_again(place, again.tries)
            self._parts.nodes.acknowledge(place.node, key)
            begun = again

    def _is_unwanted(self, one: _Wanted[Any] | StepQuestion) -> bool:
        return not one.insists and (self._cancelled or one.place in self._unwanted)

    async def _answer(self, question: StepQuestion) -> Outcome:
        place = question.place
        if self._is_unwanted(question):
            question.cancelled.set()
        self._questions.add(question)
        try:
            return await self._parts.nodes.ask(place.node, question)
        finally:
            self._questions.discard(question)
            await question.end()
            await self._wait(place, None)

    def _again(self, question: StepQuestion, begun: Begun, outcome: Outcome) -> Begun | None:
        place, insists = question.place, question.insists
        error = outcome.error.as_error() if outcome.error else None
        if error is None or self._is_unwanted(question) or self._is_left_alone(place):
            return None
        # What has to be done is asked for as long as its node is there to be asked.
        for_ever = insists and error.may_retry
        again = error.may_retry or (insists and not isinstance(error, Cancelled))
        if not again or (begun.tries >= TRIES and not for_ever):
            return None
        self._say(place, f"{error.message}; asked once more ({begun.tries + 1} of {TRIES})")
        return Begun(tries=begun.tries + 1)

    def _is_left_alone(self, place: Place) -> bool:
        """Whether one that it was to work with has done its part, and will not come again."""
        pair = self._pairs.get(place, {})
        return any(one.done() for other, one in pair.items() if other != place)

    async def _wait(self, place: Place, waiting: Waiting | None) -> None:
        if waiting is None and place not in self._waiting:
            return
        if waiting is None:
            del self._waiting[place]
        else:
            self._waiting[place] = waiting
            self._say(place, f"waits: {waiting.for_}")
        await self._parts.store.set_waiting(self._task, next(iter(self._waiting.values()), None))
        await self._parts.show(self._task)

    def _say(self, place: Place, line: str) -> None:
        self._parts.logs.write(self._task, line, f"{place.node} {place.name}".strip())
