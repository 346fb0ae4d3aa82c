"""Signing in: an access token once, then a cookie that names a session."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

from composia.controller.api.office import Office
from composia.controller.auth import Caller, hashed
from composia.errors import Conflict, Unauthenticated
from composia.model.session import Session

#: Over when it was not used for so long, and after so long in any case.
IDLE = timedelta(hours=12)
LONGEST = timedelta(days=30)
#: A use is written down at most so often.
NOTED = timedelta(minutes=1)
#: Seconds that a wrong token waits for its answer, and how many may wait at once.
PAUSE = 0.5
WAITING = 8


class Attempts:
    """Slows down whoever guesses."""

    def __init__(self) -> None:
        self.pause = PAUSE
        self._waiting = 0

    async def failed(self) -> None:
        """Wait a little. Raises Conflict while too many wait already."""
        if self._waiting >= WAITING:
            raise Conflict("too many attempts at once", hint="Try again in a moment.")
        self._waiting += 1
        try:
            await asyncio.sleep(self.pause)
        finally:
            self._waiting -= 1


async def begin(office: Office, token: str) -> str:
    """The id of a new session. Raises Unauthenticated."""
    digest = hashed(token.strip())
    if office.gate.holder(digest) is None:
        raise Unauthenticated(
            "this access token is not known",
            hint="It is one of `controller.access_tokens` in config.yaml.",
        )
    session, now = secrets.token_urlsafe(32), datetime.now(UTC)
    await office.store.prune_sessions(created_before=now - LONGEST, used_before=now - IDLE)
    await office.store.keep_session(
        Session(digest=hashed(session), token=digest, created_at=now, used_at=now)
    )
    return session


async def caller_of(office: Office, session: str | None) -> Caller | None:
    """Who has signed in; None where the session, or its token, is over."""
    if not session:
        return None
    kept, now = await office.store.session(hashed(session)), datetime.now(UTC)
    if kept is None or now - kept.created_at > LONGEST or now - kept.used_at > IDLE:
        return None
    if now - kept.used_at > NOTED:
        await office.store.use_session(kept.digest, now)
    return office.gate.holder(kept.token)


async def end_everywhere(office: Office, session: str) -> None:
    """End every session that the same access token has begun, this one too."""
    kept = await office.store.session(hashed(session))
    if kept is not None:
        await office.store.end_sessions_of(kept.token)


def form_token(session: str) -> str:
    """What only a page of this session knows: sent along with whatever changes something."""
    return hashlib.sha256(f"form:{session}".encode()).hexdigest()


def is_form_token(session: str, shown: str) -> bool:
    """Whether it is the session's."""
    return hmac.compare_digest(form_token(session).encode(), shown.encode())
