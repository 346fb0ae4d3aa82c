"""Volumes that bind a folder of the node: where that is, and whether it may be worked on.

Docker mounts such a folder at the volume's own place only while a container uses it. So the data
is read from, and exchanged in, the folder itself.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from composia.errors import Failure
from composia.strategies.base import Site
from composia.tools.compose import ComposeVolume
from composia.tools.exchange import existing
from composia.tools.volumes import VolumeKind

#: What the machine itself lives in; below the first three nothing is anybody's data.
KERNEL = tuple(map(Path, ("/dev", "/proc", "/sys")))
SYSTEM = tuple(
    map(
        Path,
        (
            *("/", "/bin", "/boot", "/etc", "/home", "/lib", "/lib32", "/lib64", "/root", "/run"),
            *("/sbin", "/usr", "/usr/bin", "/usr/lib", "/usr/sbin", "/var", "/var/lib", "/var/log"),
        ),
    )
)
ELSEWHERE = "Give the volume a folder of its own under `device`."


@dataclass(frozen=True, slots=True)
class Bound:
    """The folder that a volume binds, whether it is there yet or not."""

    #: With no symbolic link on the way.
    path: Path
    #: The folder above that no symbolic link may lead out of.
    below: Path


async def declared(key: str, site: Site) -> ComposeVolume:
    """What the compose file says of a volume. Raises Failure for one that it does not name."""
    found = (await site.compose.config()).volumes.get(key)
    if found is None:
        raise Failure(
            f"`{key}` is no volume in the compose file of {site.service}",
            hint=f"Name one under `volumes:`, or write ./{key} for a file or folder.",
        )
    return found


async def bound(kind: VolumeKind, called: str, site: Site) -> Bound | None:
    """The folder that a volume binds; None for a plain one, whose data Docker keeps.

    Raises Failure for any other, and for a folder that is nobody's to work on.
    """
    if kind.plain:
        return None
    if kind.device is None:
        raise Failure(
            f"volume {called} of {site.service} is of {kind}: Composia saves and puts back plain"
            " local volumes, and local ones that bind a folder of the node",
            hint="Save its data where it is kept (the server of a share has it), and say so under"
            " `data_protect.unprotected` in composia-meta.yaml; a move also takes `leave_behind`."
            " Or mount it on the node yourself, and bind that folder.",
        )
    root = await site.docker.root()
    return await asyncio.to_thread(_checked, kind.device, root, called, site)


async def missing(site: Site) -> tuple[Path, ...]:
    """The folders that volumes of the compose file bind and that are not on this node.

    Raises Failure for one that must not be made.
    """
    found: list[Path] = []
    for one in (await site.compose.config()).volumes.values():
        there = await site.docker.volume(one.name)
        kind = there.kind if there else one.kind
        if kind.device is None or os.path.lexists(kind.device):
            continue
        if folder := await bound(kind, f"`{one.key}` ({one.name})", site):
            found.append(folder.path)
    return tuple(found)


def make(folder: Path) -> None:
    """Make a folder that Docker would not make, as it makes one for a bind; or leave it."""
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)


def meet(one: Path, other: Path) -> bool:
    """Whether one is, or lies in, the other."""
    return one.is_relative_to(other) or other.is_relative_to(one)


def _checked(device: str, docker: Path, called: str, site: Site) -> Bound:
    path = Path(device)
    try:
        real = Path(os.path.realpath(path))
        wrong, hint = next(_objections(path, real, docker, site), (None, None))
    except OSError as error:
        wrong, hint = f"which cannot be looked at: {error.strerror}", ELSEWHERE
    if wrong:
        raise Failure(f"volume {called} of {site.service} binds {device}, {wrong}", hint=hint)
    folder = Path(os.path.realpath(site.folder))
    inside = real.is_relative_to(folder)
    return Bound(real, folder if inside else existing(real.parent))


def _objections(path: Path, real: Path, docker: Path, site: Site) -> Iterator[tuple[str, str]]:
    """Why it is not worked on, each with what to do."""
    if not path.is_absolute():
        yield "which is no absolute path", "Write the whole path under `device`."
    if path.is_symlink():
        yield f"which is a symbolic link to {real}", f"Write what it points to: device: {real}"
    if not existing(real).is_dir() or (real.exists() and not real.is_dir()):
        yield "which is no folder", ELSEWHERE
    if real in SYSTEM or any(real.is_relative_to(one) for one in KERNEL):
        yield "which belongs to the system", ELSEWHERE
    if meet(real, Path(os.path.realpath(docker))):
        yield f"which is, holds or lies in Docker's own folder {docker}", ELSEWHERE
    yield from _ours(real, site)


def _ours(real: Path, site: Site) -> Iterator[tuple[str, str]]:
    folder = Path(os.path.realpath(site.folder))
    if real != folder and real.is_relative_to(folder):
        return
    for place, what in ((site.repo_dir, "services"), (site.state_dir, "the agent's own files")):
        if meet(real, Path(os.path.realpath(place))):
            yield f"which is, holds or lies in the folder of {what}, {place}", ELSEWHERE
