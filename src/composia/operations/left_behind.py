"""What services have left behind on a node, and its end: after 7 days it is removed.

Only what has arrived elsewhere, and only as it was left: what was excluded, and whatever somebody
has changed or put there since, is nowhere else.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from composia.errors import ComposiaError
from composia.operations import fence
from composia.operations.fence import Fence
from composia.operations.returning import was_touched
from composia.strategies import sources
from composia.strategies.volumes import meet
from composia.tools import manifest
from composia.tools.docker import Docker
from composia.tools.mounts import remove

#: How long the data stays that a service has left behind.
KEPT = timedelta(days=7)

#: The turn of a service on this node, by its name.
Alone = Callable[[str], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Expired:
    """What a service had left behind, and whose time is over."""

    service: str
    #: Paths and volumes that stay all the same: they are not as they were left.
    changed: tuple[str, ...]
    #: Folders that volumes bind and that stay: they are not in the folder of the service.
    elsewhere: tuple[str, ...] = ()


async def expire(
    instances: Path, repo_dir: Path, docker: Docker, now: datetime, alone: Alone
) -> list[Expired]:
    """Remove what services have left behind, when its time is over.

    `alone`: no operation works on the service of that name meanwhile. Raises what went wrong with
    one service after all the others.
    """
    ended: list[Expired] = []
    wrong: list[Exception] = []
    for state in sorted(instances.glob("*")):
        if not _due(state, now):
            continue
        try:
            async with alone(state.name):
                # A return may have been waited for: what lies here is in use again then.
                found = _due(state, now)
                if found and not await _is_used(found, repo_dir, docker):
                    ended.append(await _end(found, state, repo_dir, docker))
        except (ComposiaError, OSError) as error:
            wrong.append(error)
    if wrong:
        raise wrong[0]
    return ended


def _due(state: Path, now: datetime) -> Fence | None:
    """The fence of what a service has left, where its time is over."""
    found = fence.read(state)
    is_over = found and found.side == "left" and found.kept_until and found.kept_until < now
    return found if is_over else None


async def _end(found: Fence, state: Path, repo_dir: Path, docker: Docker) -> Expired:
    """Remove it, and remember that nothing is kept any more; what was changed stays."""
    changed = await _remove(found, repo_dir, docker)
    gone: tuple[str, ...] = ()
    cleared = {"volumes_left": gone, "paths_left": gone, "spared_left": gone}
    fence.put_up(state, found.model_copy(update={**cleared, "kept_until": None}))
    elsewhere = tuple(path for path in found.paths_left if _is_elsewhere(path, repo_dir))
    return Expired(state.name, changed, elsewhere)


async def _remove(found: Fence, repo_dir: Path, docker: Docker) -> tuple[str, ...]:
    """Remove what is as it was left; what is not."""
    changed = []
    for name in found.volumes_left:
        volume = await docker.volume(name)
        if volume is None:
            continue
        if await asyncio.to_thread(_is_as_it_was, volume.mountpoint, found):
            await docker.remove_volume(name)
        else:
            changed.append(name)
    for path in map(Path, found.paths_left):
        if _is_elsewhere(path, repo_dir):
            continue
        if await asyncio.to_thread(_is_as_it_was, path, found):
            await asyncio.to_thread(_remove_but, path, [*map(Path, found.spared_left)])
        else:
            changed.append(str(path))
    return tuple(changed)


def _is_elsewhere(path: Path | str, repo_dir: Path) -> bool:
    return not Path(path).is_relative_to(repo_dir) or Path(path) == repo_dir


def _is_as_it_was(place: Path, found: Fence) -> bool:
    if not os.path.lexists(place):
        return True
    spared = [Path(one) for one in found.spared_left]
    below = [os.fsencode(one.relative_to(place)) for one in spared if one.is_relative_to(place)]
    seen = manifest.take(place, leave_out=below, ours=sources.OURS)
    return not was_touched(seen, _left_at(found))


def _left_at(found: Fence) -> int:
    """When it was left, by this node's clock, in nanoseconds."""
    if found.left:
        return found.left.at
    assert found.kept_until
    return int((found.kept_until - KEPT).timestamp() * 1e9)


def _remove_but(place: Path, spared: Collection[Path]) -> None:
    """Remove it, and leave what is spared where it is."""
    if place in spared:
        return
    if place.is_symlink() or not any(_is_in(one, place) for one in spared):
        remove(place)
        return
    for child in list(place.iterdir()):
        _remove_but(child, spared)


def _is_in(spared: Path, place: Path) -> bool:
    return spared.is_relative_to(place) and os.path.lexists(spared)


async def _is_used(found: Fence, repo_dir: Path, docker: Docker) -> bool:
    """Whether any container knows a place of it: then it is not ours to remove."""
    mounts = [mount for one in await docker.containers() for mount in one.mounts]
    paths = [Path(path) for path in found.paths_left if not _is_elsewhere(path, repo_dir)]
    return any(
        mount.name in found.volumes_left
        or any(meet(Path(mount.source), path) for path in paths if mount.source)
        for mount in mounts
    )
