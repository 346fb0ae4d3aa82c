"""Items are saved live first, then in one stop; one's failure keeps no other from being saved."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from composia.errors import Conflict, Failure
from composia.model.service import ServiceRef
from composia.operations import fence
from composia.operations.backup import DataSaved, ItemToSave, SaveData
from composia.operations.fence import Fence
from composia.strategies.files_copy import FilesCopy
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.tools import manifest
from tests.twins.site import Twins
from tests.twins.slow import cancelled_in_its_stop

APP = ServiceRef(
    name="my-app",
    folder="my-app",
    project="app",
    compose_files=("docker-compose.yaml",),
    revision="0" * 40,
)


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    folder = tmp_path / "my-app"
    # What the agent remembers lies beside it: each test has its own.
    made = Twins(folder)
    made.docker.add("web", folder=folder)
    for name in ("a", "b", "c"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").write_text(name)
    return made


def live(name: str) -> ItemToSave:
    return ItemToSave(
        name=name, backup_id=f"backup-{name}", strategy=FilesCopy(include=(f"./{name}",))
    )


def cold(name: str) -> ItemToSave:
    strategy = FilesTarAfterStop(strategy="files.tar_after_stop", include=(f"./{name}",))
    return ItemToSave(name=name, backup_id=f"backup-{name}", strategy=strategy)


async def save(twins: Twins, *items: ItemToSave) -> DataSaved:
    return await SaveData(service=APP, items=items).perform(twins.site)


def errors(done: DataSaved) -> dict[str, str | None]:
    return {item.name: item.error.message if item.error else None for item in done.items}


async def test_live_items_come_first_and_the_service_stops_once(twins: Twins) -> None:
    def look() -> None:
        order.append((len(twins.docker.running()), len(twins.engine.saved)))

    order: list[tuple[int, int]] = []
    twins.engine.meanwhile = look
    done = await save(twins, cold("a"), live("b"), cold("c"))
    assert order == [(1, 1), (0, 2), (0, 3)]
    assert [line for line in twins.docker.done if "stop" in line] == ["stop web"]
    assert [item.name for item in done.items] == ["a", "b", "c"]


@pytest.mark.parametrize("side", ["source", "left"])
async def test_what_a_move_has_left_behind_is_not_saved(
    twins: Twins, side: Literal["source", "left"]
) -> None:
    fence.put_up(twins.site.state, Fence(task="01MOVE", side=side, epoch=1))
    with pytest.raises(Conflict, match="task 01MOVE moves it, or has moved it away"):
        await save(twins, live("a"))
    assert twins.engine.kept == {}


async def test_what_a_move_has_brought_is_saved(twins: Twins) -> None:
    fence.put_up(twins.site.state, Fence(task="01MOVE", side="target", epoch=1, open=True))
    assert errors(await save(twins, live("a"))) == {"a": None}


async def test_each_snapshot_has_the_marks_of_its_item(twins: Twins) -> None:
    marked = live("b").model_copy(update={"marks": ("kind=migration",)})
    await save(twins, live("a"), marked)
    assert [one.marks for one in twins.engine.kept.values()] == [(), ("kind=migration",)]


async def test_a_backup_of_live_items_stops_nothing(twins: Twins) -> None:
    await save(twins, live("a"))
    assert twins.docker.done == []


async def test_a_failed_item_keeps_no_other_from_being_saved(twins: Twins) -> None:
    done = await save(twins, live("gone"), live("b"), cold("lost"), cold("a"))
    failed = errors(done)
    assert "./gone" in str(failed["gone"])
    assert "./lost" in str(failed["lost"])
    assert failed["a"] is failed["b"] is None
    assert twins.docker.running() == {"web"}


async def test_an_item_that_cannot_be_saved_stops_nothing(twins: Twins) -> None:
    done = await save(twins, cold("gone"))
    assert "./gone" in str(errors(done)["gone"])
    assert twins.docker.done == []


async def test_a_node_without_a_repository_stops_nothing(twins: Twins) -> None:
    site = replace(twins.site, repository=None)
    done = await SaveData(service=APP, items=(cold("a"), live("b"))).perform(site)
    assert "does not hold the repository" in str(errors(done)["a"])
    assert "does not hold the repository" in str(errors(done)["b"])
    assert twins.docker.done == []


async def test_a_container_that_starts_meanwhile_makes_the_cold_items_fail(twins: Twins) -> None:
    twins.engine.meanwhile = lambda: twins.docker.starts_by_itself("web")
    done = await save(twins, live("b"), cold("a"))
    assert errors(done)["b"] is None
    assert "web" in str(errors(done)["a"])
    assert [labels.item for labels in twins.engine.kept.values()] == ["b"]


async def test_an_item_that_failed_under_a_broken_hold_keeps_its_own_reason(twins: Twins) -> None:
    def meanwhile() -> None:
        twins.docker.starts_by_itself("web")
        raise Failure("the disk is full")

    twins.engine.meanwhile = meanwhile
    done = await save(twins, cold("a"))
    assert errors(done)["a"] == "the disk is full"


async def test_a_stop_that_fails_makes_the_cold_items_fail(twins: Twins) -> None:
    twins.docker.does_not_stop = {"web"}
    done = await save(twins, live("b"), cold("a"))
    assert errors(done)["b"] is None
    assert "did not stop" in str(errors(done)["a"])
    assert twins.docker.running() == {"web"}
    assert twins.docker.policies() == {"web": "always"}


async def test_a_service_that_does_not_start_again_is_a_problem_and_the_items_count(
    twins: Twins,
) -> None:
    twins.docker.does_not_start = {"web"}
    done = await save(twins, cold("a"))
    assert errors(done)["a"] is None
    assert done.problem
    assert "could not be started again" in done.problem.message


async def test_a_broken_hold_and_a_service_that_stays_down_are_both_told(twins: Twins) -> None:
    def meanwhile() -> None:
        twins.docker.starts_by_itself("web")
        twins.docker.change("web", state="exited")

    twins.engine.meanwhile = meanwhile
    twins.docker.does_not_start = {"web"}
    done = await save(twins, cold("a"))
    assert "did not stay" in str(errors(done)["a"])
    assert done.problem
    assert twins.engine.kept == {}


async def test_a_cancelled_save_brings_the_service_back(twins: Twins) -> None:
    def cancel() -> None:
        task.cancel()

    twins.engine.meanwhile = cancel
    task = asyncio.ensure_future(save(twins, cold("a"), cold("b")))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert twins.docker.running() == {"web"}


@pytest.mark.parametrize("again", [False, True], ids=["once", "once more while it forgets"])
async def test_a_cancelled_save_leaves_no_snapshot_that_nobody_knows_of(
    twins: Twins, again: bool
) -> None:
    def cancel() -> None:
        if len(twins.engine.saved) == 3:
            task.cancel()
            if again:
                asyncio.get_running_loop().call_soon(task.cancel)

    earlier = await save(twins, live("b"))
    twins.engine.meanwhile = cancel
    task = asyncio.ensure_future(save(twins, cold("b"), cold("c")))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(twins.engine.saved) == 3
    assert list(twins.engine.kept) == [one.saved.snapshot.id for one in earlier.items if one.saved]
    assert twins.docker.running() == {"web"}


async def test_a_save_that_is_cancelled_while_the_service_stops_brings_it_back(
    twins: Twins,
) -> None:
    await cancelled_in_its_stop(twins, save(twins, cold("a")))
    assert twins.docker.running() == {"web"}
    assert twins.engine.saved == []


async def test_a_cancelled_save_whose_service_stays_down_says_that(twins: Twins) -> None:
    def cancel() -> None:
        task.cancel()

    twins.engine.meanwhile = cancel
    twins.docker.does_not_start = {"web"}
    task = asyncio.ensure_future(save(twins, cold("a")))
    with pytest.raises(Failure, match="could not be started again"):
        await task


async def test_a_project_that_runs_from_another_folder_is_not_touched(twins: Twins) -> None:
    twins.docker.add("theirs", folder=Path("/srv/elsewhere"))
    with pytest.raises(Conflict, match="/srv/elsewhere") as raised:
        await save(twins, live("a"), cold("b"))
    assert twins.engine.saved == []
    assert raised.value.hint


async def test_what_each_item_looked_like_is_sent_away(twins: Twins) -> None:
    done = await save(twins, live("a"))
    assert b"files/a/file" in manifest.read(twins.manifests["backup-a"]).entries
    assert done.items[0].saved
    assert done.items[0].saved.manifest is None


async def test_a_controller_that_keeps_no_manifest_leaves_a_warning(twins: Twins) -> None:
    async def keep(backup_id: str, written: bytes) -> None:
        raise Failure("the controller does not answer")

    site = replace(twins.site, keep_manifest=keep)
    done = await SaveData(service=APP, items=(live("a"),)).perform(site)
    assert done.items[0].saved
    assert "the controller does not answer" in done.items[0].saved.warnings[0]


async def test_progress_counts_the_items_that_have_ended(twins: Twins) -> None:
    await save(twins, live("a"), live("b"))
    assert twins.notes.done == [(5, 10), (10, 10), (15, 20), (20, 20)]


async def test_each_item_says_when_it_began_and_how_long_it_took(twins: Twins) -> None:
    done = await save(twins, live("a"), live("gone"))
    assert all(item.duration >= 0 and item.started_at.tzinfo for item in done.items)


async def test_a_dead_agents_save_is_forgotten_and_the_service_started(twins: Twins) -> None:
    operation = SaveData(service=APP, items=(cold("a"), live("b")))
    twins.docker.does_not_start = {"web"}
    await operation.perform(twins.site)
    await save_of_another_task(twins)
    twins.docker.does_not_start = set()
    twins.docker.add("composia-01task-1", one_off=True)
    notes = {"container 1": {"container": "composia-01task-1"}, "held": twins.notes.noted["held"]}
    await operation.put_right(twins.site, notes)
    assert twins.docker.running() == {"web"}
    assert [labels.task for labels in twins.engine.kept.values()] == ["another"]


async def test_what_an_earlier_attempt_has_recorded_is_not_forgotten(twins: Twins) -> None:
    (earlier,) = (await save(twins, live("b"))).items
    assert earlier.saved
    kept = earlier.saved.snapshot.id
    again = SaveData(service=APP, items=(live("b"),), spared=(kept,))
    await again.perform(twins.site)
    assert len(twins.engine.kept) == 2
    await again.put_right(twins.site, {})
    assert list(twins.engine.kept) == [kept]


async def test_a_repository_that_is_gone_does_not_keep_the_service_down(twins: Twins) -> None:
    operation = SaveData(service=APP, items=(cold("a"),))
    twins.docker.does_not_start = {"web"}
    await operation.perform(twins.site)
    twins.docker.does_not_start = set()
    twins.engine.fails = True
    await operation.put_right(twins.site, {"held": twins.notes.noted["held"]})
    assert twins.docker.running() == {"web"}


async def test_a_container_that_does_not_end_does_not_keep_the_service_down(twins: Twins) -> None:
    operation = SaveData(service=APP, items=(cold("a"),))
    twins.docker.does_not_start = {"web"}
    await operation.perform(twins.site)
    twins.docker.does_not_start = set()
    twins.docker.refuses_kills = 1
    notes = {"container 1": {"container": "composia-01task-1"}, "held": twins.notes.noted["held"]}
    with pytest.raises(Failure, match="could not kill"):
        await operation.put_right(twins.site, notes)
    assert twins.docker.running() == {"web"}


async def save_of_another_task(twins: Twins) -> None:
    site = replace(twins.site, task="another")
    await SaveData(service=APP, items=(live("b"),)).perform(site)
