"""Where cargo lands on the target: beside the live data, in places that an exchange can trade."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict
from composia.operations import kept
from composia.operations.cargo import Cargo, dump_key, dump_of
from composia.operations.kept import Exchanging, Replaced
from composia.operations.sending import boot_id
from composia.strategies import put_back, sources
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Swap
from composia.strategies.put_back import Target
from composia.strategies.sources import key_of, known_as
from composia.tools import exchange, manifest
from composia.tools.exchange import AnyPath
from composia.tools.manifest import Manifest
from composia.tools.mounts import refuse_mounts_below, remove
from composia.tools.paths import parse_include
from composia.tools.threads import in_thread

LANDED = "landed.json"


class Landing(BaseModel):
    """Where one tree of the source lands."""

    model_config = ConfigDict(frozen=True)

    key: str
    path: AnyPath
    #: What the exchange will be; None for a dump, which is nobody's live data.
    swap: Swap | None = None

    @property
    def known_as(self) -> str:
        """How people know it."""
        return self.swap.known_as if self.swap else self.key


class Landed(BaseModel):
    """What the target keeps about what it has received."""

    model_config = ConfigDict(frozen=True)

    #: Which copy it is: another one if it had to be begun anew.
    copy_id: str
    boot: str
    #: Whether all of it is known to be on the disk.
    settled: bool = True
    landings: tuple[Landing, ...] = ()


async def landed(site: Site) -> Landed:
    """The copy as far as it has come; begun anew where a power cut may have spoilt it.

    Raises Conflict where this task has exchanged its data already.
    """
    aside = Aside(site.aside, site.task)
    if aside.read(kept.REPLACED, Replaced) or aside.read(kept.EXCHANGING, Exchanging):
        raise Conflict(f"task {site.task} has put its data in place already")
    known = aside.read(LANDED, Landed)
    if known and not (known.settled or known.boot == boot_id()):
        site.notes.log("this node was cut off in the middle: the copy is begun anew")
        await _discard(known, site)
        known = None
    return known or Landed(copy_id=os.urandom(8).hex(), boot=boot_id())


async def _discard(known: Landed, site: Site) -> None:
    for one in known.landings:
        if one.swap and one.swap.staging_volume:
            await site.docker.remove_volume(one.swap.staging_volume)
        else:
            await in_thread(remove, one.path)


def keep(site: Site, known: Landed, *, settled: bool) -> Landed:
    """Write down how it stands with the copy."""
    now = known.model_copy(update={"settled": settled, "boot": boot_id()})
    Aside(site.aside, site.task).write(LANDED, now)
    return now


async def landings(cargo: Sequence[Cargo], site: Site) -> Mapping[str, Landing]:
    """A place for each tree, by its key, whether anything is there yet or not."""
    found = {}
    for one in cargo:
        if one.dump:
            key = dump_key(one.item)
            found[key] = Landing(key=key, path=dump_of(site, one.item))
        for number, text in enumerate(one.include):
            target = await put_back.target(parse_include(text), site)
            found[target.key] = await _landing(target, f"{one.item}-{number}", one, site)
    return found


async def _landing(target: Target, name: str, cargo: Cargo, site: Site) -> Landing:
    await in_thread(refuse_mounts_below, target.path, known_as(target.key))
    path, staging = await put_back.beside(target, name, site)
    swap = Swap(
        live=target.path,
        staged=path,
        below=target.below,
        known_as=known_as(target.key),
        volume=target.volume,
        atomic=exchange.exchangeable(target.path, path),
        staging_volume=staging,
        carry=_carry(target.key, cargo),
    )
    return Landing(key=target.key, path=path, swap=swap)


def _carry(key: str, cargo: Cargo) -> tuple[Path, ...]:
    """Paths that do not move: what this node has of them stays."""
    left_out = (key_of(parse_include(text)) for text in cargo.exclude)
    return tuple(Path(one[len(key) + 1 :]) for one in left_out if one.startswith(f"{key}/"))


def look(landing: Landing) -> Manifest:
    """What has landed; nothing where nothing has."""
    try:
        return manifest.take(landing.path, ours=sources.OURS)
    except FileNotFoundError:
        return Manifest(entries={})
