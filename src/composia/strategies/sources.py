"""What `include` and `exclude` name, found on a node."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.errors import Failure
from composia.strategies import volumes
from composia.strategies.base import Site
from composia.tools import manifest
from composia.tools.manifest import Manifest
from composia.tools.paths import Included, IncludedPath, parse_include

#: Names in which a restore keeps what it stages: never saved.
OURS = b".composia"
#: How every key begins.
KEYS = (b"files/", b"volumes/")


class Source(BaseModel):
    """A file, folder or volume on this node, and what it is called in a snapshot and by people."""

    model_config = ConfigDict(frozen=True)

    #: `files/data/uploads` or `volumes/cache`: its place under `/composia` in a snapshot.
    key: str
    #: Where it lies on this machine, with no symbolic link on the way.
    path: Path
    #: `./data/uploads` or `cache`.
    known_as: str
    #: The real Docker volume, where it is one.
    volume: str | None = None
    #: Whether that binds a folder of the node, which `path` is.
    bound: bool = False
    #: Keys below this one that are not part of it.
    exclude: tuple[str, ...] = ()


async def resolve(site: Site, include: Sequence[str], exclude: Sequence[str]) -> tuple[Source, ...]:
    """Find what is included, once each and in order, without what is excluded.

    Raises Failure for one that is missing, is a link, or leads out of the service's folder, and
    for two that overlap.
    """
    left_out = [key_of(parse_include(text)) for text in exclude]
    wanted = {key_of(named): named for named in map(parse_include, include)}
    keys = [key for key in wanted if not _covered(key, [*wanted, *left_out])]
    keys = [key for key in keys if key not in left_out]
    if not keys:
        raise Failure(
            f"nothing of {site.service} is left to save: all of `include` is excluded",
            hint="Correct `exclude` of the item in composia-meta.yaml.",
        )
    found = [await _found(site, wanted[key]) for key in keys]
    _refuse_overlap(found, site)
    return tuple(_without(source, left_out) for source in found)


def key_of(named: Included) -> str:
    """Where it lies under `/composia` in a snapshot."""
    if isinstance(named, IncludedPath):
        return f"files/{named.path}"
    return f"volumes/{named.key}"


def known_as(key: str) -> str:
    """A key, or a path below one, as people write it; anything else stays as it is."""
    kind, _, rest = key.partition("/")
    return {"files": f"./{rest}", "volumes": rest}.get(kind, key)


async def look(sources: Iterable[Source]) -> Manifest:
    """What the sources look like now, each under its key; one that has gone has no entries."""
    return manifest.join({source.key: await _look(source) for source in sources})


def excluded(sources: Iterable[Source], seen: Manifest) -> list[str]:
    """The keys that a save leaves out: what the user excludes, and what is ours."""
    ours = [os.fsdecode(path) for path in seen.left_out]
    return sorted({*ours, *(key for source in sources for key in source.exclude)})


def refuse_empty(sources: Iterable[Source], seen: Manifest, site: Site) -> None:
    """Raise Failure for a source in which there is nothing to save."""
    if not site.empty_is_fine and (found := empty_ones(sources, seen)):
        raise Failure(
            f"`{found[0]}` of {site.service} is empty on {site.node}: there is nothing to save",
            hint="Is it the right place, and is its disk mounted? Else take it out of"
            " `include` until there is something in it.",
        )


def empty_ones(sources: Iterable[Source], seen: Manifest) -> tuple[str, ...]:
    """The sources in which there is nothing, as people know them."""
    return tuple(one.known_as for one in sources if _is_empty(seen.within(one.key)))


def _is_empty(part: Manifest) -> bool:
    root = part.entries.get(b"")
    is_folder = root is not None and root.type == "dir"
    return is_folder and len(part.entries) == 1 and not part.unread


async def _look(source: Source) -> Manifest:
    below = [os.fsencode(key[len(source.key) + 1 :]) for key in source.exclude]
    try:
        return await asyncio.to_thread(manifest.take, source.path, leave_out=below, ours=OURS)
    except OSError:
        return Manifest(entries={})


def _covered(key: str, others: Iterable[str]) -> bool:
    return any(key.startswith(f"{other}/") for other in others)


def _without(source: Source, left_out: Iterable[str]) -> Source:
    below = tuple(key for key in left_out if _covered(key, [source.key]))
    return source.model_copy(update={"exclude": below})


async def _found(site: Site, named: Included) -> Source:
    if isinstance(named, IncludedPath):
        return await asyncio.to_thread(_path, site, named)
    return await _volume(site, named.key)


def real_path(named: IncludedPath, folder: Path, site: Site) -> Path:
    """Where it is below the service's real folder, whether anything is there or not.

    Raises Failure for a link, at its end or on the way: a container that may write above it could
    have any other file of the service saved in its place, or replaced by a restore.
    """
    path = folder / named.path
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(folder):
        raise Failure(
            f"`{named}` of {site.service} leads out of the service's folder, to {real}",
            hint="Symbolic links that leave the folder are refused. Move the data into the"
            " folder, or keep it in a volume.",
        )
    if real != path:
        what = (
            f"is a symbolic link to {os.readlink(path)}"
            if path.is_symlink()
            else ("lies behind a symbolic link")
        )
        raise Failure(
            f"`{named}` of {site.service} {what}",
            hint="Put a real file or folder there, or include what it points to:"
            f" ./{real.relative_to(folder)}",
        )
    return path


def _path(site: Site, named: IncludedPath) -> Source:
    path = real_path(named, Path(os.path.realpath(site.folder)), site)
    if not path.exists():
        raise Failure(
            f"`{named}` of {site.service} does not exist on {site.node}",
            hint="Deploy the service first, or correct `include` of the item.",
        )
    if not (path.is_file() or path.is_dir()):
        raise Failure(f"`{named}` of {site.service} is neither a file nor a folder")
    return Source(key=key_of(named), path=path, known_as=str(named))


async def _volume(site: Site, key: str) -> Source:
    declared = await volumes.declared(key, site)
    volume = await site.docker.volume(declared.name)
    if volume is None:
        raise Failure(
            f"volume `{key}` ({declared.name}) of {site.service} does not exist on {site.node}",
            hint="Deploy the service first: that makes its volumes.",
        )
    folder = await volumes.bound(volume.kind, f"`{key}` ({declared.name})", site)
    path = folder.path if folder else volume.mountpoint
    if folder and not path.is_dir():
        raise Failure(
            f"volume `{key}` ({declared.name}) of {site.service} binds {path}, which does not exist"
            f" on {site.node}",
            hint="Is its disk mounted? Else make the folder, or restore it.",
        )
    return Source(
        key=f"volumes/{key}", path=path, known_as=key, volume=volume.name, bound=bool(folder)
    )


def _refuse_overlap(found: Sequence[Source], site: Site) -> None:
    """Raise Failure where a volume binds what is included by another name too."""
    for one, other in itertools.combinations(found, 2):
        if (one.volume or other.volume) and volumes.meet(one.path, other.path):
            raise Failure(
                f"`{one.known_as}` and `{other.known_as}` of {site.service} overlap: they are"
                f" {one.path} and {other.path} on {site.node}",
                hint="Name only one of them in `include`.",
            )
