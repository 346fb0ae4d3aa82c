"""database.pgimport: a dump loaded into a fresh data folder beside the live one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from composia.strategies import contents, dump, fresh_database, loading
from composia.strategies.base import RestoreStrategy, Site, Staged, Swap, Wanted
from composia.tools import exchange

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
        beside = await fresh_database.prepare(self.service, item, site)
        contents.make_room(room, beside.folder)
        name = f"composia-{site.task}-{item}"
        await site.notes.note(f"importing_{item}", container=name)
        async with fresh_database.alone(name, beside, site) as container:
            size = await loading.load(container, item, pieces, site)
            await fresh_database.stop(container, site)
        await asyncio.to_thread(exchange.flush, beside.folder)
        await site.notes.note(f"imported_{item}")
        swap = beside.swap
        return Staged(swaps=(swap,), size=size, files=1, warnings=_settings(swap))


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
