"""A move's eight steps, as the guide numbers them: how far it has come."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from composia.model.task import Status, Step, Task

#: So many; what comes before is preparation, and what comes after tidies up.
STEPS = 8


class Reached(StrEnum):
    """How a numbered step stands; templates/task_move.html has the words."""

    TO_COME = "to_come"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    NOT_NEEDED = "not_needed"
    NOT_REACHED = "not_reached"


class Leg(BaseModel):
    """One of the eight. In seconds."""

    model_config = ConfigDict(frozen=True)

    number: int
    reached: Reached
    seconds: float | None = None


def journey(task: Task) -> tuple[Leg, ...]:
    """All eight, also those that are yet to come."""
    farthest = max((_number(step) for step in task.steps), default=0)
    return tuple(_leg(task, number, farthest) for number in range(1, STEPS + 1))


def _leg(task: Task, number: int, farthest: int) -> Leg:
    steps = [step for step in task.steps if _number(step) == number]
    if not steps:
        return Leg(number=number, reached=_without(task, number, farthest))
    states = {step.status for step in steps}
    begun = [step.started_at for step in steps if step.started_at]
    ended = [step.finished_at for step in steps if step.finished_at]
    whole = len(ended) == len(steps) and begun
    return Leg(
        number=number,
        reached=_reached(states),
        seconds=(max(ended) - min(begun)).total_seconds() if whole else None,
    )


def _reached(states: set[Status]) -> Reached:
    if states & {Status.FAILED, Status.CANCELLED}:
        return Reached.FAILED
    return Reached.DONE if states == {Status.SUCCEEDED} else Reached.RUNNING


def _without(task: Task, number: int, farthest: int) -> Reached:
    # A service without a site or a name has nothing to do there.
    if number < farthest or task.status is Status.SUCCEEDED:
        return Reached.NOT_NEEDED
    return Reached.NOT_REACHED if task.status.ended else Reached.TO_COME


def _number(step: Step) -> int:
    first = step.name.partition("_")[0]
    return int(first) if first.isdecimal() else 0
