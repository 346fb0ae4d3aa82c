"""The target of a move: made ready beside, filled, started, or cleared again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import CommandFailed, Conflict, Failure
from composia.operations import answering, fence, hold, kept, replacing, returning
from composia.operations.base import Files, Nothing, Operation
from composia.operations.cargo import Cargo, dump_of
from composia.operations.carrying import compare_received
from composia.operations.fence import Fence
from composia.operations.kept import Replaced
from composia.operations.project import containers_of
from composia.operations.replacing import Replacing
from composia.operations.restore import Ready
from composia.operations.stopped import forget_stopped, read_stopped
from composia.operations.stopping import let_stop, stop_for_good, wait_for_engine
from composia.operations.turns import turn_of
from composia.strategies import dump, volumes
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Swap
from composia.strategies.pgimport import PgImport
from composia.tools.containers import Digests, same_image
from composia.tools.mounts import try_to_remove


class PrepareTarget(Operation[Nothing]):
    """Files, images, volumes and containers made ready behind a fence; nothing is started."""

    op: Literal["prepare_target"] = "prepare_target"
    #: The digests of the images that run on the source, by their names.
    images: Mapping[str, Digests]
    #: What will come; where the service returns, it starts from what it has left here.
    cargo: tuple[Cargo, ...] = ()

    files: ClassVar[Files] = Files.UPDATE

    async def perform(self, site: Site) -> Nothing:
        there = await containers_of(site)
        if up := [one.name for one in there if one.at_work and not one.is_one_off]:
            raise Conflict(
                f"{', '.join(up)} of {site.service} runs on {site.node} already",
                hint=f"Stop it there first: composia stop {site.service} --node {site.node}",
            )
        ours = await self._fence(site)
        fence.put_up(site.state, ours)
        await self._bring_images(site)
        for folder in await volumes.missing(site):
            await asyncio.to_thread(volumes.make, folder)
        # What `pull_policy` would pull now is not what runs on the source.
        await site.compose.create(pull="missing")
        if ours.left:
            await returning.start_from(ours.left, self.cargo, site)
        return Nothing()

    async def _fence(self, site: Site) -> Fence:
        before = fence.read(site.state)
        if before and _is_the_same(before, site, self.epoch):
            return before
        return Fence(
            task=site.task,
            side="target",
            epoch=self.epoch,
            held=before.held if before and (not before.open or before.task == site.task) else None,
            kept_until=before.kept_until if before else None,
            volumes_left=before.volumes_left if before else (),
            paths_left=before.paths_left if before else (),
            spared_left=before.spared_left if before else (),
            volumes_before=tuple(await _volumes(site)),
            folders_made=tuple(map(str, await volumes.missing(site))),
            left=before.left if before else None,
        )

    async def _bring_images(self, site: Site) -> None:
        missing = [name for name in self.images if not await site.docker.digests(name)]
        if missing:
            site.notes.log(f"Pulling the images of {site.service}")
            await _pull(site, ", ".join(missing))
        for name, wanted in self.images.items():
            found = await site.docker.digests(name)
            if found and not same_image(found, wanted):
                raise Conflict(
                    f"image {name} on {site.node} is another one than on the source",
                    hint=f"Update {site.service} where it runs first, or pull the same image on"
                    f" {site.node}.",
                )


def _is_the_same(before: Fence, site: Site, epoch: int) -> bool:
    """Whether it was put up by this question, when it was asked before.

    Of an attempt whose target was not cleared, whatever has come here since is not the move's own.
    """
    ours = (before.task, before.side, before.epoch) == (site.task, "target", epoch)
    return ours and not before.open


async def _pull(site: Site, images: str) -> None:
    try:
        await site.compose.pull_missing()
    except CommandFailed as error:
        raise Failure(
            f"{images} is not on {site.node} and cannot be pulled there: {error}",
            hint="Does that node reach the registry, and may it pull from there? An image that is "
            "in none can be carried: `docker save` on one node, `docker load` on the other.",
        ) from error


class DumpToLoad(BaseModel):
    """A database that arrives as a dump."""

    model_config = ConfigDict(frozen=True)

    item: str
    strategy: PgImport


class DataRestored(BaseModel):
    """What stands in its place on the target."""

    model_config = ConfigDict(frozen=True)

    placed: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class RestoreData(Operation[DataRestored]):
    """Compare what arrived with the source, import dumps beside, then exchange all of it."""

    op: Literal["restore_data"] = "restore_data"
    dumps: tuple[DumpToLoad, ...] = ()

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = DataRestored

    async def perform(self, site: Site) -> DataRestored:
        aside = Aside(site.aside, site.task)
        kept.refuse_mixed(aside)
        if done := aside.read(kept.REPLACED, Replaced):
            return DataRestored(placed=done.known_as)
        since = time.time_ns()
        landed = await compare_received(site)
        returning.remember(since, landed, site)
        ready = aside.read(kept.STAGED, Ready)
        imported, warnings = await self._imported(site)
        swaps = (*(ready.swaps if ready else ()), *imported)
        if not swaps:
            return DataRestored(placed=())
        done = await Replacing(site, aside, swaps, None).perform()
        return DataRestored(placed=done.known_as, warnings=warnings)

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        for facts in notes.values():
            if container := facts.get("container"):
                await site.docker.kill_and_remove(str(container))
        await replacing.put_right(site, Aside(site.aside, site.task), notes)

    async def _imported(self, site: Site) -> tuple[tuple[Swap, ...], tuple[str, ...]]:
        swaps: list[Swap] = []
        warnings: list[str] = []
        for one in self.dumps:
            path = dump_of(site, one.item)
            size = (await asyncio.to_thread(path.stat)).st_size
            site.notes.log(f"Importing {one.item}")
            pieces = dump.of_file(path, one.item, site)
            staged = await one.strategy.load(one.item, size, pieces, site)
            swaps += staged.swaps
            warnings += staged.warnings
        return tuple(swaps), tuple(warnings)


class Started(BaseModel):
    """The service answers here."""

    model_config = ConfigDict(frozen=True)

    #: Seconds from the question to the first answer of the service itself.
    start_seconds: float


class StartOnTarget(Operation[Started]):
    """Start everything, and wait until it answers; then the fence is open."""

    op: Literal["start_on_target"] = "start_on_target"
    #: Compose services that answer at no port where they come from; None: not known.
    quiet: tuple[str, ...] | None = None

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = Started

    async def perform(self, site: Site) -> Started:
        loop = asyncio.get_running_loop()
        began = loop.time()
        found = fence.read(site.state)
        await site.notes.note("starting")
        if found and found.held:
            await hold.give_back_policies(found.held.every, site)
        before = await containers_of(site)
        if stopped := read_stopped(site.state):
            # `up` keeps the containers that a person had stopped, with the policies they have.
            await stopped.give_back_policies(site, before)
        await site.compose.up(pull="never")
        await site.notes.note("started")
        answered = await answering.wait_until_it_answers(site, before, self.quiet)
        forget_stopped(site.state)
        if found:
            fence.put_up(site.state, found.model_copy(update={"open": True}))
        return Started(start_seconds=answered - began)


class StopTarget(Operation[Nothing]):
    """Undo of a move, before the source starts: nothing of the service runs on the target."""

    op: Literal["stop_target"] = "stop_target"

    urgent: ClassVar[bool] = True
    files: ClassVar[Files] = Files.NOT_NEEDED
    if_given_up: ClassVar[str | None] = (
        "Where it is gone for good, `composia task abandon` is your word for that: the service"
        " starts again where it was, and what comes back is stopped."
    )

    async def perform(self, site: Site) -> Nothing:
        await _stop(site)
        return Nothing()

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        await let_stop(site, notes)


class ClearTarget(Operation[Nothing]):
    """Undo of a move: nothing of it runs or lies on the target. Harmless when it was done."""

    op: Literal["clear_target"] = "clear_target"

    #: A move that was cut off at its very beginning has brought none.
    files: ClassVar[Files] = Files.NOT_NEEDED
    urgent: ClassVar[bool] = True

    async def perform(self, site: Site) -> Nothing:
        await _stop(site)
        found = fence.read(site.state)
        if found and (found.task != site.task or found.side != "target"):
            # The fence comes before all else of a move: this one has made nothing here, or it is
            # cleared already.
            return Nothing()
        aside = Aside(site.aside, site.task)
        replaced = aside.read(kept.REPLACED, Replaced)
        if replaced and replaced.brought_back_by is None:
            await Replacing(site, aside, replaced.swaps, replaced).perform()
        if found and found.held is None:
            await site.compose.down()
            await _remove_new_volumes(found, site)
            for folder in map(Path, found.folders_made):
                await asyncio.to_thread(try_to_remove, folder)
        await aside.discard(site.docker)
        if found:
            _leave_fence(found, site)
        return Nothing()

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        await let_stop(site, notes)
        await replacing.put_right(site, Aside(site.aside, site.task), notes)


async def _stop(site: Site) -> None:
    """See that nothing of the service runs here, whoever has started it."""
    found = fence.read(site.state)
    if found and found.task != site.task and found.side == "target":
        raise Failure(f"{site.service} is fenced on {site.node} by task {found.task}")
    await wait_for_engine(site)
    async with turn_of(await containers_of(site), site):
        await stop_for_good(site)


def _leave_fence(found: Fence, site: Site) -> None:
    """As it was before: held by an earlier move, or left for a while by one."""
    side = "source" if found.held else "left" if found.kept_until else None
    if side:
        fence.put_up(site.state, found.model_copy(update={"side": side, "open": False}))
    else:
        fence.take_down(site.state)


async def _volumes(site: Site) -> list[str]:
    """The real names of the project's volumes that are there."""
    declared = (await site.compose.config()).volumes.values()
    return [one.name for one in declared if await site.docker.volume(one.name)]


async def _remove_new_volumes(found: Fence, site: Site) -> None:
    for name in await _volumes(site):
        if name not in (found.volumes_before or ()):
            await site.docker.remove_volume(name)
