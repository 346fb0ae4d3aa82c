"""Schedules as users write them: five cron fields, `@daily` and the like, or `none`."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Annotated

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator

NEVER = "none"
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def fields(schedule: str) -> str | None:
    """The five cron fields that a schedule stands for; None for `none`. Raises ValueError."""
    if schedule == NEVER:
        return None
    expression = _NICKNAMES.get(schedule, schedule)
    if len(expression.split()) != 5:
        raise ValueError(
            f"`{schedule}` is no schedule; write five cron fields as in `0 2 * * *`, "
            f"one of {', '.join(_NICKNAMES)}, or none"
        )
    try:
        CronSim(expression, datetime.now(UTC))
    except CronSimError as error:
        raise ValueError(f"`{schedule}` is no schedule: {error}") from error
    return expression


def runs_within(schedule: str, days: int, after: datetime) -> int:
    """How often a schedule is due in so many days after a time; a thousand at most."""
    expression = fields(schedule)
    if expression is None:
        return 0
    end = after + timedelta(days=days)
    due = itertools.takewhile(lambda at: at <= end, CronSim(expression, after))
    return sum(1 for _ in itertools.islice(due, 1000))


def _checked(schedule: str) -> str:
    fields(schedule)
    return schedule


#: A schedule as written; `fields` says what it stands for.
Schedule = Annotated[str, AfterValidator(_checked)]
