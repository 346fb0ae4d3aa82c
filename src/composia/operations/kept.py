"""What a restore has replaced and keeps, and who may have it back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Conflict
from composia.operations.exchanging import Exchange, live_place, staged_place
from composia.strategies.aside import Aside
from composia.strategies.base import Swap
from composia.strategies.volumes import meet
from composia.tools.docker import Docker
from composia.tools.identity import Identity
from composia.tools.mounts import remove

#: How long replaced data is kept, and how long what was fetched to scratch.
KEPT = timedelta(hours=24)
SCRATCH_KEPT = timedelta(days=7)
#: What was fetched and never exchanged: its task has long ended by then.
UNUSED = timedelta(hours=24)

REPLACED = "replaced.json"
EXCHANGING = "exchanging.json"
STAGED = "staged.json"
SCRATCH = "scratch.json"
#: Below it lies what was fetched to look at, by task.
SCRATCH_FOLDER = "scratch"


class Replaced(BaseModel):
    """Written when everything is exchanged."""

    model_config = ConfigDict(frozen=True)

    task: str
    at: datetime
    until: datetime
    swaps: tuple[Swap, ...]
    #: What lies in each swap's `staged`: nothing else is ever removed from there.
    kept: tuple[Identity | None, ...]
    downtime_seconds: float
    started: bool
    #: The task that has brought it back, and for how long that stopped the service.
    brought_back_by: str | None = None

    @property
    def known_as(self) -> tuple[str, ...]:
        """What was exchanged, as people know it."""
        return tuple(swap.known_as for swap in self.swaps)


class Exchanging(BaseModel):
    """Written before the first exchange, gone after the last: until then nothing is removed."""

    model_config = ConfigDict(frozen=True)

    exchanges: tuple[Exchange, ...]
    #: On the way back: what the restore had written down.
    was: Replaced | None


class Scratch(BaseModel):
    """What was fetched to look at."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    until: datetime


def refuse_mixed(aside: Aside) -> None:
    """Raise Conflict where an exchange of this task is neither done nor undone."""
    if aside.read(EXCHANGING, Exchanging):
        raise Conflict(
            f"task {aside.task} had begun to replace the data, and could not put all of it back:"
            f" parts of the old data may lie in {aside.folder}, or beside it",
            hint="Look at it on the node. Another restore, by a task of its own, brings all of the"
            " backup's data back.",
        )


def to_bring_back(aside: Path, of_task: str, now: datetime) -> Replaced:
    """What a restore has replaced. Raises Conflict where it cannot be had back any more."""
    replaced = Aside(aside, of_task).read(REPLACED, Replaced)
    if replaced is None:
        raise Conflict(
            f"task {of_task} has replaced nothing here, or that is not kept any more",
            hint="A restore that fails leaves the data as it was.",
        )
    if replaced.until <= now:
        raise Conflict(
            f"what task {of_task} replaced is not kept any more",
            hint=f"It is kept for {KEPT.days * 24} h. Restore an older backup instead.",
        )
    if replaced.brought_back_by:
        raise Conflict(
            f"what task {of_task} replaced was already brought back by {replaced.brought_back_by}"
        )
    for later in _later(aside, replaced):
        raise Conflict(
            f"task {later.task} has restored {', '.join(later.known_as)} since",
            hint=f"Bring back what that one replaced first: composia rollback {later.task}",
        )
    if gone := _gone(replaced):
        raise Conflict(
            f"what task {of_task} replaced does not lie aside any more: nothing is at {gone[0]}",
            hint="Nothing was changed. Is its disk mounted? What was removed is in a backup only.",
        )
    return replaced


def _gone(replaced: Replaced) -> list[Path]:
    """The places where something of what was replaced should lie, and nothing is."""
    both = zip(replaced.swaps, replaced.kept, strict=True)
    return [swap.staged for swap, was in both if was and staged_place(swap).identity() is None]


def _later(aside: Path, than: Replaced) -> Iterator[Replaced]:
    for folder in _tasks(aside):
        other = Aside(aside, folder.name).read(REPLACED, Replaced)
        if other and other.at > than.at and not other.brought_back_by and _overlap(other, than):
            yield other


def _overlap(one: Replaced, other: Replaced) -> bool:
    pairs = ((mine.live, theirs.live) for mine in one.swaps for theirs in other.swaps)
    return any(meet(a, b) for a, b in pairs)


def _tasks(aside: Path) -> list[Path]:
    if not aside.is_dir():
        return []
    return sorted(path for path in aside.iterdir() if path.is_dir() and path.name != SCRATCH_FOLDER)


async def expire(
    aside: Path,
    docker: Docker,
    now: datetime,
    *,
    at_work: Callable[[], Collection[str]] = frozenset,
) -> list[str]:
    """Remove what lies aside longer than it is kept; answers the tasks it was of.

    Never what is live, never what somebody has moved: only the very folder that was put there; and
    nothing of a task that is at work by then. Raises what went wrong with one task after all the
    others.
    """
    gone: list[str] = []
    wrong: list[Exception] = []
    for folder in _tasks(aside):
        mine = Aside(aside, folder.name)
        if mine.task in at_work() or not await asyncio.to_thread(_has_expired, mine, now):
            continue
        if mine.task in at_work():
            # It has begun meanwhile.
            continue
        try:
            # At once: what begins from now on finds nothing that lies ready and is half removed.
            mine.remove(STAGED)
            await asyncio.to_thread(remove_scratch, mine)
            await mine.discard(docker)
            gone.append(mine.task)
        except (ComposiaError, OSError) as error:
            wrong.append(error)
    if wrong:
        raise wrong[0]
    return gone


def _has_expired(mine: Aside, now: datetime) -> bool:
    if (mine.folder / EXCHANGING).exists():
        return False
    if replaced := mine.read(REPLACED, Replaced):
        return replaced.until <= now and _is_what_was_kept(replaced)
    if scratch := mine.read(SCRATCH, Scratch):
        return scratch.until <= now
    return now.timestamp() - _last_change(mine) > UNUSED.total_seconds()


def _last_change(mine: Aside) -> float:
    entries = os.scandir(mine.folder)
    times = (entry.stat(follow_symlinks=False).st_mtime for entry in entries)
    return max(times, default=mine.folder.stat().st_mtime)


def _is_what_was_kept(replaced: Replaced) -> bool:
    return all(
        staged_place(swap).identity() in (kept, None)
        and (kept is None or live_place(swap).identity() != kept)
        for swap, kept in zip(replaced.swaps, replaced.kept, strict=True)
    )


def remove_scratch(mine: Aside) -> None:
    if scratch := mine.read(SCRATCH, Scratch):
        remove(scratch.folder)
