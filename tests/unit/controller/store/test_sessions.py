"""Who has signed in, as it is kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from composia.controller.store.store import Store
from composia.model.session import Session

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def session(digest: str, created: timedelta = DAY, used: timedelta = timedelta()) -> Session:
    return Session(digest=digest, token="t" * 64, created_at=NOW - created, used_at=NOW - used)


async def test_a_session_is_kept_until_it_is_ended(store: Store) -> None:
    await store.keep_session(session("one"))
    await store.use_session("one", NOW + DAY)

    kept = await store.session("one")
    await store.end_session("one")
    await store.end_session("one")

    assert kept == session("one").model_copy(update={"used_at": NOW + DAY})
    assert await store.session("one") is None


async def test_sessions_that_are_old_or_unused_are_dropped(store: Store) -> None:
    for one in (session("fresh"), session("old", created=31 * DAY), session("unused", used=DAY)):
        await store.keep_session(one)

    await store.prune_sessions(created_before=NOW - 30 * DAY, used_before=NOW - DAY / 2)

    found = [name for name in ("fresh", "old", "unused") if await store.session(name)]
    assert found == ["fresh"]
