"""database.pgimport: a dump loaded into a fresh data folder beside the live one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import Field

from composia.strategies import contents, fresh_database, loading
from composia.strategies.base import RestoreStrategy, Site, Staged, Swap, Wanted
from composia.strategies.fresh_database import Beside
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
        beside = await fresh_database.prepare(self.service, wanted, site)
        contents.make_room(found.size or 0, beside.folder)
        async with _alone(beside, wanted, site) as container:
            await fresh_database.wait_until_ready(container, self.service, site)
            size = await loading.load(container, wanted, site)
            await fresh_database.stop(container, site)
        await asyncio.to_thread(exchange.flush, beside.folder)
        await site.notes.note(f"imported_{wanted.item}")
        swap = beside.swap
        return Staged(swaps=(swap,), size=size, files=1, warnings=_settings(swap))


@asynccontextmanager
async def _alone(beside: Beside, wanted: Wanted, site: Site) -> AsyncIterator[str]:
    """The database by itself on the fresh folder; answers its container, gone afterwards."""
    name = f"composia-{site.task}-{wanted.item}"
    await site.notes.note(f"importing_{wanted.item}", container=name)
    try:
        await fresh_database.start(name, beside, site)
        yield name
    finally:
        await asyncio.shield(site.docker.kill_and_remove(name))


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
