"""Everything Composia raises on purpose.

ComposiaError
├── Invalid            the request, or a file somebody wrote, is wrong
├── NotFound           no such thing
├── Conflict           right request, wrong moment: something else holds the service
│   └── Stale          the file has changed since it was read
├── Unauthenticated    no token, or not one of ours
├── Denied             this token may not do that
└── Failure            the world did not cooperate
    ├── CommandFailed  a program did not do its work
    ├── Damaged        what was saved does not come back as it was
    ├── Interrupted    (may be retried) the agent ended in the middle; everything was put right
    ├── Cancelled      somebody asked for it
    │   └── GivenUp    a person's word that a node will never answer
    ├── NodeLost       (may be retried) an agent stopped answering
    └── WireCut        (may be retried) the way between two nodes broke
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Problem(BaseModel):
    """One place that is wrong: a path of keys, what is wrong there, and where it stands."""

    model_config = ConfigDict(frozen=True)

    loc: tuple[str | int, ...] = ()
    msg: str
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        key = ".".join(str(part) for part in self.loc)
        return ": ".join(part for part in (where, key, self.msg) if part)


class ComposiaError(Exception):
    """A message for the person, a hint that names the next step, and the places that are wrong."""

    may_retry: ClassVar[bool] = False

    def __init__(
        self, message: str, *, hint: str | None = None, problems: tuple[Problem, ...] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = problems

    def as_told(self) -> Told:
        """The same error as a value that can be stored and sent."""
        return Told(
            kind=type(self).__name__, message=self.message, hint=self.hint, problems=self.problems
        )


class Invalid(ComposiaError):
    """The request, or a file somebody wrote, is wrong."""


class NotFound(ComposiaError):
    """No such thing."""


class Conflict(ComposiaError):
    """Right request, wrong moment."""


class Stale(Conflict):
    """The file has changed since it was read."""


class Unauthenticated(ComposiaError):
    """No token, or not one of ours."""


class Denied(ComposiaError):
    """This token may not do that."""


class Failure(ComposiaError):
    """The world did not cooperate."""


class CommandFailed(Failure):
    """A program did not do its work."""


class Damaged(Failure):
    """What was saved does not come back as it was."""


class Interrupted(Failure):
    """The agent ended in the middle of its work; what it had begun was put right since."""

    may_retry = True


class Cancelled(Failure):
    """Somebody asked for it."""


class GivenUp(Cancelled):
    """A person has said that the node will never answer."""


class NodeLost(Failure):
    """An agent stopped answering."""

    may_retry = True


class WireCut(Failure):
    """The way between two nodes broke, or the other node went."""

    may_retry = True


KINDS: dict[str, type[ComposiaError]] = {
    kind.__name__: kind
    for kind in (
        Invalid, NotFound, Conflict, Stale, Unauthenticated, Denied,
        Failure, CommandFailed, Damaged, Interrupted, Cancelled, GivenUp, NodeLost,
        WireCut,
    )
}  # fmt: skip


class Told(BaseModel):
    """An error on its way: between agent and controller, and in a task's row."""

    model_config = ConfigDict(frozen=True)

    kind: str
    message: str
    hint: str | None = None
    problems: tuple[Problem, ...] = ()

    def as_error(self) -> ComposiaError:
        """The error again; a kind that this version does not know becomes a plain Failure."""
        kind = KINDS.get(self.kind, Failure)
        return kind(self.message, hint=self.hint, problems=self.problems)


def joined(*texts: str | None) -> str:
    """Those that there are, one after the other: a hint, and what else a person may do."""
    return " ".join(filter(None, texts))


def told(error: BaseException) -> Told:
    """Any exception as a value; one that was not raised on purpose is called an internal error."""
    if isinstance(error, ComposiaError):
        return error.as_told()
    name: Any = type(error).__name__
    return Told(
        kind="Failure",
        message=f"internal error: {name}: {error}",
        hint="This is a bug of Composia. The log of the process has the place.",
    )
