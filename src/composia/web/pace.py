"""How fast a step goes, and how long it will go on."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from composia.model.task import Status, Step

#: Seconds before a rate says anything.
SETTLED = 1.0


class Pace(BaseModel):
    """Bytes, bytes a second, seconds; None where it cannot be known."""

    model_config = ConfigDict(frozen=True)

    done: int
    total: int | None = None
    rate: float | None = None
    left: float | None = None

    @classmethod
    def of(cls, step: Step, now: datetime) -> Pace | None:
        """None for a step without progress."""
        if step.progress is None or step.started_at is None:
            return None
        done, total = step.progress.bytes_done, step.progress.bytes_total
        seconds = ((step.finished_at or now) - step.started_at).total_seconds()
        rate = done / seconds if seconds >= SETTLED and done else None
        runs = step.status is Status.RUNNING
        left = max(total - done, 0) / rate if runs and rate and total else None
        return cls(done=done, total=total, rate=rate, left=left)
