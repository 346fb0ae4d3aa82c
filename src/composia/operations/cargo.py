"""What goes from one node to another, and where it lies on the source."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict, Failure, Invalid
from composia.strategies import sources
from composia.strategies.aside import Aside
from composia.strategies.base import Site
from composia.strategies.volumes import meet
from composia.tools import manifest
from composia.tools.manifest import Manifest


class Cargo(BaseModel):
    """The data of one item: paths and volumes as `include` and `exclude` name them, or a dump."""

    model_config = ConfigDict(frozen=True)

    item: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    #: A dump that lies at `dump_of(site, item)` on both nodes; it goes in the last round.
    dump: bool = False


@dataclass(frozen=True, slots=True)
class Root:
    """A tree on the source, under the key that both nodes know it by."""

    key: str
    path: Path
    known_as: str
    leave_out: tuple[bytes, ...] = ()


def dump_of(site: Site, item: str) -> Path:
    """Where an item's dump lies, on the source and on the target."""
    return Aside(site.aside, site.task).folder / f"dump-{item}.sql"


def dump_key(item: str) -> str:
    """The key of a dump."""
    return f"dumps/{item}"


async def roots(cargo: Sequence[Cargo], site: Site, *, dumps: bool) -> tuple[Root, ...]:
    """The trees on the source. Raises Failure for one that is missing, Invalid for an overlap."""
    found: list[Root] = []
    for one in cargo:
        if not one.dump:
            found += [root_of(source) for source in await _sources(one, site)]
        elif dumps:
            found.append(Root(dump_key(one.item), dump_of(site, one.item), f"dump of {one.item}"))
    _refuse_overlap(found)
    return tuple(found)


async def refuse_strangers(trees: Iterable[Root], site: Site) -> None:
    """Raise Conflict where a container that no stop of the service ends may write to a tree."""
    strangers = [
        (one.name, place)
        for one in await site.docker.containers()
        if one.at_work and one.project != site.compose.project
        for mount in one.mounts
        if mount.writable and (place := mount.place())
    ]
    for tree in trees:
        found = [name for name, place in strangers if _writes(place, tree, site)]
        if found:
            raise Conflict(
                f"container {', '.join(dict.fromkeys(found))} is none of {site.service} and may"
                f" write to {tree.known_as}: what it writes while that moves would be lost",
                hint="Stop it for the move, or mount it read-only there.",
            )


def _writes(place: Path, tree: Root, site: Site) -> bool:
    if place.is_relative_to(tree.path):
        inside = os.fsencode(place.relative_to(tree.path))
        return not manifest.hides(frozenset(tree.leave_out), inside)
    # A folder far above is a backup program's, for one.
    return tree.path.is_relative_to(place) and place.is_relative_to(os.path.realpath(site.folder))


def look(root: Root) -> Manifest:
    """What the tree looks like now. Raises Failure where it is not there."""
    try:
        return manifest.take(root.path, leave_out=root.leave_out, ours=sources.OURS)
    except OSError as error:
        raise Failure(f"{root.known_as} cannot be read: {error.strerror}") from error


async def _sources(cargo: Cargo, site: Site) -> tuple[sources.Source, ...]:
    return await sources.resolve(site, cargo.include, cargo.exclude)


def root_of(source: sources.Source) -> Root:
    """A source as a tree that moves."""
    below = tuple(key[len(source.key) + 1 :].encode() for key in source.exclude)
    return Root(source.key, source.path, source.known_as, below)


def _refuse_overlap(found: Sequence[Root]) -> None:
    for one, other in itertools.combinations(found, 2):
        if meet(one.path, other.path):
            raise Invalid(
                f"{one.known_as} and {other.known_as} overlap: both cannot move at once",
                hint="Name each path in one item only.",
            )
