"""database.pgimport: a dump loaded into a fresh data folder beside the live one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from composia.strategies import contents, dump, fresh_database, loading
from composia.strategies.base import RestoreStrategy, Site, Staged, Swap, Wanted
from composia.strategies.fresh_database import Beside
from composia.tools import exchange
from composia.tools.mounts import refuse_mounts_below

#: What people change by hand in a data folder, which no dump holds.
SETTINGS = ("postgresql.conf", "pg_hba.conf", "postgresql.auto.conf")


class PgImport(RestoreStrategy):
    """Load a dump into a fresh database beside the live one."""

    strategy: Literal["database.pgimport"] = "database.pgimport"
    service: str = Field(
        min_length=1,
        description="The compose service that runs PostgreSQL.",
        examples=["postgres"],
    )

    async def fetch(self, wanted: Wanted, site: Site) -> Staged:
        found = await contents.find(wanted, site)
        return await self.load(wanted.item, found.size or 0, dump.chunks(wanted, site), site)

    async def load(self, item: str, room: int, pieces: AsyncIterator[bytes], site: Site) -> Staged:
        """Load a dump of `room` bytes beside the live database. Raises Failure."""
        beside, name = await self._beside(item, room, site)
        swap = beside.swap
        await asyncio.to_thread(refuse_mounts_below, swap.live, swap.known_as)
        async with fresh_database.alone(name, beside, site) as container:
            size = await loading.load(container, item, pieces, site)
            await fresh_database.stop(container, site)
        await asyncio.to_thread(exchange.flush, beside.folder)
        await site.notes.note(f"imported_{item}")
        return Staged(swaps=(swap,), size=size, files=1, warnings=_settings(swap))

    async def prove(self, wanted: Wanted, site: Site) -> tuple[int, loading.Counted]:
        """Load the dump and count its rows: its size, and what was found. Raises Failure.

        What it was loaded into lies aside, and is for nothing: the caller removes it.
        """
        found = await contents.find(wanted, site)
        beside, name = await self._beside(wanted.item, found.size or 0, site)
        async with fresh_database.alone(name, beside, site) as container:
            pieces = dump.chunks(wanted, site)
            size = await loading.load(container, wanted.item, pieces, site)
            return size, await loading.count(container, site)

    async def _beside(self, item: str, room: int, site: Site) -> tuple[Beside, str]:
        """A fresh place, and the noted name of the container that is to work on it."""
        beside = await fresh_database.prepare(self.service, item, site)
        contents.make_room(room, beside.folder)
        name = f"composia-{site.task}-{item}"
        await site.notes.note(f"importing_{item}", container=name)
        return beside, name


def _settings(swap: Swap) -> tuple[str, ...]:
    differing = [name for name in SETTINGS if _differs(swap.live / name, swap.staged / name)]
    if not differing:
        return ()
    return (
        f"{swap.known_as}: {', '.join(differing)} had been changed by hand; a dump does not hold"
        " that, so the database starts with fresh ones (the old ones lie with the replaced data)",
    )


def _differs(live: Path, staged: Path) -> bool:
    try:
        return live.read_bytes() != staged.read_bytes()
    except OSError:
        return False
