"""A service that returns: its data starts from what it left on the node, not from nothing.

The node that it left knows when everything had stopped there; the node that it went to, since when
its data may differ from that. So only what has changed meanwhile is sent. Where either of them is
not sure, nothing is taken for granted, and all of it is sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from composia.errors import CommandFailed, Failure
from composia.operations import landing, sending
from composia.operations.cargo import Cargo
from composia.operations.fence import Left, copy_left_by
from composia.operations.landing import LANDED, Landed
from composia.operations.sending import FORKED, Copied
from composia.strategies import contents, sources
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Swap
from composia.tools import durable, exchange, manifest
from composia.tools.manifest import Manifest
from composia.tools.shell import Command
from composia.tools.threads import in_thread


def remember(since: int, landed: Mapping[str, Manifest], site: Site) -> None:
    """Keep that by then the data that came was the same as on the node that it came from."""
    forked = Copied.of(copy_left_by(site.task), since, landed)
    durable.keep(site.state / FORKED, forked)


async def start_from(left: Left, cargo: Sequence[Cargo], site: Site) -> None:
    """Copy what was left to where the data lands. What does not work out is not done."""
    if Aside(site.aside, site.task).read(LANDED, Landed):
        return
    same = [one for one in cargo if one in left.cargo and not one.dump]
    places = await landing.landings(same, site)
    swaps = [one.swap for one in places.values() if one.swap]
    swaps = [one for one in swaps if os.path.lexists(one.live)]
    if not swaps or not await in_thread(_is_as_it_was_left, swaps, left, site):
        return
    site.notes.log(f"starting from what {site.service} left on {site.node}")
    try:
        for one in swaps:
            await site.compose.shell.run(_copy(one))
        await in_thread(_flush, swaps)
    except CommandFailed as error:
        # What is there now is compared with the source as anything else would be.
        site.notes.log(f"what was left is not used: {error.message}")
        return
    known = Landed(copy_id=left.copy_id, boot=sending.boot_id(), landings=tuple(places.values()))
    landing.keep(site, known, settled=True)


def _is_as_it_was_left(swaps: Sequence[Swap], left: Left, site: Site) -> bool:
    if not all(_is_free(one) for one in swaps):
        # An attempt that was cut off: nobody knows how far it came.
        return False
    seen = {one.staged: _look(one) for one in swaps}
    if any(was_touched(found, left.at) for found in seen.values()):
        site.notes.log(f"what {site.service} left was changed since: it is not used")
        return False
    return all(_has_room(found, place, site) for place, found in seen.items())


def _look(swap: Swap) -> Manifest:
    leave_out = tuple(map(os.fsencode, swap.carry))
    return manifest.take(swap.live, leave_out=leave_out, ours=sources.OURS)


def was_touched(seen: Manifest, since: int) -> bool:
    """Whether anything in it has changed since a time, as far as can be told."""
    # A folder's root may be: the engine looks after the folders of volumes.
    return bool(seen.unread) or any(
        entry.ctime > since for path, entry in seen.entries.items() if path or entry.type != "dir"
    )


def _has_room(seen: Manifest, place: Path, site: Site) -> bool:
    try:
        size = sum(entry.size for entry in seen.entries.values())
        contents.make_room(size, exchange.existing(place))
    except Failure as error:
        site.notes.log(f"what was left is not used: {error.message}")
        return False
    return True


def _is_free(swap: Swap) -> bool:
    """Whether nothing lies there yet, and the copy would not be made into itself."""
    place = swap.staged
    if place.is_relative_to(swap.live):
        return False
    if place.is_dir() and not place.is_symlink():
        return not any(place.iterdir())
    return not os.path.lexists(place)


def _copy(swap: Swap) -> Command:
    """A copy like the original in everything, sharing its blocks where the disk can do that."""
    names = (str(swap.live), str(swap.staged))
    return Command(("cp", "-aT", "--reflink=auto", "--sparse=auto", "--", *names))


def _flush(swaps: Sequence[Swap]) -> None:
    for one in swaps:
        exchange.flush(one.staged if one.staged.is_dir() else one.staged.parent)
