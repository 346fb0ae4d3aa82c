"""What may be asked of a task now: the one place that decides it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from composia.model.task import Status
from composia.operations.kept import KEPT
from composia.workflows.plan import Plan
from composia.workflows.rescue import RescuePlan
from composia.workflows.restore import RestorePlan


def actions_of(
    status: Status,
    plan: Plan | None,
    result: dict[str, Any] | None,
    *,
    cancel_asked: bool,
    waiting: bool,
    holds: bool = False,
    superseded: bool = False,
    replacing_until: str | None = None,
) -> tuple[str, ...]:
    """`plan` is None for one that this version cannot read any more.

    `superseded`: what it moved has been moved on by another one since. `replacing_until`: its end,
    where in any attempt it had begun to replace data.
    """
    if not status.ended:
        # Only a person can know that a node will never answer again.
        return ("abandon",) if cancel_asked and waiting else () if cancel_asked else ("cancel",)
    if holds and plan is None:
        return ("abandon",)
    if holds:
        # It has ended half-way: what was begun goes on, goes back, or is left as it stands.
        back = () if isinstance(plan, RescuePlan) else ("rollback",)
        return ("retry", *back, "abandon")
    if status is Status.SUCCEEDED:
        return ("rollback",) if isinstance(plan, RestorePlan) and _kept(plan, result) else ()
    may_retry = plan is not None and plan.may_retry and not superseded
    again = ("retry",) if may_retry else ()
    # A node that was given up may have finished its work: only it knows.
    replaced = isinstance(plan, RestorePlan) and _is_young(replacing_until)
    return (*again, "rollback") if replaced else again


def _kept(plan: RestorePlan, result: dict[str, Any] | None) -> bool:
    if plan.to != "in_place":
        return False
    until = (result or {}).get("kept_until")
    return until is None or datetime.fromisoformat(str(until)) > datetime.now(UTC)


def _is_young(end: str | None) -> bool:
    """Whether what may have been replaced until then may be kept still."""
    return end is not None and datetime.fromisoformat(end) + KEPT > datetime.now(UTC)
