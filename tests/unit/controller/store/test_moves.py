"""Moves as the store knows them, and the placements that questions are meant for."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from composia.controller.store.database import FILE
from composia.controller.store.moves import ANSWERED, BEGUN, DONE, GIVEN_UP, UNDONE
from composia.controller.store.store import Store, open_store
from composia.controller.store.tasks import NewTask
from composia.errors import Conflict
from composia.model.task import Status
from tests.workflow.office import deploy


async def begun(
    store: Store, task: str = "01A", source: str = "main", target: str = "edge"
) -> tuple[str, dict[str, object]]:
    if await store.task(task) is None:
        new = NewTask(id=task, created_by="token:x", source="api")
        await store.admit(new, deploy(service=f"service-of-{task}"))
    return await store.begin_move(task, "my-app", source, target)


async def test_a_move_begins_with_an_epoch_of_its_own(store: Store) -> None:
    assert await store.epoch("my-app") == 0
    assert await begun(store) == ("", {})
    assert await store.epoch("my-app") == 1


async def test_the_same_attempt_may_ask_twice(store: Store) -> None:
    assert await begun(store) == ("", {})
    # The controller died before it had kept the answer.
    assert await begun(store) == ("", {})
    assert await store.epoch("my-app") == 1
    await store.end("01A", Status.FAILED)
    await store.readmit("01A", deploy(service="service-of-01A"))
    assert await begun(store) == (BEGUN, {})
    assert await begun(store) == (BEGUN, {})


async def test_a_move_that_is_tried_again_is_later_than_younger_ones(store: Store) -> None:
    await begun(store, "01A")
    await store.note_move("01A", UNDONE, {})
    for task, source, target in (("01B", "main", "third"), ("01C", "third", "main")):
        await begun(store, task, source, target)
        await store.note_move(task, DONE, {})
    assert await begun(store, "01A") == ("", {})
    await store.note_move("01A", ANSWERED, {})
    assert await open_now(store) == [("01A", "edge")]
    assert await begun(store, "01A") == (ANSWERED, {})
    assert await store.way_of("my-app", "edge") == ["main", "third", "main"]
    assert await store.left_behind("main") == ["01A"]
    # And a younger one that arrived before it is not carried on.
    await store.note_move("01B", ANSWERED, {})
    with pytest.raises(Conflict, match="has been moved since"):
        await begun(store, "01B", "main", "third")


async def test_a_move_that_is_begun_again_is_the_same(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", ANSWERED, {"downtime_seconds": 2})
    assert await begun(store) == (ANSWERED, {"downtime_seconds": 2})
    assert await store.epoch("my-app") == 1


async def test_one_that_was_undone_begins_anew(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", UNDONE, {"x": 1})
    assert await begun(store) == ("", {})
    assert await store.epoch("my-app") == 3


async def test_its_end_is_a_new_placement_once(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", DONE, {})
    await store.note_move("01A", DONE, {})
    assert await store.epoch("my-app") == 2


async def open_now(store: Store) -> list[tuple[str, str]]:
    return [(move.task, move.target) for move in await store.open_moves()]


async def test_a_move_is_open_from_its_answer_to_its_end(store: Store) -> None:
    await begun(store)
    assert await open_now(store) == []
    await store.note_move("01A", ANSWERED, {})
    assert await open_now(store) == [("01A", "edge")]
    await store.note_move("01A", DONE, {})
    assert await open_now(store) == []


async def test_a_move_is_open_until_it_was_taken_back(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", ANSWERED, {})
    await begun(store, "01B")
    await store.note_move("01B", UNDONE, {})
    assert await open_now(store) == [("01A", "edge")]
    await begun(store, "01B")
    await store.note_move("01B", DONE, {})
    assert await open_now(store) == []


async def test_a_node_knows_more_than_a_lost_store(store: Store) -> None:
    await store.know_epochs("main", {"my-app": 7})
    await store.know_epochs("main", {"my-app": 5})
    assert await store.epoch("my-app") == 7


async def test_a_node_says_nothing_of_the_moves_of_others(store: Store) -> None:
    await begun(store)

    await store.know_epochs("other", {"my-app": 9})
    assert await store.epoch("my-app") == 1
    await store.know_epochs("edge", {"my-app": 2**63, "no name": 1})
    await begun(store, "01B")

    assert 1 < await store.epoch("my-app") < 2**31
    assert await store.epoch("no name") == 0


@pytest.mark.parametrize("stage", [BEGUN, ANSWERED, GIVEN_UP])
async def test_a_source_that_may_still_run_is_known_until_it_was_stopped(
    store: Store, stage: str
) -> None:
    await begun(store)
    await store.note_move("01A", stage, {})
    assert await store.left_behind("main") == ["01A"]
    assert await store.left_behind("edge") == []
    await store.note_source_stopped("01A")
    assert await store.left_behind("main") == []


async def test_a_source_that_was_stopped_for_nothing_may_start_again(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", UNDONE, {})
    before = await store.epoch("my-app")
    assert not await store.note_source_stopped("01A")
    # A newer one than that of the fence that was put up there.
    assert await store.epoch("my-app") == before + 1
    assert not await store.source_stopped("01A")
    await begun(store, "01B")
    armed = await store.epoch("my-app")
    assert not await store.note_source_stopped("01A")
    assert await store.epoch("my-app") == armed


async def test_one_that_was_stopped_before_the_end_is_not_given_up(store: Store) -> None:
    await begun(store)
    await store.note_source_stopped("01A")
    await store.give_up("01A")
    assert (await begun(store))[0] == DONE


async def test_the_return_of_what_was_given_up_is_a_new_placement(store: Store) -> None:
    await begun(store)
    await store.give_up("01A")
    before = await store.epoch("my-app")
    await store.note_source_stopped("01A")
    assert await store.epoch("my-app") == before + 1
    assert (await begun(store))[0] == DONE


async def test_a_node_to_which_it_came_back_has_it_rightly(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", ANSWERED, {})
    await begun(store, "01B", "edge", "main")
    assert await store.left_behind("main") == ["01A"]
    await store.note_move("01B", ANSWERED, {})
    assert await store.left_behind("main") == []


async def test_what_has_been_moved_on_is_not_carried_on(store: Store) -> None:
    await begun(store)
    await store.note_move("01A", ANSWERED, {})
    await begun(store, "01B", "edge", "main")
    assert (await begun(store))[0] == ANSWERED
    await store.note_move("01B", DONE, {})
    with pytest.raises(Conflict, match="has been moved since"):
        await begun(store)
    assert (await begun(store, "01B", "edge", "main"))[0] == DONE


async def test_the_way_of_a_service_goes_back_to_where_it_came_from(store: Store) -> None:
    for task, source, target in (("01A", "main", "edge"), ("01B", "edge", "third")):
        await begun(store, task, source, target)
        await store.note_move(task, DONE, {})
    await begun(store, "01C", "third", "main")
    assert await store.way_of("my-app", "third") == ["edge", "main"]
    assert await store.way_of("my-app", "main") == []


async def test_a_target_that_was_given_up_is_left_behind_whatever_is_tried_next(
    store: Store,
) -> None:
    await begun(store)
    await store.note_target_gone("01A", gone=True)
    await store.note_move("01A", UNDONE, {})
    assert await store.left_behind("edge") == ["01A"]
    assert await store.left_behind("main") == []
    # Another try that does not get as far as to look there.
    await begun(store)
    await store.note_move("01A", UNDONE, {})
    assert await store.left_behind("edge") == ["01A"]
    await store.note_source_stopped("01A")
    assert await store.left_behind("edge") == []


async def test_a_given_up_target_to_which_it_has_come_since_is_left_alone(store: Store) -> None:
    await begun(store)
    await store.note_target_gone("01A", gone=True)
    await store.note_move("01A", UNDONE, {})
    await begun(store, "01B")
    await store.note_move("01B", DONE, {})
    assert await store.left_behind("edge") == []


async def test_moves_of_an_older_version_are_in_the_order_of_their_tasks(tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    for task, source, target in (("01B", "edge", "third"), ("01A", "main", "edge")):
        await begun(store, task, source, target)
        await store.note_move(task, ANSWERED, {})
    await store.aclose()
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        file.execute("DROP TABLE keys")
        file.execute("ALTER TABLE moves DROP COLUMN number")
        file.execute("ALTER TABLE moves DROP COLUMN attempt")
        file.execute("UPDATE alembic_version SET version_num = '0007'")
        file.commit()
    again = await open_store(tmp_path)
    assert await open_now(again) == [("01B", "third")]
    await again.aclose()
