"""The use of tokens, and the nodes as they were last seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, func, select
from sqlalchemy import insert as plain_insert
from sqlalchemy.dialects.sqlite import insert

from composia.controller.store.database import Database
from composia.controller.store.schema import AUDIT, NODES
from composia.controller.store.times import stored
from composia.model.node import NodeState

KEPT = timedelta(days=90)
KEPT_ROWS = 100_000


class Use(BaseModel):
    """One use of a token: never the token itself."""

    model_config = ConfigDict(frozen=True)

    time: str
    token: str
    method: str
    path: str
    status: int
    client: str | None = None


class Audit:
    """The tables of token uses and of nodes."""

    _db: Database

    async def note_uses(self, uses: Sequence[Use]) -> None:
        """Write them down."""
        async with self._db.write() as db:
            await db.execute(plain_insert(AUDIT), [use.model_dump() for use in uses])

    async def prune_uses(self) -> None:
        """Drop what is too old, or too much."""
        oldest = stored(datetime.now(UTC) - KEPT)
        async with self._db.write() as db:
            newest = await db.scalar(select(func.max(AUDIT.c.id))) or 0
            await db.execute(
                delete(AUDIT).where((AUDIT.c.time < oldest) | (AUDIT.c.id <= newest - KEPT_ROWS))
            )

    async def uses(self, limit: int = 100) -> Sequence[Use]:
        """The newest first."""
        query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
        async with self._db.read() as db:
            rows = (await db.execute(query)).all()
        return [Use.model_validate(dict(row._mapping)) for row in rows]

    async def saw_node(self, node: str, at: datetime, state: NodeState | None) -> None:
        """When it was last connected, and how it was then."""
        values = {"last_seen": stored(at)}
        if state is not None:
            values["state"] = state.model_dump_json()
        async with self._db.write() as db:
            await db.execute(
                insert(NODES)
                .values(id=node, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )

    async def seen_nodes(self) -> dict[str, tuple[datetime, NodeState | None]]:
        """Every node that was ever connected."""
        async with self._db.read() as db:
            rows = (await db.execute(select(NODES))).all()
        return {
            row.id: (
                datetime.fromisoformat(row.last_seen),
                NodeState.model_validate_json(row.state) if row.state else None,
            )
            for row in rows
        }
