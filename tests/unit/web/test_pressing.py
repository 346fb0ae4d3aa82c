"""What pages do."""

from __future__ import annotations

import asyncio

from fastapi import Request

from composia.errors import Conflict
from composia.web.attention import Need, attention
from composia.web.live import _told
from composia.web.templating import TEMPLATES
from composia.web.visit import Visit
from composia.workflows.backup import BackupPlan
from composia.workflows.service import StopPlan, UpdatePlan
from tests.pages.seed import change
from tests.twins.office import MemoryOffice
from tests.unit.web.conftest import Visitor


def newest(office: MemoryOffice) -> object:
    return list(office.store.admitted.values())[-1][1]


async def test_a_backup_of_chosen_items_leads_to_its_task(
    admin: Visitor, office: MemoryOffice
) -> None:
    answer = await admin.press("/services/my-app/backup", data_items=["uploads"])

    task = list(office.store.admitted)[-1]
    plan = newest(office)
    assert answer.headers["hx-redirect"] == f"/tasks/{task}"
    assert isinstance(plan, BackupPlan)
    assert [item.name for item in plan.items] == ["uploads"]
    assert office.store.admitted[task][0].created_by == "token:admin"


async def test_what_was_not_chosen_is_what_the_api_would_take(
    admin: Visitor, office: MemoryOffice
) -> None:
    await admin.press("/services/my-app/change/stop")

    plan = newest(office)
    assert isinstance(plan, StopPlan)
    assert plan.on == ("main",)


async def test_nothing_chosen_of_what_is_offered_is_not_everything(
    admin: Visitor, office: MemoryOffice
) -> None:
    before = len(office.store.admitted)
    saved = await admin.press("/services/my-app/backup", offered=["data_items"])
    stopped = await admin.press("/services/my-app/change/stop", offered=["nodes"])

    assert "choose at least one of the data items" in saved.text
    assert "choose at least one of the nodes" in stopped.text
    assert [saved.status_code, stopped.status_code] == [422, 422]
    assert len(office.store.admitted) == before
    assert 'name="offered" value="data_items"' in (await admin.get("/services/my-app/backup")).text


async def test_what_is_wrong_is_said_in_the_dialog(admin: Visitor) -> None:
    answer = await admin.press("/services/my-app/backup", data_items=["uplaods"])

    assert answer.status_code == 404
    assert "uplaods" in answer.text
    assert "Did you mean" in answer.text
    assert "<html" not in answer.text


async def test_what_another_task_holds_is_said_in_the_dialog(
    admin: Visitor, office: MemoryOffice
) -> None:
    async def held(*_: object, **__: object) -> None:
        raise Conflict("task 01T holds my-app@main", hint="Wait for it.")

    office.admit.submit = held  # type: ignore[assignment,method-assign]  # as another task would

    answer = await admin.press("/services/my-app/backup")

    assert answer.status_code == 409
    assert "task 01T holds my-app@main" in answer.text
    assert "Wait for it." in answer.text


async def test_a_dialog_opens_by_its_own_address_too(admin: Visitor) -> None:
    fragment = await admin.get("/services/my-app/backup", headers={"HX-Request": "true"})
    page = await admin.get("/services/my-app/backup")

    assert fragment.text.lstrip().startswith("<dialog")
    assert "<html" in page.text
    assert 'value="uploads" checked' in page.text


async def test_buttons_are_those_that_make_sense(admin: Visitor) -> None:
    running, open_move = await admin.get("/tasks/01T90001"), await admin.get("/tasks/01T90002")

    assert "/tasks/01T90001/cancel" in running.text
    assert "/tasks/01T90001/retry" not in running.text
    for action in ("retry", "rollback", "abandon"):
        assert f"/tasks/01T90002/{action}" in open_move.text
    assert "Press Retry to go on" in open_move.text


async def test_home_says_first_what_needs_attention(admin: Visitor) -> None:
    page = (await admin.get("/")).text

    places = [page.index(text) for text in ("A move waits", "Node is offline", "Backup failed")]
    assert places == sorted(places)
    assert "No space left on device: /srv/repository" in page
    assert "Nothing saves this data" in page
    assert '<code class="name">cache</code>' in page


async def test_a_progress_has_its_rate_and_the_time_left(admin: Visitor) -> None:
    page = (await admin.get("/tasks/01T90001")).text

    assert "214 MiB of 508 MiB" in page
    assert "/s, " in page
    assert " left<" in page


async def test_a_log_is_sent_as_it_is(admin: Visitor) -> None:
    log = (await admin.get("/tasks/01T90001/log")).text

    assert log.startswith("event: begin\n")
    assert "<script>alert(1)</script>" in log
    assert log.count("event: log") < 5
    assert log.endswith("event: end\ndata: \n\n")


async def test_a_search_is_of_names(admin: Visitor) -> None:
    page = (await admin.get("/services?q=GUEST")).text

    assert "/services/guestbook" in page
    assert "/services/my-app" not in page


def test_every_need_has_words() -> None:
    home = (TEMPLATES / "home.html").read_text()

    assert [need for need in Need if f'"{need}": (' not in home] == []
    assert attention([], [], []) == []


async def test_changes_are_told_to_those_who_may_see_them(
    admin: Visitor, office: MemoryOffice
) -> None:
    scope = {"type": "http", "headers": [], "state": {}, "method": "GET", "path": "/live"}
    caller = office.gate.caller("Bearer operate-token")
    visit = Visit(Request(scope), office, caller, "")
    stream = _told(visit, visit.mark)
    assert b'"missed":false' in (await anext(stream)).replace(b" ", b"")
    change(office, "task", "my-app", id="01T1")
    change(office, "task", "other", id="01T2")
    change(office, "node", None, id="edge")

    async with asyncio.timeout(30):
        told = [await anext(stream), await anext(stream)]
    await stream.aclose()  # type: ignore[attr-defined]  # a generator

    assert b"01T2" in told[0]
    assert b"edge" in told[1]


async def test_an_update_saves_the_data_first_where_that_is_ticked(
    admin: Visitor, office: MemoryOffice
) -> None:
    assert 'name="backup_first"' in (await admin.get("/services/my-app/change/update")).text
    assert 'name="backup_first"' not in (await admin.get("/services/my-app/change/deploy")).text

    await admin.press("/services/my-app/change/update", backup_first="true")

    plan = newest(office)
    assert isinstance(plan, UpdatePlan)
    assert plan.backup
    # One with nothing under `backup.data` has nothing to save.
    assert (
        'name="backup_first"' not in (await admin.get("/services/infra-backup/change/update")).text
    )
