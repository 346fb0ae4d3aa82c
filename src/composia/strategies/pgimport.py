"""database.pgimport: a dump loaded into a fresh data folder beside the live one."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from composia.strategies.base import RestoreStrategy, Site, Staged, Wanted


class PgImport(RestoreStrategy):
    """Load a dump into a fresh database beside the live one."""

    strategy: Literal["database.pgimport"] = "database.pgimport"
    service: str = Field(min_length=1)

    async def fetch(self, wanted: Wanted, site: Site) -> Staged:
        raise NotImplementedError
