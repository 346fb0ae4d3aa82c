"""What came of a step."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from composia.errors import Cancelled, Told
from composia.model.task import Status, StepError
from composia.operations.messages import Outcome


class Answer(BaseModel):
    """A result or an error: kept with the step, and given again whenever it is asked for."""

    model_config = ConfigDict(frozen=True)

    result: Any = None
    error: Told | None = None
    #: Of the question that a node has answered.
    key: str | None = None

    @classmethod
    def of(cls, outcome: Outcome, *, cancelled: bool) -> Answer:
        """What a node has answered. `cancelled`: it was not wanted any more."""
        error = outcome.error
        if error is None:
            return cls(result=outcome.result or {}, key=outcome.key)
        if cancelled and error.as_error().may_retry:
            error = Cancelled(f"cancelled: {error.message}").as_told()
        return cls(error=error, key=outcome.key)

    def as_kept(self) -> dict[str, Any]:
        """The same as JSON."""
        if self.error:
            found = {"error": self.error.model_dump(mode="json")}
        else:
            found = {"result": self.result}
        return {**found, "key": self.key} if self.key else found

    def opened(self) -> Any:
        """The result. Raises the error."""
        if self.error:
            raise self.error.as_error()
        return self.result

    @property
    def status(self) -> Status:
        """How the step has ended."""
        if self.error is None:
            return Status.SUCCEEDED
        cancelled = isinstance(self.error.as_error(), Cancelled)
        return Status.CANCELLED if cancelled else Status.FAILED

    @property
    def shown(self) -> StepError | None:
        """The error, as the step shows it."""
        error = self.error
        return StepError(message=error.message, hint=error.hint) if error else None

    @property
    def summary(self) -> str:
        """Its line in the log."""
        return f"failed: {self.error.message}" if self.error else "done"
