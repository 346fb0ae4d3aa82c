"""Files fetched beside the live ones, ready to take their place."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from composia.errors import Failure, Invalid
from composia.strategies import contents, dump, volumes
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Staged, Swap, Wanted
from composia.strategies.contents import Contents, Copy
from composia.strategies.sources import key_of, known_as, real_path
from composia.tools import exchange
from composia.tools.exchange import existing
from composia.tools.mounts import below, mount_of, refuse_mounts_below
from composia.tools.paths import Included, IncludedPath, overlapping, parse_include
from composia.tools.volumes import PLAIN, VolumeKind


@dataclass(frozen=True, slots=True)
class Target:
    """Where a key of a snapshot belongs on this node, whether anything is there yet or not."""

    key: str
    path: Path
    #: The folder above that no symbolic link may lead out of.
    below: Path
    #: The real Docker volume, where it is one.
    volume: str | None = None
    #: Whether it is the whole of a volume that lies in Docker's own folder.
    docker_keeps: bool = False

    def part(self, key: str) -> Target:
        """The target of a path below this key."""
        if key == self.key:
            return self
        return Target(key, self.path / key[len(self.key) + 1 :], self.below, self.volume)


async def put_back(include: Sequence[str], wanted: Wanted, site: Site) -> Staged:
    """Fetch what the snapshot has of the included paths and volumes, beside the live ones.

    Raises Failure where nothing of it is in the snapshot or it is not whole, Invalid for a path
    that leaves the service.
    """
    targets = [await target(named, site) for named in _parsed(include)]
    if wanted.saved_by in dump.SAVED_BY:
        return await _put_dump(targets[0], wanted, site)
    held = await contents.look(wanted, site)
    chosen, missing = _chosen(targets, held, wanted)
    _refuse_nothing(chosen, missing, held, wanted)
    aside = Aside(site.aside, site.task)
    staged = [await _stage(number, part, held, wanted, site) for number, part in enumerate(chosen)]
    copies = [copy for _, copy in staged]
    fetched = await contents.restore(copies, held, wanted, site)
    for copy in copies:
        await asyncio.to_thread(exchange.flush, copy.folder)
    await site.notes.note("fetched", folder=str(aside.folder))
    return Staged(
        swaps=tuple(swap for swap, _ in staged),
        size=fetched.size,
        files=fetched.files,
        warnings=(*fetched.warnings, *(_not_in(key, wanted) for key in missing)),
    )


async def refuse_mounts(include: Sequence[str], wanted: Wanted, site: Site) -> None:
    """Raise Conflict where something is mounted in what would be replaced."""
    targets = [await target(named, site) for named in _parsed(include)]
    found = [await asyncio.to_thread(below, one.path) for one in targets]
    if wanted.saved_by in dump.SAVED_BY or not any(found):
        return
    chosen, _ = _chosen(targets, await contents.look(wanted, site), wanted)
    for part in chosen:
        await asyncio.to_thread(refuse_mounts_below, part.path, known_as(part.key))


def _parsed(include: Sequence[str]) -> list[Included]:
    try:
        named = [parse_include(text) for text in include]
    except ValueError as error:
        raise Invalid(f"include: {error}") from error
    if both := overlapping(named):
        raise Invalid(
            f"include: {both[0]} and {both[1]} overlap", hint="Name only the outer one of them."
        )
    return named


async def target(named: Included, site: Site) -> Target:
    """Where an entry of `include` is on this node. Raises Failure for a symbolic link."""
    if isinstance(named, IncludedPath):
        return await asyncio.to_thread(_path, named, site)
    return await volume_target(named.key, site)


def _path(named: IncludedPath, site: Site) -> Target:
    folder = Path(os.path.realpath(site.folder))
    return Target(key_of(named), real_path(named, folder, site), folder)


async def volume_target(key: str, site: Site) -> Target:
    """Where a volume of the compose file is, or will be."""
    declared = await volumes.declared(key, site)
    return await real_volume(declared.name, f"volumes/{key}", site, declared.kind)


async def real_volume(name: str, key: str, site: Site, declared: VolumeKind = PLAIN) -> Target:
    """Where a Docker volume is; one that does not exist yet will be as it is declared."""
    volume = await site.docker.volume(name)
    folder = await volumes.bound(volume.kind if volume else declared, name, site)
    if folder:
        return Target(key, folder.path, folder.below, name)
    if volume is None:
        beside = await Aside(site.aside, site.task).volume(site.docker, "where", "volumes-are")
        mountpoint = beside.mountpoint.parent.with_name(name) / beside.mountpoint.name
        return Target(key, mountpoint, mountpoint.parent, name, docker_keeps=True)
    return Target(key, volume.mountpoint, volume.mountpoint.parent, name, docker_keeps=True)


def _chosen(
    targets: Iterable[Target], held: Contents, wanted: Wanted
) -> tuple[list[Target], list[str]]:
    """What is in the snapshot of each target, and the keys of which nothing is."""
    only = full_key(wanted.path) if wanted.path else None
    chosen, missing = [], []
    for one in targets:
        if only and not (is_at_or_below(only, one.key) or is_at_or_below(one.key, only)):
            continue
        key = only if only and is_at_or_below(only, one.key) else one.key
        found = [key] if key in held.types else [r for r in held.roots if is_at_or_below(r, key)]
        chosen += [one.part(part) for part in found]
        missing += [] if found else [key]
    return chosen, missing


def full_key(path: str) -> str:
    """A path of a snapshot; one that begins with neither `files` nor `volumes` is a file's."""
    tidy = path.removeprefix("./").rstrip("/")
    return tidy if tidy.partition("/")[0] in ("files", "volumes") else f"files/{tidy}"


def is_at_or_below(key: str, other: str) -> bool:
    """Whether a key is another one or inside it."""
    return f"{key}/".startswith(f"{other}/")


def _refuse_nothing(
    chosen: Sequence[Target], missing: Sequence[str], held: Contents, wanted: Wanted
) -> None:
    if chosen:
        return
    asked = wanted.path or ", ".join(map(known_as, missing))
    raise Failure(
        f"the backup of {wanted.item} has nothing of {asked}",
        hint=f"It has: {', '.join(map(known_as, held.roots)) or 'nothing at all'}.",
    )


def _not_in(key: str, wanted: Wanted) -> str:
    return f"{wanted.item}: {known_as(key)} is not in the backup and was left as it is"


async def beside(part: Target, name: str, site: Site) -> tuple[Path, str | None]:
    """A place that can be exchanged with a target, and the volume whose `_data` it is, if any."""
    aside = Aside(site.aside, site.task)
    if part.docker_keeps and await asyncio.to_thread(lies_with_the_others, part.path):
        volume = await aside.volume(site.docker, name, known_as(part.key))
        return volume.mountpoint, volume.name
    return await asyncio.to_thread(aside.beside, part.path, name), None


def lies_with_the_others(volume: Path) -> bool:
    """Whether a volume's `_data` is no mount of its own: a fresh volume is not on that."""
    return mount_of(existing(volume)) == mount_of(existing(volume.parent.parent))


async def _stage(
    number: int, part: Target, held: Contents, wanted: Wanted, site: Site
) -> tuple[Swap, Copy]:
    """A place for one target beside the live data, and what the exchange will be."""
    folder, staging = await beside(part, f"{wanted.item}-{number}", site)
    copy = contents.copy_of(part.key, held, folder)
    swap = Swap(
        live=part.path,
        staged=copy.lies,
        below=part.below,
        known_as=known_as(part.key),
        volume=part.volume,
        atomic=exchange.exchangeable(part.path, copy.lies),
        staging_volume=staging,
        carry=_carry(part.key, held, wanted),
    )
    return swap, copy


def _carry(key: str, held: Contents, wanted: Wanted) -> tuple[Path, ...]:
    """Paths below a key that the backup left out, the topmost ones."""
    excluded = (key_of(parse_include(text)) for text in wanted.exclude)
    below = [one[len(key) + 1 :] for one in excluded if one.startswith(f"{key}/")]
    found = {*below, *held.left_out(key)}
    return tuple(Path(one) for one in sorted(found) if not found & set(_folders_of(one)))


def _folders_of(path: str) -> list[str]:
    return [path[: at.start()] for at in re.finditer("/", path)]


async def _put_dump(into: Target, wanted: Wanted, site: Site) -> Staged:
    """The dump as a file in the included folder."""
    found = await contents.find(wanted, site)
    live = into.path / dump.NAME
    aside = Aside(site.aside, site.task)
    staged = await asyncio.to_thread(aside.beside, live, wanted.item)
    contents.make_room(found.size or 0, staged)
    size = await dump.write(wanted, staged, site)
    await asyncio.to_thread(exchange.flush, staged)
    swap = Swap(
        live=live,
        staged=staged,
        below=into.below,
        known_as=f"{known_as(into.key)}/{dump.NAME}",
        volume=into.volume,
        atomic=exchange.exchangeable(live, staged),
    )
    return Staged(swaps=(swap,), size=size, files=1)


async def fetch_to_scratch(wanted: Wanted, folder: Path, site: Site) -> contents.Fetched:
    """Fetch an item, or one path of it, into a folder of its own. Touches nothing else."""
    if wanted.saved_by in dump.SAVED_BY:
        return await _dump_to_scratch(wanted, folder, site)
    held = await contents.look(wanted, site)
    only = full_key(wanted.path) if wanted.path else None
    keys = [only] if only in held.types and only else []
    keys = keys or [root for root in held.roots if not only or is_at_or_below(root, only)]
    if not keys:
        raise Failure(
            f"the backup of {wanted.item} has no {wanted.path}",
            hint=f"It has: {', '.join(map(known_as, held.roots)) or 'nothing at all'}.",
        )
    fetched = contents.Fetched()
    for key in keys:
        copy = contents.copy_of(key, held, folder / key)
        if copy.folder != copy.lies:
            copy = contents.copy_of(key, held, (folder / key).parent)
        fetched += await contents.restore([copy], held, wanted, site)
    return fetched


async def _dump_to_scratch(wanted: Wanted, folder: Path, site: Site) -> contents.Fetched:
    found = await contents.find(wanted, site)
    contents.make_room(found.size or 0, folder)
    folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    return contents.Fetched(await dump.write(wanted, folder / dump.NAME, site), 1)
