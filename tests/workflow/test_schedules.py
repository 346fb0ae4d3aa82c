"""What happens by itself, by a clock that the test sets."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from composia.controller.asking import Question
from composia.controller.scheduler import PER_NODE, Scheduler
from composia.controller.store.schedules import DueRun
from composia.errors import CommandFailed
from composia.model.catalog import Broken, CatalogView
from composia.model.config import ControllerConfig, RusticConfig
from composia.model.node import Container, NodeState
from composia.model.shown import ScheduleView
from composia.model.task import Status, Task
from composia.workflows.backup import BackupPlan
from composia.workflows.verify import PER_RUN
from tests.twins.office import INFRA, backup, config, container, node_state, service
from tests.waiting import until
from tests.workflow.office import Office, deploy

#: Local time in Berlin is an hour ahead.
MIDNIGHT = datetime(2026, 11, 24, 0, 0, tzinfo=UTC)
TWO = datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)


class House(Office):
    """A controller with a catalog, a clock and a scheduler; a test makes its turns."""

    scheduler: Scheduler

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.now = MIDNIGHT
        self.offline: set[str] = set()
        self.running: tuple[Container, ...] = ()
        self.view = CatalogView(revision="a" * 40)
        self.config = berlin()
        self.serve(app("my-app", "uploads", "database"), INFRA)

    async def start(self) -> None:
        await super().start()
        await self.store.remember_repository("ab" * 32)
        self.scheduler = Scheduler(
            lambda: self.config,
            lambda: self.view,
            self.store,
            self,
            self.admit,
            self.events,
            clock=lambda: self.now,
        )

    def serve(self, *texts: Mapping[str, Any]) -> None:
        services = {text["name"]: service(text) for text in texts}
        self.view = self.view.model_copy(update={"services": services})

    def states(self) -> Mapping[str, NodeState | None]:
        return {"main": node_state(*self.running), "edge": node_state()}

    def online(self, node: str) -> bool:
        return node not in self.offline

    async def at(self, now: datetime) -> list[Task]:
        """One look at a time; all tasks of schedules so far, the oldest first, ended."""
        self.now = now
        await self.scheduler.turn()
        return await self.settled()

    async def settled(self) -> list[Task]:
        found = [one for one in await self.store.tasks() if one.source == "schedule"]
        return [await self.ended(one.id) for one in reversed(found)]

    async def view_of(self, key: str = "backup:my-app/uploads") -> ScheduleView:
        return next(one for one in await self.scheduler.views() if one.key == key)


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[House]:
    made = House(state_dir)
    made.nodes.on("open_repository", opens)
    made.nodes.on("save_data", saves)
    await made.start()
    await made.scheduler.turn()
    yield made
    await made.stop()
    await made.nodes.end()


def berlin(**more: Any) -> ControllerConfig:
    changes = {"default_schedule": "0 2 * * *", "timezone": "Europe/Berlin", **more}
    known = config().backup.model_copy(update=changes)
    return config().model_copy(update={"backup": known})


def app(name: str, *items: str, nodes: tuple[str, ...] = ("main",), **more: Any) -> dict[str, Any]:
    saved = {"strategy": "files.copy", "include": ["./data"]}
    return {
        "name": name,
        "nodes": list(nodes),
        "data_protect": {"data": [{"name": item, "backup": saved} for item in items]},
        "backup": {"data": [{"name": item} for item in items]},
        **more,
    }


async def opens(question: Question) -> dict[str, Any]:
    return {"repository_id": "ab" * 32, "made": False}


async def saves(question: Question) -> dict[str, Any]:
    items: Any = question.operation.model_dump(mode="json")["items"]
    return {
        "items": [
            {
                "name": item["name"],
                "backup_id": item["backup_id"],
                "started_at": "2026-11-24T01:00:00Z",
                "duration": 1.0,
                "saved": {"snapshot": snapshot_of(item["backup_id"])},
            }
            for item in items
        ]
    }


def snapshot_of(backup_id: str) -> dict[str, Any]:
    # No two backups have one snapshot, and one that is asked for again has the same.
    of = hashlib.sha256(backup_id.encode()).hexdigest()
    return {"id": of, "size": 1, "added": 1, "files": 1, "duration": 1.0}


async def waits(question: Question) -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def fails(question: Question) -> dict[str, Any]:
    raise CommandFailed("no space left", hint="Free some.")


async def test_items_of_one_minute_are_one_task_of_kind_scheduled(house: House) -> None:
    assert await house.at(TWO - MINUTE) == []

    [task] = await house.at(TWO)

    plan = await house.store.plan(task.id)
    assert isinstance(plan, BackupPlan)
    assert [item.name for item in plan.items] == ["uploads", "database"]
    assert (task.source, task.created_by, task.type) == ("schedule", "schedule", "backup")
    assert {one.kind for one in await house.store.backups()} == {"scheduled"}


async def test_a_time_runs_once_however_often_it_is_looked_at(house: House) -> None:
    await house.at(TWO)
    await house.at(TWO + timedelta(seconds=30))

    assert len(await house.at(TWO + HOUR)) == 1
    assert (await house.view_of()).next == TWO + DAY


async def test_a_failed_run_is_shown_with_its_task(house: House) -> None:
    house.nodes.on("save_data", fails)

    [task] = await house.at(TWO)

    last = (await house.view_of()).last
    assert last is not None
    assert (last.task, last.status, last.time) == (task.id, Status.FAILED, TWO)


async def test_days_without_a_controller_are_caught_up_once(house: House) -> None:
    await house.at(TWO)
    await house.stop()
    await house.start()

    tasks = await house.at(TWO + 4 * DAY + 3 * HOUR)

    assert len(tasks) == 2
    [missed] = (await house.view_of()).missed
    assert (missed.times, missed.first, missed.time) == (3, TWO + DAY, TWO + 3 * DAY)
    assert "not running" in missed.reason


async def test_a_node_that_is_back_an_hour_later_runs_then_and_once(house: House) -> None:
    house.offline = {"main"}
    assert await house.at(TWO) == []
    waiting = (await house.view_of()).waiting

    house.offline = set()
    tasks = await house.at(TWO + HOUR)

    assert [(one.time, one.node, one.for_) for one in waiting] == [
        (TWO, "main", "node main is offline")
    ]
    assert len(tasks) == 1
    assert len(await house.at(TWO + 2 * HOUR)) == 1
    assert (await house.view_of()).waiting == []


async def test_one_node_that_is_away_does_not_keep_the_other_from_its_backup(house: House) -> None:
    house.serve(app("my-app", "uploads", nodes=("main", "edge")), INFRA)
    house.offline = {"edge"}
    await house.at(MIDNIGHT)

    tasks = await house.at(TWO)

    assert [task.nodes for task in tasks] == [("main",)]
    assert [run.node for run in (await house.view_of()).waiting] == ["edge"]


async def test_while_a_move_is_open_the_active_instance_is_saved(house: House) -> None:
    move = await house.ended((await house.submit(deploy("edge"))).id)
    await house.store.begin_move(move.id, "my-app", "main", "edge")
    await house.store.note_move(move.id, "answered", {})
    house.offline = {"main"}
    house.config = house.config.model_copy(update={"rustic": RusticConfig(main_nodes=("edge",))})

    [task] = await house.at(TWO)

    assert task.nodes == ("edge",)
    assert task.status is Status.SUCCEEDED, task.error


async def test_what_still_waits_when_the_next_comes_is_missed_with_its_reason(
    house: House,
) -> None:
    house.offline = {"main"}
    await house.at(TWO)
    await house.at(TWO + DAY)
    house.offline = set()

    tasks = await house.at(TWO + DAY + HOUR)

    assert len(tasks) == 1
    [missed] = (await house.view_of()).missed
    assert (missed.time, missed.reason) == (TWO, "node main is offline")


async def test_a_held_service_is_waited_for_and_runs_when_it_is_free(house: House) -> None:
    house.nodes.on("deploy", waits)
    held = await house.submit(deploy())
    await house.until_asked("deploy")
    house.now = TWO
    house.scheduler.start()
    try:
        await until(lambda: _waits(house))
        await house.runner.cancel(held.id)
        await until(lambda: _has_run(house))
    finally:
        await house.scheduler.aclose()

    assert [task.status for task in await house.settled()] == [Status.SUCCEEDED]


async def _waits(house: House) -> bool:
    return any("is held by task" in run.for_ for run in (await house.view_of()).waiting)


async def _has_run(house: House) -> bool:
    last = (await house.view_of()).last
    return last is not None and last.status is Status.SUCCEEDED


async def test_no_more_than_two_run_on_a_node_at_once(house: House) -> None:
    house.serve(
        *(with_schedule(app(f"app-{number}", "data"), f"{number} 2 * * *") for number in range(4)),
        INFRA,
    )
    await house.at(MIDNIGHT)
    house.nodes.on("save_data", waits)
    house.now = TWO + 5 * MINUTE

    await house.scheduler.turn()

    running = [one for one in await house.store.tasks() if not one.status.ended]
    assert len(running) == PER_NODE
    views = await house.scheduler.views()
    assert sum("which is the limit" in run.for_ for one in views for run in one.waiting) == 2


def with_schedule(text: dict[str, Any], schedule: str) -> dict[str, Any]:
    text["backup"] = {"data": [{**one, "schedule": schedule} for one in text["backup"]["data"]]}
    return text


async def test_two_services_on_one_minute_both_run(house: House) -> None:
    house.serve(app("my-app", "uploads"), app("other", "data"), INFRA)
    await house.at(MIDNIGHT)

    tasks = await house.at(TWO)

    assert sorted(str(task.service) for task in tasks) == ["my-app", "other"]
    assert {task.status for task in tasks} == {Status.SUCCEEDED}


async def test_a_clock_set_back_an_hour_runs_nothing_twice(house: House) -> None:
    await house.at(TWO + 5 * MINUTE)
    await house.at(TWO - 55 * MINUTE)

    assert len(await house.at(TWO + 5 * MINUTE)) == 1
    assert len(await house.at(TWO + DAY)) == 2


async def test_a_clock_set_forward_runs_once_and_back_again_loses_no_day(house: House) -> None:
    await house.at(TWO)

    assert len(await house.at(TWO + 3 * DAY + HOUR)) == 2
    assert len(await house.at(TWO + 2 * HOUR)) == 2
    # What was counted as missed under the wrong clock comes; what has run does not run again.
    assert len(await house.at(TWO + DAY)) == 3
    assert len(await house.at(TWO + 2 * DAY)) == 4
    assert len(await house.at(TWO + 3 * DAY)) == 4
    assert len(await house.at(TWO + 4 * DAY)) == 5


async def test_a_clock_set_forward_a_day_runs_once(house: House) -> None:
    await house.at(TWO)

    assert len(await house.at(TWO + DAY + 3 * HOUR)) == 2
    assert (await house.view_of()).missed == []


async def test_the_hour_that_comes_twice_runs_once_and_the_one_that_is_skipped_too(
    house: House,
) -> None:
    house.config = berlin(default_schedule="30 2 * * *")
    autumn = datetime(2026, 10, 24, 23, tzinfo=UTC)
    spring = datetime(2027, 3, 27, 23, tzinfo=UTC)
    await house.at(autumn)
    for half_hours in range(10):
        autumn_tasks = await house.at(autumn + half_hours * timedelta(minutes=30))
    await house.at(spring)
    before = len(await house.settled())
    for half_hours in range(10):
        spring_tasks = await house.at(spring + half_hours * timedelta(minutes=30))

    assert len(autumn_tasks) == 1
    assert len(spring_tasks) == before + 1


async def test_a_crash_after_the_task_was_made_does_not_make_it_twice(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(house.store, "take_runs", dies)
        await house.at(TWO)
    await house.stop()
    await house.start()

    tasks = await house.at(TWO + MINUTE)

    assert len(tasks) == 1
    last = (await house.view_of()).last
    assert last is not None
    assert last.task == tasks[0].id


async def test_a_crash_before_the_task_was_made_makes_it_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: object, **__: object) -> Task:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(house.admit, "submit", dies)
        assert await house.at(TWO) == []
    await house.stop()
    await house.start()

    assert len(await house.at(TWO + MINUTE)) == 1


async def test_a_new_schedule_has_nothing_to_catch_up(house: House) -> None:
    house.config = berlin(default_schedule="0 3 * * *")

    assert await house.at(TWO + 5 * HOUR) == []
    assert (await house.view_of()).missed == []
    assert len(await house.at(TWO + HOUR + DAY)) == 1


async def test_a_service_that_was_broken_for_a_while_is_caught_up(house: House) -> None:
    whole = house.view
    rest = {"infra-backup": whole.services["infra-backup"]}
    broken = (Broken(folder="my-app", name="my-app", problems=()),)
    house.view = whole.model_copy(update={"services": rest, "broken": broken})
    assert await house.at(TWO) == []
    house.view = whole

    assert len(await house.at(TWO + HOUR)) == 1


async def test_what_is_not_scheduled_any_more_does_not_wait_for_ever(house: House) -> None:
    house.offline = {"main"}
    await house.at(TWO)
    house.serve(app("my-app", "uploads", "database", enabled=False), INFRA)
    await house.at(TWO + MINUTE)
    house.offline = set()

    assert await house.at(TWO + HOUR) == []
    assert await house.store.waiting_runs() == []


async def test_one_that_cannot_be_planned_keeps_no_other_from_running(house: House) -> None:
    house.serve(app("my-app", "uploads"), app("other", "data"), INFRA)
    await house.at(MIDNIGHT)
    ghost = app("my-app", "uploads", nodes=("ghost",))
    house.serve(ghost, app("other", "data"), INFRA)

    tasks = await house.at(TWO)

    assert [task.service for task in tasks] == ["other"]
    assert "ghost" in (await house.view_of()).waiting[0].for_


@pytest.mark.parametrize(
    ("kind", "task"),
    [("forget", "forget"), ("prune", "prune"), ("check", "check_repository"),
     ("verify", "verify"), ("copy:s3", "copy")],
)  # fmt: skip
async def test_the_repository_is_cared_for_by_itself(house: House, kind: str, task: str) -> None:
    text = """{"nodes": [{"id": "main", "token": "m"}],
        "rustic": {"main_nodes": ["main"], "maintenance": {"forget_schedule": "0 2 * * *",
                   "prune_schedule": "0 3 * * *", "check_schedule": "0 4 * * *"}},
        "backup": {"timezone": "Europe/Berlin", "verify_schedule": "0 5 * * *"},
        "offsite": [{"name": "s3", "profile": "s3", "schedule": "0 6 * * *"}]}"""
    house.config = ControllerConfig.model_validate_json(text)
    await house.store.keep_backups([backup()])
    await house.at(MIDNIGHT)
    house.nodes.on("open_repository", fails)

    tasks: list[Task] = []
    while not any(one.type == task for one in tasks):
        # What has the repository alone keeps the others waiting.
        tasks = await house.at(TWO + 5 * HOUR)

    begun = next(one for one in tasks if one.type == task)
    last = (await house.view_of(kind)).last
    assert begun.source == "schedule"
    assert last is not None
    assert last.task == begun.id


async def test_where_there_is_nothing_to_verify_nothing_is_begun(house: House) -> None:
    house.config = berlin(default_schedule="none", verify_schedule="0 2 * * *")
    await house.at(MIDNIGHT)

    assert await house.at(TWO) == []
    last = (await house.view_of("verify")).last
    assert last is not None
    assert (last.task, last.time) == (None, TWO)


def proofs() -> ControllerConfig:
    """Only verifications happen by themselves."""
    return berlin(default_schedule="none", verify_schedule="0 2 * * *")


async def test_a_verification_waits_for_the_repositorys_node_and_is_caught_up(
    house: House,
) -> None:
    house.config, house.offline = proofs(), {"main"}
    house.nodes.on("open_repository", fails)
    await house.store.keep_backups([backup("01A"), backup("01B", data_item="cache")])
    await house.at(MIDNIGHT)
    assert await house.at(TWO) == []
    [waiting] = (await house.view_of("verify")).waiting

    house.offline = set()
    tasks = await house.at(TWO + HOUR)

    assert "no node that holds the repository is online and 1 more" in waiting.for_
    assert [task.type for task in tasks] == ["verify", "verify"]
    assert (await house.view_of("verify")).waiting == []
    assert len(await house.at(TWO + 2 * HOUR)) == 2


async def test_a_dump_of_a_service_that_is_deployed_nowhere_holds_no_run_up(house: House) -> None:
    house.config, house.running = proofs(), ()
    saved = {"strategy": "database.pgdumpall", "service": "db"}
    data: dict[str, Any] = {"data_protect": {"data": [{"name": "database", "backup": saved}]}}
    house.serve(app("my-app", "uploads"), app("other", **data, backup={}), INFRA)
    dumped = backup("01A", service="other", data_item="database", strategy="database.pgdumpall")
    await house.store.keep_backups([dumped, backup("01B")])
    await house.at(MIDNIGHT)
    tasks = await house.at(TWO)
    view = await house.view_of("verify")

    assert [(task.type, task.service) for task in tasks] == [("verify", "my-app")]
    assert (view.waiting, view.missed) == ([], [])
    assert view.last
    assert view.last.remark == "database of other on main cannot be proven until other is deployed"


async def test_a_verification_that_could_not_begin_all_day_is_missed(house: House) -> None:
    house.config, house.offline = proofs(), {"main"}
    await house.store.keep_backups([backup("01A")])
    await house.at(MIDNIGHT)
    await house.at(TWO)
    await house.at(TWO + DAY)

    [missed] = (await house.view_of("verify")).missed
    assert missed.time == TWO
    assert "uploads of my-app on main is not proven: no node" in missed.reason


async def test_proofs_that_fail_night_after_night_keep_no_other_waiting(house: House) -> None:
    house.config = proofs()
    house.nodes.on("open_repository", fails)
    items = [f"item-{number:02}" for number in range(PER_RUN + 1)]
    await house.store.keep_backups([backup(f"01{item}", data_item=item) for item in items])
    await house.at(MIDNIGHT)

    first = await house.at(TWO)
    second = (await house.at(TWO + DAY))[len(first) :]

    assert f"Verify backup 01{items[-1]} of {items[-1]} of my-app" in {one.title for one in second}
    assert (len(first), len(second)) == (PER_RUN, PER_RUN)


async def test_a_backup_that_is_held_is_verified_when_it_is_free(house: House) -> None:
    house.config = proofs()
    saved = {"strategy": "database.pgdumpall", "service": "db"}
    data: dict[str, Any] = {"data_protect": {"data": [{"name": "database", "backup": saved}]}}
    house.serve(app("my-app", "uploads"), app("other", **data, backup={}), INFRA)
    house.running = (container("other", "db"),)
    house.nodes.on("deploy", waits)
    house.nodes.on("open_repository", fails)
    dump = {"strategy": "database.pgdumpall", "service": "other", "data_item": "database"}
    await house.store.keep_backups([backup("01A"), backup("01B", **dump)])
    await house.at(MIDNIGHT)
    held = await house.submit(deploy(service="other"))
    await house.until_asked("deploy")
    begun = await house.at(TWO)
    [waiting] = (await house.view_of("verify")).waiting

    await house.runner.cancel(held.id)
    await house.ended(held.id)
    tasks = await house.at(TWO + MINUTE)

    assert "is held by task" in waiting.for_
    assert len(begun) == 1
    assert len(tasks) == 2
    last = (await house.view_of("verify")).last
    assert last is not None
    assert last.task == begun[0].id


@pytest.mark.parametrize("name", ["my-app", None], ids=["a typo", "a name that cannot be read"])
async def test_a_service_that_cannot_be_read_stays_late(house: House, name: str | None) -> None:
    await house.store.keep_backups([backup("01A", time=TWO)])
    rest = {"infra-backup": house.view.services["infra-backup"]}
    broken = (Broken(folder="my-app", name=name, problems=()),)
    house.view = house.view.model_copy(update={"services": rest, "broken": broken})
    await house.at(TWO + 3 * DAY)

    late = await house.scheduler.overdue()
    expected = await house.scheduler.expected()

    assert {(one.service, one.data_item, one.node) for one in late} == {
        ("my-app", "uploads", "main"), ("my-app", "database", "main"),
    }  # fmt: skip
    assert [one.nodes for one in expected if one.service == "my-app"] == [("main",), ("main",)]


async def test_what_is_not_scheduled_any_more_is_not_late(house: House) -> None:
    """Whatever else cannot be read, by its name or without one."""
    house.serve(app("my-app", "uploads", "database", enabled=False), INFRA)
    for name in ("third", None):
        broken = (Broken(folder="Third", name=name, problems=()),)
        house.view = house.view.model_copy(update={"broken": broken})
        await house.at(TWO + 3 * DAY)

        assert await house.scheduler.overdue() == ()


async def test_a_node_that_has_joined_is_late_with_nothing_yet(house: House) -> None:
    """After a move too: the target was never backed up when the schedule had come many times."""
    await house.at(TWO)
    await house.store.keep_backups([backup("01A", time=TWO), backup("01B", data_item="database",
                                                                    time=TWO)])  # fmt: skip
    house.serve(app("my-app", "uploads", "database", nodes=("edge",)), INFRA)
    house.offline = {"edge"}
    joined = TWO + 3 * DAY + HOUR

    house.now = joined
    before = await house.scheduler.overdue()
    await house.at(joined)
    at_first = await house.scheduler.overdue()
    await house.at(joined + 2 * DAY + 2 * HOUR)
    later = await house.scheduler.overdue()

    assert (before, at_first) == ((), ())
    assert {(one.data_item, one.node) for one in later} == {
        ("uploads", "edge"), ("database", "edge"),
    }  # fmt: skip


async def test_an_open_move_is_late_with_nothing_that_its_target_has_saved(house: House) -> None:
    house.serve(app("my-app", "uploads"), INFRA)
    move = await house.ended((await house.submit(deploy("edge"))).id)
    await house.store.begin_move(move.id, "my-app", "main", "edge")
    await house.store.note_move(move.id, "answered", {})
    house.offline = {"main", "edge"}
    await house.at(TWO)
    house.now = TWO + 3 * DAY
    assert [one.node for one in await house.scheduler.overdue()] == ["main"]

    await house.store.keep_backups([backup("01A", node="edge", time=TWO + 3 * DAY)])

    assert await house.scheduler.overdue() == ()


async def test_a_node_that_comes_back_begins_anew(house: House) -> None:
    await house.at(TWO)
    for day, node in enumerate(("edge", "main"), start=1):
        house.serve(app("my-app", "uploads", nodes=(node,)), INFRA)
        await house.at(TWO + 30 * day * DAY + HOUR)

    assert [one.node for one in await house.scheduler.overdue()] == []


async def test_what_is_old_is_forgotten_at_last(house: House) -> None:
    runs = [
        DueRun(schedule="prune", node="", slot=at, first=at)
        for at in (MIDNIGHT + number * MINUTE for number in range(502))
    ]
    await house.store.note_due([], runs)

    await house.store.prune_runs()

    kept = await house.store.newest_runs(limit=1000)
    assert len(kept) == 500
    assert kept[0].slot == runs[-1].slot
