"""Schedules as users write them: five cron fields, `@daily` and the like, or `none`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

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
#: More than any clock is set at once; the search begins that much earlier.
_SHIFT = timedelta(hours=3)


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


def next_due(schedule: str, timezone: str, after: datetime) -> datetime | None:
    """The first time after this one, in UTC; None for `none` and what never comes."""
    return next(due_times(schedule, timezone, after), None)


def last_due(schedule: str, timezone: str, at: datetime) -> datetime | None:
    """The last time that is not after this one, in UTC."""
    expression = fields(schedule)
    if expression is None:
        return None
    found = _ticks(expression, timezone, at + _SHIFT, back=True)
    return next((due for due in found if due <= at), None)


def due_times(schedule: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Every time after this one, in UTC, each once and in their order.

    What is meant for an hour that the clock skips comes right after it; what is meant for an hour
    that comes twice comes the first time. With `*` as its hour it goes by elapsed time.
    """
    expression = fields(schedule)
    last = after
    for due in _ticks(expression, timezone, after - _SHIFT) if expression else ():
        if due > last:
            yield due
            last = due


def _ticks(
    expression: str, timezone: str, start: datetime, *, back: bool = False
) -> Iterator[datetime]:
    local = start.astimezone(ZoneInfo(timezone))
    for due in CronSim(_hours_first(expression), local, reverse=back):
        yield due.astimezone(UTC)


def _hours_first(expression: str) -> str:
    # `*/30 2 * * *` names an hour; cronsim would let it get lost with that hour.
    minute, hour, *days = expression.split()
    if minute.startswith("*") and not hour.startswith("*"):
        minute = f"0-59{minute[1:]}"
    return " ".join((minute, hour, *days))


def _checked(schedule: str) -> str:
    fields(schedule)
    return schedule


#: A schedule as written; `fields` says what it stands for.
Schedule = Annotated[str, AfterValidator(_checked)]
