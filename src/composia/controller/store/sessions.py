"""Who has signed in to the pages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, insert, or_, select, update

from composia.controller.store.database import Database
from composia.controller.store.schema import SESSIONS
from composia.controller.store.times import stored
from composia.model.session import Session


class Sessions:
    """The table of sessions."""

    _db: Database

    async def keep_session(self, session: Session) -> None:
        """Keep a new one."""
        values = session.model_dump() | {
            "created_at": stored(session.created_at),
            "used_at": stored(session.used_at),
        }
        async with self._db.write() as db:
            await db.execute(insert(SESSIONS).values(**values))

    async def session(self, digest: str) -> Session | None:
        """The session whose id has this digest."""
        async with self._db.read() as db:
            query = select(SESSIONS).where(SESSIONS.c.digest == digest)
            row = (await db.execute(query)).mappings().first()
        return Session.model_validate(dict(row)) if row else None

    async def use_session(self, digest: str, at: datetime) -> None:
        """Note that it is used."""
        async with self._db.write() as db:
            await db.execute(
                update(SESSIONS).where(SESSIONS.c.digest == digest).values(used_at=stored(at))
            )

    async def end_session(self, digest: str) -> None:
        """Drop it; one that is not there is over none the less."""
        async with self._db.write() as db:
            await db.execute(delete(SESSIONS).where(SESSIONS.c.digest == digest))

    async def end_sessions_of(self, token: str) -> None:
        """Drop all that the token with this digest has begun."""
        async with self._db.write() as db:
            await db.execute(delete(SESSIONS).where(SESSIONS.c.token == token))

    async def prune_sessions(self, *, created_before: datetime, used_before: datetime) -> None:
        """Drop those that are over."""
        over = or_(
            SESSIONS.c.created_at < stored(created_before), SESSIONS.c.used_at < stored(used_before)
        )
        async with self._db.write() as db:
            await db.execute(delete(SESSIONS).where(over))
