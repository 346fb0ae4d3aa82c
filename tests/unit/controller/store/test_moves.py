"""Moves as the store knows them, and the placements that questions are meant for."""

from __future__ import annotations

from composia.controller.store.moves import ANSWERED, DONE, GIVEN_UP, UNDONE
from composia.controller.store.store import Store
from composia.controller.store.tasks import NewTask
from tests.workflow.office import deploy


async def begun(store: Store, task: str = "01A") -> tuple[str, dict[str, object]]:
    if await store.task(task) is None:
        new = NewTask(id=task, created_by="token:x", source="api")
        await store.admit(new, deploy(service=f"service-of-{task}"))
    return await store.begin_move(task, "my-app", "main", "edge")


async def test_a_move_begins_with_an_epoch_of_its_own(store: Store) -> None:
    assert await store.epoch("my-app") == 0
    assert await begun(store) == ("begun", {})
    assert await store.epoch("my-app") == 1


async def test_a_move_that_is_begun_again_is_the_same(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", ANSWERED, {"downtime_seconds": 2})
    assert await begun(store) == (ANSWERED, {"downtime_seconds": 2})
    assert await store.epoch("my-app") == 1


async def test_one_that_was_undone_begins_anew(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", UNDONE, {"x": 1})
    assert await begun(store) == ("begun", {})
    assert await store.epoch("my-app") == 3


async def test_its_end_is_a_new_placement_once(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", DONE, {})
    await store.note_move("01A", DONE, {})
    assert await store.epoch("my-app") == 2


async def test_a_node_knows_more_than_a_lost_store(store: Store) -> None:
    await store.know_epochs({"my-app": 7})
    await store.know_epochs({"my-app": 5})
    assert await store.epoch("my-app") == 7


async def test_a_node_that_was_given_up_is_remembered_until_it_is_back(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", GIVEN_UP, {})
    assert await store.given_up("main") == [("01A", "my-app")]
    assert await store.given_up("edge") == []
    await store.note_move("01A", DONE, {})
    assert await store.given_up("main") == []
