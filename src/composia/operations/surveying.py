"""What a node looks like to a move: asked by the plan, and once more by its first step."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, joined
from composia.operations.answering import quiet_ones
from composia.operations.base import Files, Operation
from composia.operations.cargo import Cargo, refuse_strangers, root_of
from composia.operations.project import containers_of
from composia.operations.readings import Reading
from composia.strategies import sources
from composia.strategies.base import Site
from composia.tools.containers import ContainerInfo, Digests
from composia.tools.exchange import existing

#: What compose fills in comes from there; where it is missing, all of it is empty.
VARIABLES = ".env"
#: Seconds after its start in which a service may have yet to listen.
SETTLED = 30.0
#: The state of a socket that listens, as the kernel writes it.
_LISTENS = "0A"


class Size(BaseModel):
    """What an item's files are. In bytes."""

    model_config = ConfigDict(frozen=True)

    size: int
    files: int


class SourceSeen(BaseModel):
    """The service where it runs."""

    model_config = ConfigDict(frozen=True)

    #: Images by the names under which containers were made from them.
    images: Mapping[str, Digests] = {}
    #: Ports of the machine that its containers take.
    published: tuple[int, ...] = ()
    running: tuple[str, ...] = ()
    sizes: Mapping[str, Size] = {}
    #: Bytes of it in folders that volumes bind, by those folders: a disk of their own, perhaps.
    bound: Mapping[str, int] = {}
    #: Its compose services that answer at no port.
    quiet: tuple[str, ...] = ()
    #: Whether it has variables that the catalog does not have.
    own_variables: bool = False
    #: What would stop it from leaving, each with what to do.
    problems: tuple[str, ...] = ()


class TargetSeen(BaseModel):
    """The node that it is to run on."""

    model_config = ConfigDict(frozen=True)

    #: Those images that are here.
    images: Mapping[str, Digests] = {}
    #: TCP ports that somebody listens on.
    taken: tuple[int, ...] = ()
    #: Bytes free where services' folders are, and where Docker keeps volumes.
    free: int = 0
    free_for_volumes: int = 0
    #: The same of those folders that are on neither of these disks.
    free_at: Mapping[str, int] = {}
    running: tuple[str, ...] = ()
    #: Whether somebody has put variables there for it.
    variables: bool = False


class SurveySource(Reading, Operation[SourceSeen]):
    """Look at the service where it runs."""

    op: Literal["survey_source"] = "survey_source"
    reading: Literal["survey_source"] = "survey_source"
    cargo: tuple[Cargo, ...]

    files: ClassVar[Files] = Files.AS_THEY_ARE
    result: ClassVar[type[BaseModel]] = SourceSeen

    async def read(self, site: Site) -> AsyncIterator[bytes]:
        yield (await self._look(site, settled=0.0)).model_dump_json().encode()

    async def perform(self, site: Site) -> SourceSeen:
        return await self._look(site, settled=SETTLED)

    async def _look(self, site: Site, *, settled: float) -> SourceSeen:
        own = [one for one in await containers_of(site) if not one.is_one_off]
        problems = [
            f"container {one.name} is paused: wake it up (docker unpause {one.name})"
            for one in own
            if one.state == "paused"
        ]
        sizes: dict[str, Size] = {}
        bound: dict[str, int] = {}
        for one in self.cargo:
            try:
                sizes[one.item] = await _size(one, bound, site)
            except ComposiaError as error:
                problems.append(joined(error.message, error.hint))
        return SourceSeen(
            images={one.image: await _digests(one, site) for one in own},
            published=tuple(sorted({port for one in own for port in one.published})),
            running=tuple(sorted(one.name for one in own if one.at_work)),
            sizes=sizes,
            bound=bound,
            quiet=await quiet_ones(site, settled),
            own_variables=await self._has_variables_of_its_own(site),
            problems=tuple(problems),
        )

    async def _has_variables_of_its_own(self, site: Site) -> bool:
        moving = {os.path.normpath(path) for one in self.cargo for path in one.include}
        if VARIABLES in moving or not _has_variables(site):
            return False
        return await site.read_catalog(VARIABLES) is None


class SurveyTarget(Reading, Operation[TargetSeen]):
    """Look at the node that the service is to run on; nothing is checked out for it."""

    op: Literal["survey_target"] = "survey_target"
    reading: Literal["survey_target"] = "survey_target"
    #: Names of images.
    images: tuple[str, ...] = ()
    #: Folders that volumes bind, into which data will come.
    folders: tuple[str, ...] = ()

    files: ClassVar[Files] = Files.NOT_NEEDED
    result: ClassVar[type[BaseModel]] = TargetSeen

    async def read(self, site: Site) -> AsyncIterator[bytes]:
        yield (await self.perform(site)).model_dump_json().encode()

    async def perform(self, site: Site) -> TargetSeen:
        own = [one for one in await containers_of(site) if not one.is_one_off]
        here = {name: await site.docker.digests(name) for name in self.images}
        root = await site.docker.root()
        return TargetSeen(
            images={name: found for name, found in here.items() if found},
            taken=await asyncio.to_thread(_taken),
            free=shutil.disk_usage(existing(site.folder)).free,
            free_for_volumes=shutil.disk_usage(existing(root)).free,
            free_at=await asyncio.to_thread(_free_at, self.folders, (site.folder, root)),
            running=tuple(sorted(one.name for one in own if one.at_work)),
            variables=_has_variables(site),
        )


async def _digests(container: ContainerInfo, site: Site) -> tuple[str, ...]:
    """Those of what it runs, which may not be what has the image's name by now."""
    return await site.docker.digests(container.image_id) or (container.image_id,)


def _has_variables(site: Site) -> bool:
    return (site.folder / VARIABLES).is_file()


async def _size(cargo: Cargo, bound: dict[str, int], site: Site) -> Size:
    if cargo.dump:
        return Size(size=0, files=0)
    found = await sources.resolve(site, cargo.include, cargo.exclude)
    await refuse_strangers(map(root_of, found), site)
    seen = await sources.look(found)
    for one in found:
        if one.bound:
            within = seen.within(one.key).entries.values()
            bound[str(one.path)] = sum(entry.size for entry in within)
    entries = seen.entries.values()
    return Size(
        size=sum(entry.size for entry in entries),
        files=sum(entry.type != "dir" for entry in entries),
    )


def _free_at(folders: Iterable[str], others: Iterable[Path]) -> dict[str, int]:
    """Bytes free where folders are or will be, of those on other disks than some paths."""
    disks = {existing(path).stat().st_dev for path in others}
    places = {folder: existing(Path(folder)) for folder in folders}
    return {
        folder: shutil.disk_usage(place).free
        for folder, place in places.items()
        if place.stat().st_dev not in disks
    }


def _taken() -> tuple[int, ...]:
    """The ports that somebody listens on, from the kernel's own table."""
    ports: set[int] = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net", table)
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == _LISTENS:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return tuple(sorted(ports))
