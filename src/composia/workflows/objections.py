"""All that is wrong with a request, named at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from composia.errors import ComposiaError, Conflict, Invalid, NotFound, Problem
from composia.model.names import did_you_mean

Place = tuple[str | int, ...]


@dataclass(slots=True)
class Objections:
    """Collected while a plan is made; `settle` raises one error that names them all."""

    _found: list[tuple[type[ComposiaError], Problem, str | None]] = field(default_factory=list)

    def invalid(self, loc: Place, message: str, hint: str | None = None) -> None:
        """The request asks for what cannot be."""
        self._found.append((Invalid, Problem(loc=loc, msg=message), hint))

    def unknown(self, loc: Place, what: str, name: str, known: Collection[str]) -> None:
        """The request names something that is not there."""
        problem = Problem(loc=loc, msg=f"there is no {what} `{name}`")
        self._found.append((NotFound, problem, did_you_mean(name, known)))

    def unknown_item(self, loc: Place, service: str, name: str, known: Collection[str]) -> None:
        """The request names a data item that the service has not."""
        problem = Problem(loc=loc, msg=f"{service} has no data item `{name}`")
        self._found.append((NotFound, problem, did_you_mean(name, known)))

    def conflict(self, loc: Place, message: str, hint: str | None = None) -> None:
        """The request is right, and cannot be carried out as things stand."""
        self._found.append((Conflict, Problem(loc=loc, msg=message), hint))

    def settle(self) -> None:
        """Raise Invalid, NotFound or Conflict, whichever weighs most, if anything was found."""
        for kind in (Invalid, NotFound, Conflict):
            if any(found[0] is kind for found in self._found):
                raise kind(self._message(), hint=self._hint(), problems=self._problems())

    def _message(self) -> str:
        return "; ".join(dict.fromkeys(problem.msg for _, problem, _ in self._found))

    def _hint(self) -> str | None:
        hints = dict.fromkeys(hint for _, _, hint in self._found if hint)
        return " ".join(hints) or None

    def _problems(self) -> tuple[Problem, ...]:
        return tuple(problem for _, problem, _ in self._found if problem.loc)


def not_found(what: str, name: str, known: Collection[str]) -> NotFound:
    """The error for a name in an address."""
    return NotFound(f"there is no {what} `{name}`", hint=did_you_mean(name, known))
