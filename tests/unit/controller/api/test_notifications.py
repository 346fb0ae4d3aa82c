from __future__ import annotations

import httpx2

from composia.model.notification import EventName, NotificationState
from tests.twins.office import MemoryOffice, notification


async def test_what_is_told_is_listed_by_state_and_event(
    office: MemoryOffice, admin: httpx2.AsyncClient
) -> None:
    office.store.notices = {
        "01N1": notification("01N1"),
        "01N2": notification("01N2", state=NotificationState.SETTLED),
        "01N3": notification("01N3", event=EventName.NODE_OFFLINE, service=None),
    }

    open_ = (await admin.get("/notifications", params={"state": "open"})).json()
    nodes = (await admin.get("/notifications", params={"event": "node_offline"})).json()

    assert [one["id"] for one in open_["items"]] == ["01N3", "01N1"]
    assert [one["id"] for one in nodes["items"]] == ["01N3"]


async def test_an_acknowledged_one_names_who_did_it(
    office: MemoryOffice, admin: httpx2.AsyncClient
) -> None:
    office.store.notices["01N1"] = notification()

    answer = await admin.post("/notifications/01N1/acknowledge")

    assert answer.status_code == 200
    assert answer.json()["state"] == "acknowledged"
    assert answer.json()["acknowledged_by"] == "token:admin"


async def test_a_token_of_another_service_sees_and_acknowledges_nothing(
    office: MemoryOffice, anyone: httpx2.AsyncClient
) -> None:
    office.store.notices["01N1"] = notification()
    anyone.headers["Authorization"] = "Bearer operate-token"

    listed = await anyone.get("/notifications")
    refused = await anyone.post("/notifications/01N1/acknowledge")
    tried = await anyone.post("/notifications/test")

    assert listed.json()["items"] == []
    assert (refused.status_code, tried.status_code) == (403, 403)


async def test_a_reader_cannot_send_messages(
    office: MemoryOffice, anyone: httpx2.AsyncClient
) -> None:
    anyone.headers["Authorization"] = "Bearer read-token"

    assert (await anyone.get("/notifications")).status_code == 200
    assert (await anyone.post("/notifications/test")).status_code == 403


async def test_a_test_message_answers_for_each_target(
    office: MemoryOffice, admin: httpx2.AsyncClient
) -> None:
    answer = await admin.post("/notifications/test")

    assert answer.json() == {"items": [{"target": "urls[0] (json)", "ok": True, "error": None}]}


async def test_an_unknown_one_is_not_found(office: MemoryOffice, admin: httpx2.AsyncClient) -> None:
    assert (await admin.post("/notifications/01N9/acknowledge")).status_code == 404
