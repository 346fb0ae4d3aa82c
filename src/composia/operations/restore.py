"""Bringing data back: fetched beside the live data, exchanged, and exchanged back on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict, Failure
from composia.operations import exchanging, kept, replacing
from composia.operations.base import Files, Operation
from composia.operations.kept import Exchanging, Replaced, Scratch
from composia.operations.offsite import in_copy
from composia.operations.replacing import Replacing
from composia.strategies import AnyRestoreStrategy
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Staged, Swap, Wanted
from composia.strategies.contents import Fetched
from composia.strategies.put_back import fetch_to_scratch
from composia.tools.cancelling import to_the_end


class ItemToRestore(BaseModel):
    model_config = ConfigDict(frozen=True)

    wanted: Wanted
    strategy: AnyRestoreStrategy


class Moved(BaseModel):
    """What is there of an item where it is replaced by moves."""

    model_config = ConfigDict(frozen=True)

    item: str
    #: As `include` names it; not what lies beyond the service's folder and its named volumes.
    include: tuple[str, ...] = ()


class DataFetched(BaseModel):
    """What lies ready; the agent keeps the details under the task's id."""

    model_config = ConfigDict(frozen=True)

    #: Bytes and files fetched, and remarks for people.
    size: int
    files: int
    warnings: tuple[str, ...] = ()
    #: What is no exchange in one instant: mount points with something in them, whose children move.
    by_moves: tuple[Moved, ...] = ()
    #: For a restore to scratch: the folder on the node where it lies, and until when it is kept.
    folder: str | None = None
    kept_until: datetime | None = None


class Ready(BaseModel):
    """What lies fetched and checked beside the live data."""

    model_config = ConfigDict(frozen=True)

    swaps: tuple[Swap, ...]


class FetchData(Operation[DataFetched]):
    """Find the snapshots, fetch them whole and check them, beside the live data or to scratch."""

    op: Literal["fetch_data"] = "fetch_data"
    items: tuple[ItemToRestore, ...]
    #: Only this path of the item, for a single file or folder.
    path: str | None = None
    to: Literal["in_place", "scratch"] = "in_place"

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = DataFetched

    async def perform(self, site: Site) -> DataFetched:
        aside = Aside(site.aside, site.task)
        kept.refuse_mixed(aside)
        if aside.read(kept.REPLACED, Replaced):
            raise Conflict(
                f"task {site.task} has put its data in place already",
                hint=f"`composia rollback {site.task}` brings back what it replaced.",
            )
        await _discard(aside, site)
        await site.notes.note("fetching", folder=str(aside.folder))
        try:
            found = await self._found(site)
            return await (found.to_scratch(site) if self.to == "scratch" else found.in_place(site))
        except BaseException:
            await to_the_end(_discard(aside, site))
            raise

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        for facts in notes.values():
            if container := facts.get("container"):
                await site.docker.kill_and_remove(str(container))
        if "fetching" in notes:
            await _discard(Aside(site.aside, site.task), site)

    async def _found(self, site: Site) -> FetchData:
        """The same, with the ids of the repository's own: a copy has others than the records."""
        if self.repository is None or self.repository.copy_name is None:
            return self
        wanted = await in_copy([item.wanted for item in self.items], site)
        items = tuple(
            item.model_copy(update={"wanted": one})
            for item, one in zip(self.items, wanted, strict=True)
        )
        return self.model_copy(update={"items": items})

    async def in_place(self, site: Site) -> DataFetched:
        """Beside the live data, ready to be exchanged with it."""
        for item in self.items:
            await item.strategy.check(self._only(item), site)
        staged = [await item.strategy.fetch(self._only(item), site) for item in self.items]
        swaps = tuple(swap for one in staged for swap in one.swaps)
        exchanging.refuse_overlap(swaps)
        Aside(site.aside, site.task).write(kept.STAGED, Ready(swaps=swaps))
        total = sum((_fetched(one) for one in staged), Fetched())
        return DataFetched(
            size=total.size,
            files=total.files,
            warnings=total.warnings,
            by_moves=await self._by_moves(staged, site),
        )

    async def _by_moves(self, staged: Sequence[Staged], site: Site) -> tuple[Moved, ...]:
        found = []
        for item, one in zip(self.items, staged, strict=True):
            swaps = [swap for swap in one.swaps if not swap.atomic]
            there = [swap for swap in swaps if await asyncio.to_thread(exchanging.has_data, swap)]
            named = [await exchanging.savable(swap, site) for swap in there]
            if there:
                include = tuple(dict.fromkeys(name for name in named if name))
                found.append(Moved(item=item.wanted.item, include=include))
        return tuple(found)

    async def to_scratch(self, site: Site) -> DataFetched:
        """To a folder of its own, for a person to look at."""
        folder = site.aside / kept.SCRATCH_FOLDER / site.task
        until = datetime.now(UTC) + kept.SCRATCH_KEPT
        aside = Aside(site.aside, site.task)
        aside.write(kept.SCRATCH, Scratch(folder=folder, until=until))
        total = Fetched()
        for item in self.items:
            total += await fetch_to_scratch(self._only(item), folder / item.wanted.item, site)
        return DataFetched(
            size=total.size,
            files=total.files,
            warnings=total.warnings,
            folder=str(folder),
            kept_until=until,
        )

    def _only(self, item: ItemToRestore) -> Wanted:
        return item.wanted.model_copy(update={"path": self.path})


async def _discard(aside: Aside, site: Site) -> None:
    """Remove what an earlier attempt, or this one, has fetched; never what was put in place."""
    if aside.read(kept.EXCHANGING, Exchanging) or aside.read(kept.REPLACED, Replaced):
        return
    await asyncio.to_thread(kept.remove_scratch, aside)
    await aside.discard(site.docker)


def _fetched(staged: Staged) -> Fetched:
    return Fetched(staged.size, staged.files, staged.warnings)


class DataExchanged(BaseModel):
    model_config = ConfigDict(frozen=True)

    #: What was exchanged, as the user knows it.
    exchanged: tuple[str, ...]
    #: Seconds in which the containers that mount it were stopped.
    downtime_seconds: float
    #: False where nothing ran before: then nothing was started.
    started: bool
    #: Until when what was replaced can be had back.
    kept_until: datetime | None = None


class ExchangeData(Operation[DataExchanged]):
    """Stop what mounts the paths, exchange, start again; the replaced data is kept for 24 h."""

    op: Literal["exchange_data"] = "exchange_data"

    shown: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = DataExchanged

    async def perform(self, site: Site) -> DataExchanged:
        aside = Aside(site.aside, site.task)
        kept.refuse_mixed(aside)
        if done := aside.read(kept.REPLACED, Replaced):
            return _told(done)
        ready = aside.read(kept.STAGED, Ready)
        if ready is None:
            raise Failure(
                f"what task {site.task} has fetched does not lie ready any more",
                hint="Start the restore anew.",
            )
        return _told(await Replacing(site, aside, ready.swaps, None).perform())

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        await replacing.put_right(site, Aside(site.aside, site.task), notes)


class ExchangeBack(Operation[DataExchanged]):
    """Bring back what a restore replaced, by the same exchange."""

    op: Literal["exchange_back"] = "exchange_back"
    #: The restore's task.
    of_task: str

    shown: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = DataExchanged

    async def perform(self, site: Site) -> DataExchanged:
        aside = Aside(site.aside, self.of_task)
        kept.refuse_mixed(aside)
        done = aside.read(kept.REPLACED, Replaced)
        if done and done.brought_back_by == site.task:
            return _told(done)
        replaced = kept.to_bring_back(site.aside, self.of_task, datetime.now(UTC))
        return _told(await Replacing(site, aside, replaced.swaps, replaced).perform())

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        await replacing.put_right(site, Aside(site.aside, self.of_task), notes)


def _told(replaced: Replaced) -> DataExchanged:
    return DataExchanged(
        exchanged=replaced.known_as,
        downtime_seconds=replaced.downtime_seconds,
        started=replaced.started,
        kept_until=replaced.until,
    )
