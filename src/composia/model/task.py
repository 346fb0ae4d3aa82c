"""A task: one plan being carried out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Status(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (Status.PENDING, Status.RUNNING)


class Noun(BaseModel):
    model_config = ConfigDict(frozen=True)


class StepProgress(Noun):
    bytes_done: int
    bytes_total: int | None = None


class StepError(Noun):
    message: str
    hint: str | None = None


class Step(Noun):
    name: str
    node: str | None = None
    status: Status
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: StepError | None = None
    progress: StepProgress | None = None


class Waiting(Noun):
    """Why a task stands still."""

    #: "for" in JSON.
    for_: str = Field(alias="for", serialization_alias="for")
    since: datetime
    hint: str | None = None

    model_config = ConfigDict(frozen=True, populate_by_name=True)


class OpenMove(Noun):
    """A move whose target has answered, and that is not over: the service runs on the target."""

    task: str
    service: str
    source: str
    target: str


class TaskError(Noun):
    step: str | None = None
    message: str
    hint: str | None = None


class Task(Noun):
    """As the API shows it."""

    id: str
    type: str
    service: str | None
    nodes: tuple[str, ...]
    status: Status
    title: str
    created_by: str
    source: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    waiting: Waiting | None = None
    error: TaskError | None = None
    result: dict[str, Any] | None = None
    #: What may be asked of it now: cancel, retry, rollback, abandon.
    actions: tuple[str, ...] = ()
