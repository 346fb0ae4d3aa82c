"""Up to when each schedule was looked at, and since when each node is one of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from composia.controller.store.schedules import Mark
from composia.model.catalog import CatalogView
from composia.model.schedule import Schedule


def mark_of(schedule: Schedule, mark: Mark | None, now: datetime) -> Mark:
    """One that is new, or has changed, begins now: it had nothing to do before."""
    what = (schedule.expression, schedule.timezone)
    if mark is None or (mark.expression, mark.timezone) != what:
        return Mark(key=schedule.key, expression=what[0], timezone=what[1], since=now, seen=now)
    # A clock that was set back is believed. What has run has a row, and does not run again.
    return mark.model_copy(update={"seen": min(mark.seen, now), "since": min(mark.since, now)})


def node_marks(
    schedule: Schedule, of: Mark, marks: Mapping[str, Mark], now: datetime
) -> Iterator[Mark]:
    """One for each node of a backup: a node that joins later has nothing to be late with yet.

    `of`: the schedule's own.
    """
    keys = {node: schedule.on(node) for node in schedule.nodes}
    # Of a schedule that nobody looked at by its nodes yet, all have been there from the start.
    known = any(key.startswith(f"{schedule.key}@") for key in marks)
    for key in keys.values():
        since = marks[key].since if key in marks else (now if known else of.since)
        yield of.model_copy(update={"key": key, "since": max(min(since, now), of.since)})


def gone(marks: Mapping[str, Mark], kept: set[str], view: CatalogView) -> list[str]:
    """Marks of what is not scheduled any more. What is only broken now comes back as it was."""
    if not view.revision:
        return []
    broken = [f"backup:{one.name or one.folder}/" for one in view.broken]
    unnamed = any(one.name is None for one in view.broken)
    return [
        key
        for key in sorted(set(marks) - kept)
        if not key.startswith(tuple(broken)) and not (unnamed and key.startswith("backup:"))
    ]
