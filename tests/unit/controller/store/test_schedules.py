"""Schedules and their runs, which pages ask for all the time."""

from __future__ import annotations

from composia.controller.store.schedules import DueRun, Mark, RunState
from composia.controller.store.store import Store
from tests.twins.office import NOW

MARK = Mark(key="backup:wiki/data", expression="0 2 * * *", timezone="UTC", since=NOW, seen=NOW)
RUN = DueRun(schedule=MARK.key, node="main", slot=NOW, first=NOW)


async def test_what_was_asked_before_a_change_is_asked_again_after_it(store: Store) -> None:
    assert (await store.marks(), list(await store.newest_runs())) == ({}, [])

    await store.note_due([MARK], [RUN])
    assert await store.marks() == {MARK.key: MARK}
    assert [one.state for one in await store.newest_runs()] == [RunState.WAITING]

    await store.miss_runs([RUN], "it is not wanted")
    assert [one.state for one in await store.newest_runs()] == [RunState.MISSED]

    await store.note_due([], [], gone=[MARK.key])
    assert await store.marks() == {}


async def test_without_a_change_nothing_is_read_again(store: Store) -> None:
    await store.note_due([MARK], [RUN])

    assert await store.marks() is await store.marks()
    assert await store.newest_runs(2) is await store.newest_runs(2)
    assert await store.newest_runs(2) == await store.newest_runs(50)
