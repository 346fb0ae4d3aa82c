"""The exchange itself: what is about to be done as values, made and undone in order."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict, Failure, Invalid
from composia.operations.hold import NotPutBack
from composia.strategies import volumes
from composia.strategies.base import Site, Swap
from composia.strategies.sources import OURS
from composia.tools import exchange, looks
from composia.tools.compose import explained
from composia.tools.containers import PROJECT, VOLUME, ContainerInfo, ContainerMount
from composia.tools.exchange import Move, Place
from composia.tools.identity import Identity
from composia.tools.looks import Look
from composia.tools.mounts import is_mount_point, refuse_mounts_below
from composia.tools.wording import FEW

#: What a fresh file system has at its root; it is nobody's data.
NOT_DATA = "lost+found"


class _Undoing:
    """What was met on the way back."""

    def __init__(self) -> None:
        self.newcomers: list[Path] = []
        self.wrong: list[Failure | OSError] = []

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """What fails here keeps nothing else from being put back."""
        try:
            yield
        except (Failure, OSError) as error:
            self.wrong.append(error)

    def found(self, newcomer: Path | None) -> None:
        """Somebody else had put something where it does not belong; it lies there now."""
        if newcomer:
            self.newcomers.append(newcomer)


class Exchange(BaseModel):
    """One swap in single moves: what is carried across first, then the data itself."""

    model_config = ConfigDict(frozen=True)

    swap: Swap
    carried: tuple[Move, ...]
    moves: tuple[Move, ...]
    #: What live and staged folder look like, where only their children move.
    looks: tuple[Look, Look] | None = None
    #: What stood on both sides; of a mount point only what was staged in it, which does not move.
    stood: tuple[Identity, ...]

    @property
    def kept(self) -> Identity | None:
        """What lies in `staged` now; None where there was nothing to replace."""
        return staged_place(self.swap).identity()

    def make(self) -> None:
        """Exchange; harmless when it is done."""
        for move in self.carried:
            _carry(self.swap, move)
        for move in self.moves:
            move.make()
        if self.looks:
            _dress(self.swap, *reversed(self.looks))

    def undo(self, undoing: _Undoing) -> None:
        """Back to how it was, however much of it is done, and whatever cannot be put back."""
        if not self._is_there():
            places = f"{self.swap.live} and {self.swap.staged}"
            undoing.wrong.append(Failure(f"nothing is at {places} any more that stood there"))
            return
        for move in reversed(self.moves):
            with undoing.going_on():
                undoing.found(move.undo())
        if self.looks:
            with undoing.going_on():
                _dress(self.swap, *self.looks)
        for move in reversed(self.carried):
            with undoing.going_on(), _same_times(*_folders_of(move)):
                undoing.found(move.undo())

    def _is_there(self) -> bool:
        """Whether any of it is; else its disk is missing, or another one is in its place."""
        now = {live_place(self.swap).identity(), staged_place(self.swap).identity()}
        return not now.isdisjoint(self.stood)


def planned(swap: Swap, *, may_be_nothing: bool = False) -> Exchange:
    """The moves of a swap, as the disk is now: nothing may write there any more.

    Raises Failure where nothing would take the place of what is live, unless that may be: on the
    way back, where nothing was there.
    """
    live, staged = live_place(swap), staged_place(swap)
    refuse_mounts([swap])
    if swap.atomic:
        move = exchange.planned(live, staged)
        if move.staged_was is None and not may_be_nothing:
            raise Failure(
                f"what was to take the place of {swap.known_as} is not at {swap.staged} any more",
                hint="Something else has removed it. Nothing was replaced: start it anew.",
            )
        stood = tuple(one for one in (move.live_was, move.staged_was) if one)
        return Exchange(swap=swap, carried=_carried(swap), moves=(move,), stood=stood)
    # Where only children move, what is carried from the very top stays where it is.
    stays, carried = _parted(_carried(swap), live.path)
    both = looks.take(live), looks.take(staged)
    for move in carried:
        # What is planned for the children counts with them.
        _make_parents(swap, move)
    return Exchange(
        swap=swap,
        carried=carried,
        moves=exchange.children(live, staged, leave=stays | _left_alone(live.path)),
        looks=both,
        stood=tuple(one for one in (staged.identity(),) if one),
    )


def _parted(carried: Sequence[Move], live: Path) -> tuple[frozenset[str], tuple[Move, ...]]:
    """The names of those from the very top, and the others."""
    at_top = {move for move in carried if move.live.path.parent == live}
    names = frozenset(move.live.path.name for move in at_top)
    return names, tuple(move for move in carried if move not in at_top)


def _left_alone(live: Path) -> frozenset[str]:
    """What is nobody's data, and what this restore and earlier ones keep there."""
    ours = os.fsdecode(OURS)
    found = {name for name in os.listdir(live) if name == ours or name.startswith(f"{ours}-")}
    return frozenset({NOT_DATA, *found})


def refuse_mounts(swaps: Sequence[Swap]) -> None:
    """Raise Conflict where something is mounted in what is live: it would be carried off."""
    for swap in swaps:
        refuse_mounts_below(swap.live, swap.known_as)


def refuse_overlap(swaps: Sequence[Swap]) -> None:
    """Raise Invalid where one of them would be carried off with another."""
    for one, other in itertools.combinations(swaps, 2):
        if volumes.meet(one.live, other.live):
            raise Invalid(
                f"{one.known_as} and {other.known_as} overlap: both cannot be put in place at once",
                hint="Restore one item after the other, or correct `include` in their `restore`.",
            )


async def refuse_still_mounted(
    site: Site, swaps: Sequence[Swap], seeing: Iterable[ContainerInfo]
) -> None:
    """Raise Failure where the engine has a folder mounted that is about to be replaced.

    It should not, with all stopped that use it. What starts would be given the old folder again.
    """
    names = {swap.volume for swap in swaps} | {
        mount.name
        for container in seeing
        for mount in container.mounts
        if mount.shared and (place := mount.place())
        if any(volumes.meet(place, swap.live) for swap in swaps)
    }
    for name in sorted(filter(None, names)):
        volume = await site.docker.volume(name)
        if volume is None or volume.kind.device is None:
            continue
        if await asyncio.to_thread(is_mount_point, volume.mountpoint):
            raise Failure(
                f"the engine still has volume {name} mounted at {volume.mountpoint}, with"
                " everything stopped that uses it: the service would not see what is put in place",
                hint="Does something else use it (docker ps --filter volume="
                f"{name})? Stop that, or unmount it: umount {volume.mountpoint}",
            )


def undo(exchanges: Sequence[Exchange]) -> list[Path]:
    """Undo all of them, the last one first; answers where lies what others had put in between.

    Raises NotPutBack, when all was tried, where something could not be put back.
    """
    undoing = _Undoing()
    for one in reversed(exchanges):
        one.undo(undoing)
    if undoing.wrong:
        raise NotPutBack(
            "not all of what was there could be put back: "
            + "; ".join(map(str, undoing.wrong[:FEW])),
            hint="Nothing is started on it. Look at it on the node, or restore it once more by a"
            " task of its own; then start the service by `composia deploy`.",
        )
    return undoing.newcomers


def has_data(swap: Swap) -> bool:
    """Whether there is anything live that the exchange would take away."""
    if not swap.live.is_dir():
        return os.path.lexists(swap.live)
    names = os.listdir(os.fsencode(swap.live))
    return any(name != os.fsencode(NOT_DATA) and not name.startswith(OURS) for name in names)


async def savable(swap: Swap, site: Site) -> str | None:
    """What `include` calls it, or what it lies in; None for a place that it cannot name."""
    if swap.volume:
        key = swap.known_as.partition("/")[0]
        return key if key in (await site.compose.config()).volumes else None
    return swap.known_as if swap.known_as.startswith("./") else None


def live_place(swap: Swap) -> Place:
    """Where the service looks for it."""
    return Place(below=swap.below, path=swap.live)


def staged_place(swap: Swap) -> Place:
    """Where it lies aside; below the service's folder links are not trusted there either."""
    inside = swap.staged.is_relative_to(swap.below)
    return Place(below=swap.below if inside else swap.staged.parent, path=swap.staged)


def _carried(swap: Swap) -> tuple[Move, ...]:
    live, staged = live_place(swap), staged_place(swap)
    pairs = [
        (
            Place(below=live.below, path=live.path / name),
            Place(below=staged.below, path=staged.path / name),
        )
        for name in swap.carry
        if _has_way(swap, name)
    ]
    moves = []
    for here, there in pairs:
        if here.identity() is not None and _is_free(swap, there):
            moves.append(exchange.planned(here, there))
    return tuple(moves)


def _has_way(swap: Swap, name: Path) -> bool:
    """Whether folders lead there: what lies behind a link is saved or excluded where that leads."""
    return not any((swap.live / folder).is_symlink() for folder in name.parents)


def _is_free(swap: Swap, there: Place) -> bool:
    """Whether nothing is there. Raises Failure where it would lie behind a link of the backup."""
    way = there.path.relative_to(swap.staged)
    for name in list(reversed(way.parents))[1:]:
        folder = swap.staged / name
        if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
            raise Failure(
                f"{swap.known_as}/{way} is in no backup and has to be carried across, but"
                f" {swap.known_as}/{name} is no folder in this one",
                hint=f"Restore to scratch instead, or move {swap.known_as}/{way} away first.",
            )
    return there.identity() is None


def _carry(swap: Swap, move: Move) -> None:
    _make_parents(swap, move)
    with _same_times(*_folders_of(move)):
        move.make()


def _make_parents(swap: Swap, move: Move) -> None:
    """Folders on the way to what is carried, which look like those they come from."""
    way = move.staged.path.parent.relative_to(swap.staged).parts
    for depth in range(1, len(way) + 1):
        below = Path(*way[:depth])
        there = Place(below=move.staged.below, path=swap.staged / below)
        if there.identity() is None:
            with _same_times(there.path.parent):
                there.make(0o700)
            looks.wear(there, looks.take(Place(below=swap.below, path=swap.live / below)))


def _folders_of(move: Move) -> set[Path]:
    return {move.live.path.parent, move.staged.path.parent}


@contextmanager
def _same_times(*folders: Path) -> Iterator[None]:
    """Let folders keep their times whatever changes in them."""
    before = [(path, path.stat()) for path in folders if path.is_dir()]
    yield
    for path, times in before:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _dress(swap: Swap, live: Look, staged: Look) -> None:
    looks.wear(staged_place(swap), staged)
    looks.wear(live_place(swap), live)


async def make_places(site: Site, swaps: Sequence[Swap]) -> None:
    """Make the volumes and folders on the way that are not there yet."""
    for swap in swaps:
        if swap.volume and await site.docker.volume(swap.volume) is None:
            await _make_volumes(site)
        if swap.volume and await site.docker.volume(swap.volume) is None:
            await _make_behind_a_profile(swap.volume, site)
        live_place(swap).make_parents()


async def _make_volumes(site: Site) -> None:
    for folder in await volumes.missing(site):
        await asyncio.to_thread(volumes.make, folder)
    # By compose: it knows the labels, and fills an empty volume from the image before we do.
    command = site.compose.command("create", "--no-recreate")
    finished = await site.compose.shell.run(command, check=False)
    if finished.code != 0:
        raise explained(f"docker compose create of {site.service}", finished)


async def _make_behind_a_profile(name: str, site: Site) -> None:
    """A volume that only such services use: compose passes over it, and no container is wanted."""
    declared = (await site.compose.config()).volumes.values()
    for one in [one for one in declared if one.name == name and one.kind.plain]:
        if one.external:
            raise Failure(
                f"volume {name} of {site.service} does not exist on {site.node}",
                hint=f"Make it first, on this node: docker volume create {name}",
            )
        await site.docker.create_volume(name, {PROJECT: site.compose.project, VOLUME: one.key})


async def mounting(site: Site, swaps: Sequence[Swap]) -> tuple[ContainerInfo, ...]:
    """The containers that look into what is exchanged, whether they run or not."""
    found = await site.docker.containers()
    return tuple(
        container
        for container in found
        if any(_sees(container, mount, swaps, site) for mount in container.mounts)
    )


async def reading(site: Site, swaps: Sequence[Swap], seeing: Iterable[ContainerInfo]) -> list[str]:
    """What else has what is exchanged mounted: it goes on seeing the old until it starts anew."""
    known = {one.id for one in seeing}
    return [
        one.name
        for one in await site.docker.containers()
        if one.at_work and one.id not in known and any(_has(one, swap) for swap in swaps)
    ]


def _has(container: ContainerInfo, swap: Swap) -> bool:
    if swap.volume:
        return any(mount.name == swap.volume for mount in container.mounts)
    places = (mount.place() for mount in container.mounts)
    return any(place and place.is_relative_to(swap.live) for place in places)


async def refuse_what_others_keep(site: Site, swaps: Sequence[Swap]) -> None:
    """Raise Conflict where a container of somebody else works with what would be replaced."""
    taken = [swap for swap in swaps if await asyncio.to_thread(has_data, swap)]
    for one in await site.docker.containers():
        if one.project == site.compose.project:
            continue
        mounts = [mount for mount in one.mounts if mount.writable]
        for swap in taken:
            if any(_sees(one, mount, [swap], site) for mount in mounts):
                raise Conflict(
                    f"container {one.name} is none of {site.service} and keeps data in"
                    f" {swap.known_as} on {site.node}, which would be replaced",
                    hint="Give one of them another place, mount it read-only there, or remove it.",
                )


def _sees(
    container: ContainerInfo, mount: ContainerMount, swaps: Collection[Swap], site: Site
) -> bool:
    place = mount.place()
    ours = container.project == site.compose.project
    for swap in swaps:
        if swap.volume is not None and mount.name == swap.volume:
            return ours or mount.writable or mount.shared
        if place and place.is_relative_to(swap.live):
            return ours or mount.writable
        # Somebody else's mount of a folder far above, a backup program's for one, is not stopped.
        if ours and place and swap.live.is_relative_to(place):
            return True
    return False
