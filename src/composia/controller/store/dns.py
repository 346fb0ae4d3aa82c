"""What was written under which name."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from composia.controller.dns.names import Written
from composia.controller.store.database import Database
from composia.controller.store.schema import FACTS
from composia.model.dns import DnsTarget


class DnsMemory:
    """Facts, one for each provider, name and type."""

    _db: Database

    async def written(self, provider: str, hostname: str) -> Mapping[str, Written]:
        """By type."""
        start = _fact(provider, hostname, "")
        query = select(FACTS.c.name, FACTS.c.value).where(
            FACTS.c.name.startswith(start, autoescape=True)
        )
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
        return {
            name.removeprefix(start): Written.model_validate_json(value) for name, value in rows
        }

    async def keep_written(self, target: DnsTarget, written: Written) -> None:
        """Replaces what was known of that name and type."""
        name = _fact(target.provider, target.hostname, target.record_type)
        value = written.model_dump_json()
        async with self._db.write() as db:
            await db.execute(
                insert(FACTS)
                .values(name=name, value=value)
                .on_conflict_do_update(index_elements=["name"], set_={"value": value})
            )


def _fact(provider: str, hostname: str, record_type: str) -> str:
    return f"dns/{provider}/{hostname}/{record_type}"
