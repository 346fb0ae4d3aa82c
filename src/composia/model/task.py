"""A task: one plan being carried out."""

from __future__ import annotations

import hashlib
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


class Key(Noun):
    """An idempotency key, with who sent it and what was asked for: asked again, it is done once."""

    created_by: str
    idempotency_key: str
    request_hash: str

    @classmethod
    def of(cls, created_by: str, key: str | None, asked: str) -> Key | None:
        """None without a key. `asked`: the whole request, of which a hash is kept."""
        if not key:
            return None
        request_hash = hashlib.sha256(asked.encode()).hexdigest()
        return cls(created_by=created_by, idempotency_key=key, request_hash=request_hash)


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
