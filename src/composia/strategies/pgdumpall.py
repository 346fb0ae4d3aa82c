"""database.pgdumpall: one SQL stream holding every database of a PostgreSQL service."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from composia.strategies.base import BackupStrategy, Needs, Saved, Site


class PgDumpAll(BackupStrategy):
    """Dump every database while the service runs."""

    needs: ClassVar[Needs] = Needs.RUNNING

    strategy: Literal["database.pgdumpall"] = "database.pgdumpall"
    service: str = Field(min_length=1)

    async def save(self, item: str, site: Site) -> Saved:
        raise NotImplementedError
