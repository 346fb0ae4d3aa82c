"""Listings of folders in backups, kept for a moment: snapshots never change; asking is slow."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence

from composia.controller.api import contents
from composia.errors import Failure
from composia.model.backup import Backup
from composia.model.shown import EntryView
from composia.web.visit import Visit

#: Seconds that a node may take to list a folder; browsers are told to wait 30.
PATIENCE = 20.0
#: So many listings are kept, for so many seconds.
KEPT = 8
FRESH = 300.0

_Place = tuple[str, str, str]


class Listings:
    """The last few of them."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._known: OrderedDict[_Place, tuple[float, Sequence[EntryView]]] = OrderedDict()

    async def of(self, visit: Visit, backup: Backup, path: str) -> Sequence[EntryView]:
        """What is in the folder, folders first. Raises what the node raises, and Failure late."""
        place = (backup.id, backup.snapshot_id or "", path)
        at, found = self._known.get(place, (0.0, ()))
        if place not in self._known or time.monotonic() - at > FRESH:
            found = _sorted(await self._asked(visit, backup, path))
            self._keep(place, found)
        return found

    async def _asked(self, visit: Visit, backup: Backup, path: str) -> Sequence[EntryView]:
        try:
            async with asyncio.timeout(self._patience):
                return await contents.listed(visit, backup, path)
        except TimeoutError:
            raise Failure(
                f"the repository was not read within {self._patience:.0f} seconds",
                hint="Its node may be busy with a backup. Try again in a moment, or open a "
                "folder further down by its address.",
            ) from None

    def _keep(self, place: _Place, found: Sequence[EntryView]) -> None:
        self._known[place] = (time.monotonic(), found)
        self._known.move_to_end(place)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)


def _sorted(entries: Sequence[EntryView]) -> Sequence[EntryView]:
    return sorted(entries, key=lambda one: (one.type != "dir", one.path.casefold()))
