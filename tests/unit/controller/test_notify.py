from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic import SecretStr
from sqlalchemy.exc import DatabaseError, OperationalError

from composia.controller.catalog import CatalogStatus
from composia.controller.standing import GRACE, NodeSeen
from composia.controller.store import writing
from composia.controller.store.database import FILE
from composia.controller.worktree import CatalogState
from composia.errors import Problem
from composia.model.backup import BackupStatus
from composia.model.catalog import Broken, CatalogView, Service
from composia.model.config import ServiceNotifications
from composia.model.names import Noun
from composia.model.node import Disk
from composia.model.notification import EventName, Matter, NotificationState
from composia.model.service import RepositoryRef
from composia.model.task import Status
from composia.strategies.base import Wanted
from composia.tools.rustic import Part
from composia.workflows.repository import CheckRepositoryPlan
from composia.workflows.verify import VerifyPlan
from tests.twins.notify import MAIL, PHONE, START, MemoryWorld, Telling, record
from tests.twins.office import MY_APP, NOW, container, node_state, service
from tests.workflow.office import backup, deploy, ref

GOOD, BAD = BackupStatus.SUCCESS, BackupStatus.FAILED
NO_UPLOADS = {**MY_APP, "data_protect": {"data": []}, "backup": {"data": []}}
OVERDUE = Matter(
    event=EventName.BACKUP_OVERDUE,
    subject="overdue:my-app/uploads@main",
    title="Backup overdue: uploads of my-app on main",
    since=START,
    service="my-app",
    data_item="uploads",
    node="main",
)


@pytest.fixture
def world() -> MemoryWorld:
    return MemoryWorld()


@pytest.fixture
async def telling(state_dir: Path, world: MemoryWorld) -> AsyncIterator[Telling]:
    made = Telling(state_dir, world)
    await made.start()
    yield made
    await made.stop()


async def test_a_failed_backup_is_told_with_its_reason_and_the_next_step(telling: Telling) -> None:
    task = await telling.task(records=[record(BAD)])

    [told] = await telling.pass_(minutes=1)

    assert told.title == "Composia: Backup failed: uploads of my-app on main"
    assert "./data is not there" in told.body
    assert "Next: composia backup my-app --item uploads --node main" in told.body
    assert f"https://c.example.com/tasks/{task}" in told.body
    assert "composia notifications ack 01" in told.body
    assert told.mood == "failure"


async def test_a_backup_that_never_came_to_its_items_is_told_of_each(telling: Telling) -> None:
    await telling.task(error="node main is offline")

    [told] = await telling.pass_(minutes=1)

    assert "uploads of my-app on main" in told.title
    assert "node main is offline" in told.body


async def test_what_happens_shortly_one_after_the_other_is_one_message(telling: Telling) -> None:
    await telling.task(backup("one"))
    await telling.pass_(seconds=10)
    await telling.task(backup("two"))

    [told] = await telling.pass_(seconds=30)

    assert told.title == "Composia: Backup failed: uploads of one on main and 1 more"
    assert "uploads of two on main" in told.body


async def test_a_flood_is_one_message_of_bearable_length(telling: Telling) -> None:
    for number in range(22):
        await telling.task(backup(f"app-{number}"), error="x" * 5000)

    [told] = await telling.pass_(seconds=31)

    assert "and 2 more: composia notifications" in told.body
    assert len(told.body) < 25_000


async def test_it_is_told_again_every_six_hours_until_it_is_acknowledged(telling: Telling) -> None:
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)

    again = [len(await telling.pass_(hours=3)) for _ in range(4)]
    [open_] = await telling.store.unsettled()
    await telling.store.acknowledge(open_.id, "token:admin", telling.now)
    silent = await telling.pass_(hours=24)

    assert again == [0, 1, 0, 1]
    assert silent == []


async def test_the_next_good_backup_ends_it_with_one_message(telling: Telling) -> None:
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)

    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD, "01B2")])
    [well] = await telling.pass_(minutes=1)

    assert well.title == "Composia: all well again: Backup failed: uploads of my-app on main"
    assert "Ended 2026-11-24 02:01 UTC: backup 01B2" in well.body
    assert well.mood == "success"
    assert await telling.pass_(hours=24) == []
    assert await telling.store.unsettled() == []


async def test_who_acknowledged_it_hears_of_the_end_all_the_same(telling: Telling) -> None:
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)
    [open_] = await telling.store.unsettled()
    await telling.store.acknowledge(open_.id, "token:admin", telling.now)

    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD, "01B2")])

    assert len(await telling.pass_(minutes=1)) == 1


async def test_a_backup_that_fails_anew_is_told_although_it_was_acknowledged(
    telling: Telling,
) -> None:
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)
    [open_] = await telling.store.unsettled()
    await telling.store.acknowledge(open_.id, "token:admin", telling.now)

    await telling.task(records=[record(BAD, "01B2")])
    [told] = await telling.pass_(minutes=1)

    assert "2 times" in told.body
    [again] = await telling.store.unsettled()
    assert (again.id, again.state) == (open_.id, NotificationState.OPEN)


async def test_a_good_item_does_not_end_the_failure_of_another(telling: Telling) -> None:
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)

    other = record(GOOD, "01B2").model_copy(update={"data_item": "database"})
    await telling.task(status=Status.SUCCEEDED, records=[other])

    assert await telling.pass_(minutes=1) == []
    assert len(await telling.store.unsettled()) == 1


async def test_an_incomplete_backup_is_a_failed_one(telling: Telling) -> None:
    await telling.task(records=[record(BackupStatus.PARTIAL)])

    [told] = await telling.pass_(minutes=1)

    assert told.title == "Composia: Backup incomplete: uploads of my-app on main"


async def test_a_service_that_a_backup_leaves_down_is_told_until_it_runs(
    telling: Telling, world: MemoryWorld
) -> None:
    def is_seen(state: str, *, online: bool = True) -> None:
        seen = node_state(container("my-app", "web"), container("my-app", "db", state))
        world.seen["main"] = NodeSeen(online=online, last_seen=telling.now, state=seen)

    # What the node has said last is of before the backup.
    is_seen("running")
    await telling.task(records=[record(GOOD)], result={"problems": {"main": "web: no such image"}})
    [told] = await telling.pass_(minutes=4)
    is_seen("exited")
    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD, "01B2")])
    again = await telling.pass_(hours=6)
    is_seen("running", online=False)
    away = await telling.pass_(minutes=5)
    is_seen("running")
    [well] = await telling.pass_(minutes=1)

    assert told.title == "Composia: Not started again after its backup: my-app on main"
    assert "web: no such image" in told.body
    assert (len(again), [one.title for one in away]) == (1, [])
    assert "the service runs again" in well.body


async def test_a_record_that_cannot_be_read_keeps_no_later_end_untold(telling: Telling) -> None:
    await telling.task(records=[record(BAD)])
    with sqlite3.connect(telling.folder / FILE) as db:
        db.execute("UPDATE backups SET record = '{}'")
    db.close()
    await telling.task(backup("other"))

    [told] = await telling.pass_(minutes=1)

    assert "other" in told.title


async def test_an_end_that_cannot_be_read_now_is_heard_later(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def locked(task: str) -> NoReturn:
        raise OperationalError("SELECT", {}, sqlite3.OperationalError("disk I/O error"))

    await telling.task(records=[record(BAD)])
    with monkeypatch.context() as broken:
        broken.setattr(telling.store, "task", locked)
        with pytest.raises(OperationalError):
            await telling.turn()

    assert len(await telling.pass_(minutes=1)) == 1


async def test_what_a_person_cancelled_is_no_news(telling: Telling) -> None:
    await telling.task(status=Status.CANCELLED)
    await telling.task(deploy())

    assert await telling.pass_(minutes=1) == []


async def test_a_restart_neither_loses_nor_repeats(telling: Telling) -> None:
    await telling.task(records=[record(BAD)])
    # The task has ended, and the controller dies before anybody has heard of it.
    await telling.stop()
    await telling.start()
    await telling.turn()
    # And again, before the message is due; and once more after it has gone.
    await telling.stop()
    await telling.start()
    first = await telling.pass_(minutes=1)
    await telling.stop()
    await telling.start()
    later = await telling.pass_(hours=1)

    assert (len(first), len(later)) == (1, 0)


async def test_a_target_that_is_down_is_tried_again_more_and_more_rarely(telling: Telling) -> None:
    telling.courier.down.add(PHONE)
    await telling.task(records=[record(BAD)])

    for _ in range(20):
        await telling.pass_(minutes=3)
    tries = telling.courier.tries
    [shown] = (await telling.store.unsettled())[0].deliveries
    telling.courier.down.clear()
    told = await telling.pass_(hours=1)

    assert 5 <= tries <= 8
    assert (shown.error, shown.sent_at, shown.attempts) == ("nobody answers", None, tries)
    assert shown.target == "urls[0] (json)"
    assert len(told) == 1


async def test_what_ended_before_its_target_was_back_is_told_as_ended(telling: Telling) -> None:
    telling.courier.down.add(PHONE)
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)
    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD, "01B2")])
    await telling.pass_(minutes=1)

    telling.courier.down.clear()
    [told] = await telling.pass_(hours=1)

    assert told.title.startswith("Composia: all well again")


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("UPDATE", {}, sqlite3.OperationalError("disk is full")),
        DatabaseError("UPDATE", {}, sqlite3.DatabaseError("disk image is malformed")),
    ],
    ids=["a full disk", "a broken file"],
)
async def test_a_message_that_cannot_be_marked_goes_once(
    telling: Telling, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    marks, tries = telling.store.delivered, 0

    async def full(deliveries: Collection[int], at: datetime) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise error
        await marks(deliveries, at)

    monkeypatch.setattr(writing, "AGAIN", 0.0)
    monkeypatch.setattr(telling.store, "delivered", full)
    await telling.task(records=[record(BAD)])

    told = [one for _ in range(5) for one in await telling.pass_(minutes=1)]

    assert len(told) == 1
    [shown] = (await telling.store.unsettled())[0].deliveries
    assert shown.sent_at is not None


@pytest.mark.parametrize("down", [False, True], ids=["it arrives", "it does not"])
async def test_what_happens_while_a_message_is_under_way_is_told_by_another(
    telling: Telling, *, down: bool
) -> None:
    await telling.task(records=[record(BAD)])
    await telling.turn()
    telling.now += timedelta(minutes=1)
    telling.courier.answers.clear()
    await telling.notifier.turn()
    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD, "01B2")])
    await telling.notifier.turn()

    telling.courier.down.update([PHONE] if down else [])
    telling.courier.answers.set()
    await telling.notifier.sent()
    telling.courier.down.clear()
    told = await telling.pass_(minutes=5)

    assert [one.title for one in told] == [
        "Composia: all well again: Backup failed: uploads of my-app on main"
    ]


async def test_one_target_that_is_down_keeps_no_other_waiting(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, urls=(SecretStr(PHONE), SecretStr(MAIL)))
    telling.courier.down.add(MAIL)
    await telling.task(records=[record(BAD)])

    assert len(await telling.pass_(minutes=1)) == 1


async def test_a_service_has_targets_and_events_of_its_own(
    telling: Telling, world: MemoryWorld
) -> None:
    own = ServiceNotifications(name="my-app", urls=(SecretStr(MAIL),))
    silent = ServiceNotifications(name="other", on=())
    _notifications(world, services=(own, silent))
    await telling.task(records=[record(BAD)])
    await telling.task(backup("other"))
    await telling.task(backup("third"))

    [told] = await telling.pass_(minutes=1)

    assert "third" in told.title
    assert [one.title for one in telling.courier.messages[MAIL]] == [
        "Composia: Backup failed: uploads of my-app on main"
    ]


async def test_good_news_is_told_once_and_only_to_who_asked(
    telling: Telling, world: MemoryWorld
) -> None:
    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD)])
    unasked = await telling.pass_(minutes=1)
    _notifications(world, on=(EventName.BACKUP_SUCCEEDED,))
    await telling.task(status=Status.SUCCEEDED, records=[record(GOOD, "01B2")])
    asked = await telling.pass_(minutes=1)

    assert unasked == []
    assert [one.title for one in asked] == ["Composia: Backup succeeded: uploads of my-app on main"]
    assert await telling.pass_(hours=24) == []


async def test_a_target_that_left_the_configuration_is_told_nothing(
    telling: Telling, world: MemoryWorld
) -> None:
    await telling.task(records=[record(BAD)])
    await telling.turn()
    _notifications(world, urls=())

    await telling.pass_(minutes=1)

    assert telling.courier.tries == 0
    assert (await telling.store.unsettled())[0].deliveries == []


@pytest.mark.parametrize("before", [(), (MAIL,)], ids=["nobody", "somebody else"])
async def test_what_is_open_is_told_to_a_target_that_is_added(
    telling: Telling, world: MemoryWorld, before: tuple[str, ...]
) -> None:
    _notifications(world, urls=tuple(map(SecretStr, before)))
    await telling.task(records=[record(BAD)])
    world.view = CatalogView(
        revision="a" * 40,
        services={"my-app": service(MY_APP)},
        broken=(Broken(folder="b", name="b", problems=()),),
    )
    await telling.pass_(minutes=10)

    _notifications(world, urls=tuple(map(SecretStr, (*before, PHONE))))
    [told] = await telling.pass_(minutes=1)

    assert "Backup failed: uploads of my-app on main" in told.body
    assert "Service b cannot be read" in told.body
    assert await telling.pass_(hours=1) == []
    assert len(telling.courier.messages[MAIL]) == len(before)


async def test_an_address_that_is_corrected_hears_what_the_wrong_one_did_not(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, urls=(SecretStr(MAIL),))
    telling.courier.down.add(MAIL)
    world.view = CatalogView(revision="a" * 40, broken=(Broken(folder="b", name="b", problems=()),))
    await telling.pass_(minutes=10)

    _notifications(world, urls=(SecretStr(PHONE),))
    told = await telling.pass_(minutes=1)

    assert [one.title for one in told] == ["Composia: Service b cannot be read"]
    [open_] = await telling.store.unsettled()
    assert [one.target for one in open_.deliveries] == ["urls[0] (json)"]


async def test_what_was_acknowledged_is_not_told_to_a_target_that_is_added(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, urls=(SecretStr(MAIL),))
    await telling.task(records=[record(BAD)])
    await telling.turn()
    [open_] = await telling.store.unsettled()
    await telling.store.acknowledge(open_.id, "token:admin", telling.now)

    _notifications(world, urls=(SecretStr(PHONE),))

    assert await telling.pass_(minutes=1) == []


async def test_a_node_is_told_after_its_grace_and_when_it_is_back(
    telling: Telling, world: MemoryWorld
) -> None:
    world.seen["edge"] = NodeSeen(online=False, last_seen=START)
    early = await telling.pass_(minutes=4)
    [gone] = await telling.pass_(minutes=2) + await telling.pass_(minutes=1)
    world.seen["edge"] = NodeSeen(online=True, last_seen=telling.now)
    [back] = await telling.pass_(minutes=1)

    assert early == []
    assert gone.title == "Composia: Node edge is offline"
    assert back.title == "Composia: all well again: Node edge is offline"
    assert "the node is connected again" in back.body


async def test_a_node_that_left_the_configuration_is_not_said_to_be_back(
    telling: Telling, world: MemoryWorld
) -> None:
    world.seen["edge"] = NodeSeen(online=False, last_seen=START)
    await telling.pass_(minutes=6)
    await telling.pass_(minutes=1)
    del world.seen["edge"]

    [told] = await telling.pass_(minutes=1)

    assert "the node has left config.yaml" in told.body


async def test_a_node_that_was_away_before_the_start_has_its_grace(
    telling: Telling, world: MemoryWorld
) -> None:
    world.seen["edge"] = NodeSeen(online=False, last_seen=START - timedelta(days=1))

    assert await telling.pass_(seconds=GRACE.total_seconds() - 1) == []
    assert len(await telling.pass_(seconds=1) + await telling.pass_(minutes=1)) == 1


async def test_who_only_wants_to_hear_of_the_return_does(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, on=(EventName.NODE_BACK,))
    world.seen["edge"] = NodeSeen(online=False, last_seen=START)
    gone = await telling.pass_(minutes=10)
    world.seen["edge"] = NodeSeen(online=True, last_seen=telling.now)

    assert gone == []
    assert len(await telling.pass_(minutes=1)) == 1


async def test_a_service_that_cannot_be_read_is_told_until_it_can(
    telling: Telling, world: MemoryWorld
) -> None:
    problem = Problem(loc=("nmae",), msg="unknown key; did you mean `name`?")
    world.view = CatalogView(
        revision="a" * 40, broken=(Broken(folder="Bad", name=None, problems=(problem,)),)
    )
    [told] = await telling.pass_(minutes=1)
    world.view = CatalogView(revision="b" * 40)
    [well] = await telling.pass_(minutes=1)

    assert "nmae: unknown key" in told.body
    assert "the service can be read" in well.body


async def test_a_catalog_that_stays_behind_its_remote_is_told(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, on=tuple(EventName))
    world.status = CatalogStatus(state=CatalogState.UNREACHABLE, message="no route to host")

    assert await telling.pass_(minutes=4) == []
    [told] = await telling.pass_(minutes=2) + await telling.pass_(minutes=1)

    assert "no route to host" in told.body


async def test_a_disk_is_low_until_it_has_clearly_more(
    telling: Telling, world: MemoryWorld
) -> None:
    gib = 1024**3

    def free(size: int) -> None:
        disk = Disk(path="/srv", total=100 * gib, free=size)
        state = node_state().model_copy(update={"disks": (disk,)})
        world.seen["main"] = NodeSeen(online=True, last_seen=NOW, state=state)

    free(9 * gib)
    low = await telling.pass_(minutes=1)
    free(10 * gib + gib // 2)
    hardly = await telling.pass_(minutes=1)
    free(12 * gib)
    well = await telling.pass_(minutes=1)

    assert [len(told) for told in (low, hardly, well)] == [1, 0, 1]


async def test_an_overdue_backup_is_told_again_and_ends_by_itself(
    telling: Telling, world: MemoryWorld
) -> None:
    world.matters = [OVERDUE]
    first = await telling.pass_(minutes=1)
    again = await telling.pass_(hours=6)
    world.matters = []
    well = await telling.pass_(minutes=1)

    assert [len(told) for told in (first, again, well)] == [1, 1, 1]
    assert await telling.pass_(hours=24) == []


async def test_a_move_left_open_is_told_until_nothing_is_held(telling: Telling) -> None:
    task = await telling.task(deploy(), keeps="my-app@main")
    [told] = await telling.pass_(minutes=1)
    again = await telling.pass_(hours=6)
    await telling.store.let_go(task)
    [well] = await telling.pass_(minutes=1)

    assert "Move left open: my-app" in told.title
    assert f"composia task retry {task}" in told.body
    assert len(again) == 1
    assert "the move was settled" in well.body


async def test_a_service_that_left_the_catalog_is_not_told_for_ever(
    telling: Telling, world: MemoryWorld
) -> None:
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=1)

    world.view = CatalogView(revision="a" * 40)
    [told] = await telling.pass_(minutes=1)

    assert "the service has left the catalog" in told.body


async def test_a_backup_of_a_node_that_the_service_has_left_is_not_told_for_ever(
    telling: Telling, world: MemoryWorld
) -> None:
    on_edge = backup().model_copy(update={"on": ("edge",)})
    failed = record(BAD).model_copy(update={"node": "edge"})
    task = await telling.task(on_edge, records=[failed])
    await telling.pass_(minutes=1)

    # It runs there by an open move: nobody has written it into the catalog yet.
    world.view = CatalogView(revision="a" * 40, services={"my-app": service(MY_APP)})
    await telling.store.begin_move(task, "my-app", "main", "edge")
    await telling.store.note_move(task, "answered", {})
    assert await telling.pass_(minutes=1) == []

    await telling.store.note_move(task, "done", {})
    [told] = await telling.pass_(minutes=1)

    assert "the service has left the node" in told.body


async def test_backups_that_have_vanished_are_told_until_they_are_dropped(
    telling: Telling,
) -> None:
    ids = ["01B1", "01B2", "01B3"]
    await telling.store.keep_backups([record(GOOD, one) for one in ids])
    await telling.store.begin_forgetting(["01B3"])
    await telling.store.note_missing(ids, ids)

    [told] = await telling.pass_(minutes=1)
    again = await telling.pass_(hours=6)
    well = await telling.notifier.well()
    await telling.store.forget_backups(["01B1"])
    await telling.store.note_missing(["01B2"], [])
    [over] = await telling.pass_(minutes=1)

    assert told.title == "Composia: Backups have vanished: uploads of my-app on main"
    assert "no snapshot of 01B1, 01B2, and" in told.body
    assert (len(again), well) == (1, False)
    assert "all well again" in over.title


@pytest.mark.parametrize(
    "services",
    [{}, {"my-app": service({**MY_APP, "nodes": ["edge"]})}, {"my-app": service(NO_UPLOADS)}],
    ids=["a service that has left", "a node that it has left", "an item that has left"],
)
async def test_damage_is_told_until_nobody_has_the_backup(
    telling: Telling, world: MemoryWorld, services: dict[str, Service]
) -> None:
    world.view = CatalogView(revision="a" * 40, services=services)
    await telling.store.keep_backups([record(GOOD, damaged=True), record(GOOD, "01B2")])
    await telling.task(_verification("01B1"))

    [told] = await telling.pass_(minutes=1)
    again = await telling.pass_(hours=6)
    await telling.store.forget_backups(["01B1"])
    [well] = await telling.pass_(minutes=1)

    assert told.title == "Composia: Backup not proven: uploads of my-app on main"
    assert len(again) == 1
    assert "all well again" in well.title


async def test_the_ping_says_whether_all_is_well(telling: Telling, world: MemoryWorld) -> None:
    _notifications(world, ping_url=SecretStr("https://hc.example.com/secret"))
    await telling.pass_(minutes=5)
    await telling.task(records=[record(BAD)])
    await telling.pass_(minutes=5)
    [open_] = await telling.store.unsettled()
    await telling.store.acknowledge(open_.id, "token:admin", telling.now)
    await telling.pass_(minutes=5)
    world.running = False
    await telling.pass_(minutes=5)

    assert telling.pings == [True, True, False, True, False]


async def test_a_clock_that_is_set_back_does_not_keep_the_ping_waiting(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, ping_url=SecretStr("https://hc.example.com/secret"))
    await telling.turn()

    telling.now -= timedelta(hours=3)
    await telling.turn()

    assert telling.pings == [True, True]


async def test_only_reading_damaged_data_again_ends_its_alarm(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, ping_url=SecretStr("https://hc.example.com/secret"))
    await telling.task(_check(part=3), result={"read": "3/4", "damaged": True})
    [told] = await telling.pass_(minutes=1)

    for good in (_check(), _check(part=4)):
        await telling.task(good, Status.SUCCEEDED)
        assert await telling.pass_(minutes=5) == []
    again = await telling.pass_(hours=6)
    assert "composia repo check --read-data" in told.body
    assert len(again) == 1
    assert not any(telling.pings)

    await telling.task(_check(read_data=True), Status.SUCCEEDED)
    [well] = await telling.pass_(minutes=6)

    assert "all well again" in well.title
    assert telling.pings[-1]


async def test_the_same_part_that_is_whole_again_ends_it_too(telling: Telling) -> None:
    await telling.task(_check(part=3), result={"read": "3/4", "damaged": True})
    await telling.pass_(minutes=1)
    await telling.task(_check(part=3), Status.SUCCEEDED)

    [well] = await telling.pass_(minutes=1)

    assert "all well again" in well.title


async def test_a_round_with_other_parts_that_is_whole_ends_it_too(telling: Telling) -> None:
    await telling.task(_check(part=3), result={"read": "3/4", "damaged": True})
    await telling.pass_(minutes=1)
    await telling.task(_check(part=9, of=10), Status.SUCCEEDED, result={"round_is_whole": None})
    assert await telling.pass_(minutes=1) == []
    await telling.task(_check(part=10, of=10), Status.SUCCEEDED, result={"round_is_whole": True})

    [well] = await telling.pass_(minutes=1)

    assert "all well again" in well.title


def _check(part: int | None = None, *, of: int = 4, read_data: bool = False) -> CheckRepositoryPlan:
    repository = RepositoryRef(service=ref("infra"), compose_service="rustic", profile="default")
    read = Part(number=part, of=of) if part else None
    return CheckRepositoryPlan(repository=repository, on=("main",), part=read, read_data=read_data)


def _verification(backup_id: str) -> VerifyPlan:
    repository = RepositoryRef(service=ref("infra"), compose_service="rustic", profile="default")
    wanted = Wanted(
        item="uploads", backup_id=backup_id, snapshot_id="5" * 64, saved_by="files.copy"
    )
    return VerifyPlan(of="my-app", service=ref(), repository=repository, node="main", wanted=wanted)


async def test_a_test_message_says_which_target_is_down(
    telling: Telling, world: MemoryWorld
) -> None:
    _notifications(world, urls=(SecretStr(PHONE), SecretStr(MAIL)))
    telling.courier.down.add(MAIL)

    tried = await telling.notifier.test()

    assert [(one.target, one.ok, one.error) for one in tried] == [
        ("urls[0] (json)", True, None),
        ("urls[1] (json)", False, "nobody answers"),
    ]


def _notifications(world: MemoryWorld, **changes: object) -> None:
    told: Noun = world.config.notifications.model_copy(update=changes)
    world.config = world.config.model_copy(update={"notifications": told})
