"""Up to when each schedule was looked at, and since when each node is one of its own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime

from composia.controller.store.schedules import Mark
from composia.model.catalog import CatalogView
from composia.model.schedule import Kind, Schedule


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


def of_broken(
    marks: Mapping[str, Mark], schedules: Collection[Schedule], view: CatalogView
) -> tuple[Schedule, ...]:
    """The backups of services that cannot be read now, as they were scheduled when they could.

    Nobody makes them meanwhile; but a typo must not end what is told of them.
    """
    known = {key for one in schedules for key in (one.key, *map(one.on, one.nodes))}
    kept = marks.keys() - known - set(gone(marks, known, view))
    return tuple(_of_mark(marks[key], kept) for key in sorted(kept) if _is_unread(key, view))


def _is_unread(key: str, view: CatalogView) -> bool:
    kind, service, _ = _parts(key)
    return kind == Kind.BACKUP and "@" not in key and service not in view.services


def _of_mark(mark: Mark, kept: Collection[str]) -> Schedule:
    kind, service, item = _parts(mark.key)
    place = f"{mark.key}@"
    return Schedule(
        key=mark.key,
        kind=Kind(kind),
        expression=mark.expression,
        timezone=mark.timezone,
        service=service,
        data_item=item,
        nodes=tuple(sorted(key.removeprefix(place) for key in kept if key.startswith(place))),
    )


def _parts(key: str) -> tuple[str, str, str]:
    kind, _, rest = key.partition(":")
    service, _, item = rest.partition("/")
    return kind, service, item


def gone(marks: Mapping[str, Mark], kept: set[str], view: CatalogView) -> list[str]:
    """Marks of what is not scheduled any more. What is only broken now comes back as it was."""
    if not view.revision:
        return []
    names = {name for one in view.broken for name in (one.name, one.folder) if name}
    broken = [f"backup:{name}/" for name in names]
    unnamed = any(one.name is None for one in view.broken)
    return [
        key
        for key in sorted(set(marks) - kept)
        if not key.startswith(tuple(broken)) and not (unnamed and key.startswith("backup:"))
    ]
