"""Matters as a message: what, where, since when, why, and the next step. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from composia.model.notification import (
    GOOD_NEWS,
    LOSES_DATA,
    Notification,
    NotificationState,
)

#: A message names so many matters in full, and the rest by number.
MANY = 20
#: Characters of a reason: the rest is in the task.
LONG = 600


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to a target. `mood`: failure, success or info."""

    title: str
    body: str
    mood: str


def message(
    matters: Sequence[Notification], *, public_url: str | None = None, repeat: float = 0.0
) -> Message:
    """All of them as one; `repeat` in seconds."""
    bad = [one for one in matters if _is_bad(one)]
    good = [one for one in matters if not _is_bad(one)]
    ordered = [*bad, *good]
    parts = ["\n".join(_lines(one, public_url, repeat)) for one in ordered[:MANY]]
    if len(ordered) > MANY:
        parts.append(f"... and {len(ordered) - MANY} more: composia notifications")
    return Message(
        title=f"Composia: {_headline(ordered, len(bad))}",
        body="\n\n".join(parts),
        mood="failure" if bad else "success",
    )


def trial(where: str) -> Message:
    """A message that only shows that it arrives."""
    body = f"This is a test from Composia to {where}. Nothing is wrong."
    return Message(title="Composia: test", body=body, mood="info")


def _is_bad(one: Notification) -> bool:
    return one.state is not NotificationState.SETTLED and one.event not in GOOD_NEWS


def _headline(matters: Sequence[Notification], bad: int) -> str:
    first = matters[0]
    if len(matters) == 1:
        return f"all well again: {first.title}" if _is_well_again(first) else first.title
    if not bad:
        return f"{len(matters)} matters are well"
    others = f" and {len(matters) - 1} more"
    return first.title + others


def _is_well_again(one: Notification) -> bool:
    return one.state is NotificationState.SETTLED and one.event not in GOOD_NEWS


def _lines(one: Notification, public_url: str | None, repeat: float) -> Iterator[str]:
    well = _is_well_again(one)
    yield f"{'All well again' if well else one.title}{f': {one.title}' if well else ''}"
    yield f"Since {_when(one.since)}{f', {one.times} times' if one.times > 1 else ''}"
    if one.reason:
        yield _short(one.reason)
    if well:
        yield f"Ended {_when(one.settled_at)}: {one.settled_by}"
    elif one.hint and _is_bad(one):
        yield f"Next: {one.hint}"
    if public_url and one.task_id:
        yield f"{public_url.rstrip('/')}/tasks/{one.task_id}"
    if _is_bad(one) and one.event in LOSES_DATA and one.state is NotificationState.OPEN:
        yield f"Told again every {_span(repeat)} until: composia notifications ack {one.id}"


def _short(text: str) -> str:
    return text if len(text) <= LONG else f"{text[:LONG]}..."


def _when(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time else "-"


def _span(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"
