from __future__ import annotations

from typing import Any

import httpx2

from composia.model.schedule import Kind, Overdue
from composia.model.shown import LastRunView, MissedRunView, ScheduleView, WaitingRunView
from composia.model.task import Status
from tests.twins.office import NOW, MemoryOffice


def view(key: str = "backup:my-app/uploads", **fields: Any) -> ScheduleView:
    shown: dict[str, Any] = {
        "key": key,
        "kind": Kind.BACKUP,
        "service": "my-app",
        "data_items": ["uploads"],
        "nodes": ["main"],
        "schedule": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "next": NOW,
    }
    return ScheduleView(**shown | fields)


async def test_a_schedule_shows_last_next_waiting_and_missed(
    office: MemoryOffice, admin: httpx2.AsyncClient
) -> None:
    failed = LastRunView(time=NOW, node="main", task="01T", status=Status.FAILED)
    waits = WaitingRunView(time=NOW, node="main", for_="node main is offline")
    missed = MissedRunView(time=NOW, first=NOW, times=3, node="main", reason="it was offline")
    office.scheduler.shown = [view(last=failed, waiting=[waits], missed=[missed])]

    shown = (await admin.get("/schedules")).json()["items"][0]

    assert (shown["last"]["task"], shown["last"]["status"]) == ("01T", "failed")
    assert shown["waiting"][0]["for"] == "node main is offline"
    assert (shown["missed"][0]["times"], shown["missed"][0]["reason"]) == (3, "it was offline")
    assert shown["next"] == "2026-11-24T04:00:00Z"


async def test_schedules_are_asked_for_by_service_and_kind_a_page_at_a_time(
    office: MemoryOffice, admin: httpx2.AsyncClient
) -> None:
    office.scheduler.shown = [
        view("prune", kind=Kind.PRUNE, service=None),
        view("backup:other/data", service="other"),
        view(),
    ]

    first = (await admin.get("/schedules", params={"limit": 1})).json()
    rest = (await admin.get("/schedules", params={"cursor": first["next_cursor"]})).json()
    prune = (await admin.get("/schedules", params={"kind": "prune"})).json()
    mine = (await admin.get("/schedules", params={"service": "my-app"})).json()

    assert [one["key"] for one in first["items"]] == ["backup:my-app/uploads"]
    assert [one["key"] for one in rest["items"]] == ["backup:other/data", "prune"]
    assert [one["key"] for one in prune["items"]] == ["prune"]
    assert [one["key"] for one in mine["items"]] == ["backup:my-app/uploads"]


async def test_a_token_sees_the_schedules_of_its_services_only(
    office: MemoryOffice, anyone: httpx2.AsyncClient
) -> None:
    office.scheduler.shown = [view(), view("prune", service=None), view("x", service="other")]
    anyone.headers["Authorization"] = "Bearer operate-token"

    listed = (await anyone.get("/schedules")).json()

    assert [one["key"] for one in listed["items"]] == ["x"]
    assert (await anyone.get("/schedules", params={"service": "my-app"})).status_code == 403


async def test_a_data_item_says_that_its_backup_is_overdue(
    office: MemoryOffice, admin: httpx2.AsyncClient
) -> None:
    office.scheduler.late = [Overdue("my-app", "uploads", "main", None, NOW, "never backed up")]

    shown = (await admin.get("/services/my-app")).json()

    items = {one["name"]: one["overdue"] for one in shown["data_items"]}
    assert items == {"uploads": "on main: never backed up", "database": None, "legacy": None}
