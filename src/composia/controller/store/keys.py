"""Idempotency keys: what was asked for under them, so that nothing is done twice."""

from __future__ import annotations

from sqlalchemy import insert, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.schema import KEYS, TASKS
from composia.errors import Conflict
from composia.model.task import Key


class KeyTaken(Conflict):
    """Something was done under this idempotency key already."""


async def first_of(db: AsyncConnection, created_by: str, key: str) -> tuple[str, str] | None:
    """The task of an idempotency key, and the hash of what was asked for."""
    begun, asked = (
        select(task, table.c.request_hash).where(
            table.c.created_by == created_by, table.c.idempotency_key == key
        )
        for table, task in ((TASKS, TASKS.c.id), (KEYS, KEYS.c.task))
    )
    row = (await db.execute(union_all(begun, asked))).first()
    return (row[0], row[1]) if row else None


async def refuse_taken(db: AsyncConnection, created_by: str, key: str | None) -> None:
    """Raises KeyTaken."""
    found = await first_of(db, created_by, key) if key else None
    if found:
        raise KeyTaken(f"this Idempotency-Key belongs to task {found[0]}")


async def keep(db: AsyncConnection, task: str, key: Key | None) -> None:
    """Something is asked of a task under this key. Raises KeyTaken."""
    if key:
        await refuse_taken(db, key.created_by, key.idempotency_key)
        await db.execute(insert(KEYS).values(task=task, **key.model_dump()))
