"""One task being carried out: every step checkpointed, shown, and safe to repeat."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import pydantic_core
from pydantic import BaseModel, ValidationError
from structlog import get_logger

from composia.controller.asking import Nodes, Question
from composia.controller.events import Event, Events
from composia.controller.keys import TRIES, key_of
from composia.controller.logs import Logs
from composia.controller.store.steps import Begun, Place
from composia.controller.store.store import Store
from composia.controller.store.writing import until_written
from composia.errors import Cancelled, ComposiaError, Failure, Told, told
from composia.model.task import Status, StepError, StepProgress, Waiting
from composia.operations.base import Operation
from composia.operations.messages import Outcome
from composia.tools import failpoints
from composia.workflows.plan import Control, numbered

Result = TypeVar("Result", bound=BaseModel)
Answer = dict[str, Any]
Work = Callable[[], Awaitable[Answer]]

#: Seconds of work after which a step is in its middle, for failure points.
MIDDLE = 0.5
#: Seconds between two records of a step's progress.
PACE = 0.5

_log = get_logger("composia.run")


class Checkpoint(Protocol):
    """A step's place in the workflow: its work is done once, and its answer kept."""

    async def __call__(self, work: Work) -> Answer: ...


#: Takes the next place, under a name; in the order of the calls.
Reserve = Callable[[str], Checkpoint]


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
        self._questions: set[_Asking] = set()
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
        return await self._on(place, operation, checkpoint, insist=insist, patience=patience)

    async def on_both(self, step: str, operations: Mapping[str, Operation[Any]]) -> dict[str, Any]:
        """Ask nodes that work with one another; see `Run.on_both`."""
        places = {node: self._placed(step, node) for node in operations}
        asking = {
            place: asyncio.ensure_future(self._on(place, operations[node], checkpoint))
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
                self._caught(place, operations[node], checkpoint, (patience or {}).get(node))
                for node, (place, checkpoint) in places.items()
            )
        )
        return dict(zip(operations, answers, strict=True))

    async def control(self, step: str, action: str, **arguments: Any) -> Any:
        """Ask the controller itself; see `Run.control`."""
        place, checkpoint = self._placed(step)
        work = partial(self._controlled, place, getattr(self._parts.control, action), arguments)
        return _opened(await self._done(place, checkpoint, work))

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
        self,
        place: Place,
        operation: Operation[Result],
        checkpoint: Checkpoint,
        patience: float | None,
    ) -> Result | ComposiaError:
        try:
            return await self._on(place, operation, checkpoint, patience=patience)
        except ComposiaError as error:
            return error

    async def _on(
        self,
        place: Place,
        operation: Operation[Result],
        checkpoint: Checkpoint,
        *,
        insist: bool = False,
        patience: float | None = None,
    ) -> Result:
        work = partial(self._asked, place, operation, insist=insist, patience=patience)
        answer = await self._done(place, checkpoint, work)
        if key := answer.get("key"):
            self._parts.nodes.acknowledge(place.node, key)
        try:
            return operation.result.model_validate(_opened(answer))  # type: ignore[return-value]  # of the operation
        except ValidationError as error:
            raise Failure(
                f"node {place.node} answered {place.name} in a way that is not understood",
                hint="Agent and controller may be of different versions.",
            ) from error

    async def _done(self, place: Place, checkpoint: Checkpoint, work: Work) -> Answer:
        answer = await checkpoint(partial(self._worked, place, work))
        error = Told.model_validate(answer["error"]) if answer.get("error") else None
        if error:
            self.failed = place.name
        ended = partial(self._parts.store.end_step, place, _status(error), _shown(error))
        await until_written(ended, place.name)
        await self._parts.show(self._task)
        return answer

    async def _worked(self, place: Place, work: Work) -> Answer:
        try:
            # All of it may be asked twice, as after a crash: nothing of it is lost to a full disk.
            answer = await until_written(work, place.name)
        except ComposiaError as error:
            answer = {"error": told(error).model_dump(mode="json")}
        except Exception as error:
            _log.exception("bug", task=place.task, step=place.name)
            answer = {"error": told(error).model_dump(mode="json")}
        # The moment in which the answer is known and not yet kept: what is asked again after it
        # must have the same answer.
        _fire(place.name, "after")
        self._say(place, _summary(answer))
        return answer

    async def _controlled(
        self, place: Place, action: Callable[..., Awaitable[Any]], arguments: Mapping[str, Any]
    ) -> Answer:
        await self._parts.store.begin_step(place, sent=False)
        await self._parts.show(self._task)
        _fire(place.name, "before")
        for moment in ("before", "middle"):
            if failpoints.fire(place.name, moment, (failpoints.ERROR,)):
                raise Failure(f"{place.name}: a failure point was armed")
        found = await action(**arguments)
        if failpoints.fire(place.name, "after", (failpoints.ERROR,)):
            raise Failure(f"{place.name}: a failure point was armed")
        return {"result": pydantic_core.to_jsonable_python(found)}

    async def _asked(
        self, place: Place, operation: Operation[Any], *, insist: bool, patience: float | None
    ) -> Answer:
        epoch = await self._parts.store.epoch(operation.service.name)
        operation = operation.model_copy(update={"epoch": epoch})
        begun = await self._parts.store.begin_step(place, sent=False)
        await self._parts.show(self._task)
        _fire(place.name, "before")
        if self._is_unwanted(place, insist=insist) and not begun.sent:
            raise Cancelled(f"cancelled before {place.name}")
        self._say(place, "asked again" if begun.sent else "begun")
        while True:
            key = key_of(place, begun.tries)
            question = _Asking(key, place, operation, self._parts, self._wait, sent=begun.sent)
            question.insists, question.patience = insist, patience
            outcome = await self._answer(question)
            again = self._again(place, begun, outcome, insist=insist)
            if again is None:
                return _answer(outcome, cancelled=self._is_unwanted(place, insist=insist))
            await self._parts.store.ask_step_again(place, again.tries)
            self._parts.nodes.acknowledge(place.node, key)
            begun = again

    def _is_unwanted(self, place: Place, *, insist: bool) -> bool:
        return not insist and (self._cancelled or place in self._unwanted)

    async def _answer(self, question: _Asking) -> Outcome:
        place = question.place
        if self._is_unwanted(place, insist=question.insists):
            question.cancelled.set()
        self._questions.add(question)
        try:
            return await self._parts.nodes.ask(place.node, question)
        finally:
            self._questions.discard(question)
            await question.end()
            await self._wait(place, None)

    def _again(self, place: Place, begun: Begun, outcome: Outcome, *, insist: bool) -> Begun | None:
        error = outcome.error.as_error() if outcome.error else None
        if error is None or self._is_unwanted(place, insist=insist) or self._is_left_alone(place):
            return None
        # What has to be done is asked for as long as its node is there to be asked.
        for_ever = insist and error.may_retry
        again = error.may_retry or (insist and not isinstance(error, Cancelled))
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


class _Asking(Question):
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
        _fire(self.place.name, name)

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
            _fire(self.place.name, "middle")

    async def _record(self) -> None:
        while self._latest:
            latest, self._latest = self._latest, None
            await self._parts.store.step_progress(self.place, latest)
            await self._parts.show(self.place.task)
            await asyncio.sleep(PACE)
        self._recording = None


def _answer(outcome: Outcome, *, cancelled: bool) -> Answer:
    if outcome.error is None:
        return {"result": outcome.result or {}, "key": outcome.key}
    error = outcome.error
    if cancelled and error.as_error().may_retry:
        error = Cancelled(f"cancelled: {error.message}").as_told()
    return {"error": error.model_dump(mode="json"), "key": outcome.key}


def _opened(answer: Answer) -> Any:
    if answer.get("error"):
        raise Told.model_validate(answer["error"]).as_error()
    return answer.get("result")


def _status(error: Told | None) -> Status:
    if error is None:
        return Status.SUCCEEDED
    return Status.CANCELLED if isinstance(error.as_error(), Cancelled) else Status.FAILED


def _shown(error: Told | None) -> StepError | None:
    return StepError(message=error.message, hint=error.hint) if error else None


def _summary(answer: Answer) -> str:
    error = answer.get("error")
    return f"failed: {error['message']}" if error else "done"


def _fire(step: str, moment: str) -> None:
    if failpoints.fire(step, moment, (failpoints.KILL_CONTROLLER,)):
        os.kill(os.getpid(), signal.SIGKILL)
