"""Saving the data items of a service on a node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Failure, Told, told
from composia.operations import fence
from composia.operations.base import Operation
from composia.operations.hold import NotStartedAgain, held, release
from composia.operations.project import containers_of
from composia.operations.turns import turn_of
from composia.strategies import AnyBackupStrategy
from composia.strategies.base import Needs, Notes, Saved, Site
from composia.tools.cancelling import to_the_end


class ItemToSave(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    backup_id: str
    strategy: AnyBackupStrategy
    #: Written on the snapshot: what nobody else knows of it once its record is lost.
    marks: tuple[str, ...] = ()


class ItemSaved(BaseModel):
    """How one item ended: exactly one of saved and error. Its manifest has gone its own way."""

    model_config = ConfigDict(frozen=True)

    name: str
    backup_id: str
    started_at: datetime
    duration: float
    saved: Saved | None = None
    error: Told | None = None


class DataSaved(BaseModel):
    model_config = ConfigDict(frozen=True)

    items: tuple[ItemSaved, ...]
    #: What went wrong besides: the service did not start again. The task has failed then.
    problem: Told | None = None


class SaveData(Operation[DataSaved]):
    """Save the items: live ones first, then the service stops once around all that need it.

    One item's failure does not keep the others from being saved. `leave_stopped` is for a move.
    """

    op: Literal["save_data"] = "save_data"
    items: tuple[ItemToSave, ...]
    #: For the safety copy of a move, which is no promise that there is something to bring back.
    empty_is_fine: bool = False
    #: Snapshots of the same task that have records: those of its earlier attempts.
    spared: tuple[str, ...] = ()

    shown: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = DataSaved

    async def perform(self, site: Site) -> DataSaved:
        await containers_of(site)
        fence.refuse_left(site)
        notes = _Sum(site.notes)
        save = _Save(replace(site, notes=notes, empty_is_fine=self.empty_is_fine), notes)
        began = datetime.now(UTC)
        try:
            for item in self._items(cold=False):
                await save.one(item)
            problem = await save.stopped(self._items(cold=True))
            ended = [await _sent(save.ended[item.name], site) for item in self.items]
        except BaseException:
            # Nobody is told of what was saved until now: it would have no record.
            await to_the_end(self._forget_left_behind(site, began))
            raise
        return DataSaved(items=tuple(ended), problem=problem)

    async def start_again(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> bool:
        """Start what was stopped: rustic only reads, and what it saves does not count any more."""
        await release(site, notes)
        return True

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Start what was stopped, end rustic, and forget what was saved: it is saved anew."""
        try:
            await release(site, notes)
        finally:
            for facts in notes.values():
                if container := facts.get("container"):
                    await site.docker.kill_and_remove(str(container))
            await self._forget_left_behind(site)

    def _items(self, *, cold: bool) -> list[ItemToSave]:
        return [one for one in self.items if (one.strategy.needs is Needs.STOPPED) == cold]

    async def _forget_left_behind(self, site: Site, since: datetime | None = None) -> None:
        """Forget the snapshots of this task that no outcome has told of."""
        labels = {f"{site.service}/{item.name}" for item in self.items}
        with suppress(ComposiaError):
            left = [
                snapshot.id
                for snapshot in await site.engine.snapshots()
                if f"task={site.task}" in snapshot.tags
                and snapshot.id not in self.spared
                and snapshot.host == site.node
                and snapshot.label in labels
                and (since is None or datetime.fromisoformat(snapshot.time) >= since)
            ]
            await _forget(left, site)


@dataclass
class _Save:
    """The items that have ended, by name."""

    site: Site
    notes: _Sum
    ended: dict[str, ItemSaved] = field(default_factory=dict)

    async def one(self, item: ItemToSave) -> None:
        self.site.notes.log(f"Saving {item.name} ({item.strategy.strategy})")
        started_at, start = datetime.now(UTC), time.monotonic()
        try:
            saved = await item.strategy.save(item.name, replace(self.site, marks=item.marks))
        except Exception as error:
            self._failed(item, told(error), started_at, time.monotonic() - start)
            return
        finally:
            self.notes.next()
        self.site.notes.log(f"Saved {item.name}: {saved.snapshot.files} files")
        self.ended[item.name] = ItemSaved(
            name=item.name,
            backup_id=item.backup_id,
            started_at=started_at,
            duration=time.monotonic() - start,
            saved=saved,
        )

    async def stopped(self, items: Sequence[ItemToSave]) -> Told | None:
        """Save the items in one stop, which only those cause that can be saved.

        Answers why the service did not start again, where it did not.
        """
        ready = [item for item in items if await self._is_ready(item)]
        if not ready:
            return None
        try:
            own = await containers_of(self.site)
            async with turn_of(own, self.site), held(self.site):
                for item in ready:
                    await self.one(item)
        except NotStartedAgain as error:
            before = error.__context__
            if isinstance(before, asyncio.CancelledError):
                raise
            if isinstance(before, ComposiaError):
                await self._do_not_count(ready, before)
            return told(error)
        except ComposiaError as error:
            await self._do_not_count(ready, error)
        return None

    async def _do_not_count(self, items: Sequence[ItemToSave], error: ComposiaError) -> None:
        """Let the items fail for what became of the stop, those that were saved too."""
        now = datetime.now(UTC)
        ended = [self.ended.pop(item.name, None) for item in items]
        await _forget([one.saved.snapshot.id for one in ended if one and one.saved], self.site)
        for item, one in zip(items, ended, strict=True):
            started_at, duration = (one.started_at, one.duration) if one else (now, 0.0)
            self._failed(item, (one and one.error) or told(error), started_at, duration)

    async def _is_ready(self, item: ItemToSave) -> bool:
        try:
            # Without a repository nothing needs to stop.
            _ = self.site.engine
            await item.strategy.check(self.site)
        except Exception as error:
            self._failed(item, told(error), datetime.now(UTC), 0.0)
            return False
        return True

    def _failed(self, item: ItemToSave, error: Told, started_at: datetime, duration: float) -> None:
        self.site.notes.log(f"{item.name} was not saved: {error.message}")
        self.ended[item.name] = ItemSaved(
            name=item.name,
            backup_id=item.backup_id,
            started_at=started_at,
            duration=duration,
            error=error,
        )


class _Sum:
    """The operation's notes, whose progress counts the items that have ended too."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._ended = 0
        self._current = 0
        self.note = notes.note
        self.log = notes.log

    def progress(self, done: int, total: int | None = None) -> None:
        self._current = done
        self._notes.progress(self._ended + done, None if total is None else self._ended + total)

    def next(self) -> None:
        """The item that was being saved has ended."""
        self._ended, self._current = self._ended + self._current, 0


async def _sent(item: ItemSaved, site: Site) -> ItemSaved:
    """The item without its manifest, which the controller keeps."""
    if item.saved is None or item.saved.manifest is None:
        return item
    warnings = item.saved.warnings
    try:
        await site.keep_manifest(item.backup_id, item.saved.manifest)
    except Failure as error:
        warnings += (f"a restore cannot be compared with how it looked: {error.message}",)
    saved = item.saved.model_copy(update={"manifest": None, "warnings": warnings})
    return item.model_copy(update={"saved": saved})


async def _forget(snapshots: Sequence[str], site: Site) -> None:
    if not snapshots:
        return
    try:
        await site.engine.forget(snapshots)
    except Failure as error:
        # They have no record, so nobody takes them for backups.
        site.notes.log(f"What was saved could not be forgotten: {error.message}")
