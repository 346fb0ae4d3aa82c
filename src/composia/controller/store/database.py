"""The database file: opened, brought up to date, written by one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event, inspect, text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from composia.tools import durable

FILE = "composia.db"
_MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """Reads see what is committed; writes are whole transactions, one after the other."""

    def __init__(self, reading: AsyncEngine, writing: AsyncEngine) -> None:
        self._reading = reading
        self._engine = writing
        self._writing = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to select with."""
        async with self._reading.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: all of it is on the disk at the end, or nothing."""
        async with self._writing, self._engine.begin() as connection:
            yield connection

    async def aclose(self) -> None:
        """Close all connections."""
        await self._reading.dispose()
        await self._engine.dispose()


async def open_database(state_dir: Path) -> Database:
    """The database of a state_dir, made or brought up to date."""
    path = state_dir / FILE
    durable.make_database_private(path)
    url = f"sqlite+aiosqlite:///{path}"
    writing = create_async_engine(url, pool_size=1)
    # Never in a transaction, so there is nothing to set before a question or undo after it: each of
    # these is a way to the connection's thread and back, and a page asks ten questions.
    reading = create_async_engine(
        url, pool_size=5, max_overflow=5, isolation_level="AUTOCOMMIT", pool_reset_on_return=None
    )
    for engine in (reading, writing):
        event.listen(engine.sync_engine, "connect", _prepare)
    async with writing.begin() as connection:
        await connection.run_sync(_upgrade)
    return Database(reading, writing)


def _prepare(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _upgrade(connection: Connection) -> None:
    newest = max(step.stem[1:5] for step in _MIGRATIONS.glob("versions/v*.py"))
    if _revision(connection) == newest:
        return
    # Most starts change nothing, and are spared the half second that Alembic takes.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found
