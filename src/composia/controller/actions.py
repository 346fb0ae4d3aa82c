"""What may be asked of a task now: the one place that decides it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from composia.model.task import Status
from composia.operations.kept import KEPT
from composia.workflows.plan import Plan
from composia.workflows.rescue import RescuePlan
from composia.workflows.restore import EXCHANGE, RestorePlan


def actions_of(
    status: Status,
    plan: Plan | None,
    result: dict[str, Any] | None,
    *,
    cancel_asked: bool,
    waiting: bool,
    holds: bool = False,
    begun: Collection[str] = (),
    finished_at: str | None = None,
) -> tuple[str, ...]:
    """`plan` is None for what this version cannot read any more, or must not be carried on.

    `begun`: the names of steps, of whichever attempt.
    """
    if not status.ended:
        # Only a person can know that a node will never answer again.
        return ("abandon",) if cancel_asked and waiting else () if cancel_asked else ("cancel",)
    if holds:
        # It has ended half-way: what was begun goes on, goes back, or is left as it stands.
        back = () if isinstance(plan, RescuePlan) else ("rollback",)
        return ("retry", *back, "abandon")
    if status is Status.SUCCEEDED:
        return ("rollback",) if isinstance(plan, RestorePlan) and _kept(plan, result) else ()
    again = ("retry",) if plan is not None and plan.may_retry else ()
    # A node that was given up may have finished its work: only it knows.
    replaced = isinstance(plan, RestorePlan) and EXCHANGE in begun and _is_young(finished_at)
    return (*again, "rollback") if replaced else again


def _kept(plan: RestorePlan, result: dict[str, Any] | None) -> bool:
    if plan.to != "in_place":
        return False
    until = (result or {}).get("kept_until")
    return until is None or datetime.fromisoformat(str(until)) > datetime.now(UTC)


def _is_young(finished_at: str | None) -> bool:
    """Whether what it may have replaced may be kept still."""
    return finished_at is None or datetime.fromisoformat(finished_at) + KEPT > datetime.now(UTC)
