"""Several nodes side by side: what came of it, in one word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from composia.errors import Cancelled, ComposiaError
from composia.workflows.plan import PartlyCancelled, PartlyDone


def settle(
    outcomes: Mapping[str, BaseModel | ComposiaError], *, result: Mapping[str, Any] | None = None
) -> None:
    """Raise what went wrong, if anything did.

    Raises the error itself where nothing succeeded in one way only, else PartlyDone with the
    result and every node's error; PartlyCancelled where the others were only cancelled.
    """
    errors = errors_of(outcomes)
    if not errors:
        return
    first = next(iter(errors.values()))
    only_cancelled = all(isinstance(error, Cancelled) for error in errors.values())
    if len(outcomes) == 1 or (only_cancelled and len(errors) == len(outcomes)):
        raise first
    kind = PartlyCancelled if only_cancelled else PartlyDone
    raise kind(
        "; ".join(f"{node}: {error.message}" for node, error in errors.items()),
        result=result or {},
        hint=first.hint,
    )


def errors_of(outcomes: Mapping[str, BaseModel | ComposiaError]) -> dict[str, ComposiaError]:
    """The nodes that failed, with their errors."""
    return {node: out for node, out in outcomes.items() if isinstance(out, ComposiaError)}
