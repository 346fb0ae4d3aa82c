"""Moving a service by its page: the plan's words, all that is in the way, and going."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from composia.model.task import Status, Step
from composia.operations.surveying import TargetSeen
from composia.web.journey import Reached, journey
from composia.workflows.migrate import MigratePlan
from composia.workflows.rescue import RescuePlan
from tests.pages.browser import MOVE
from tests.pages.seed import GUESTBOOK
from tests.twins.office import MemoryOffice, backup, service
from tests.unit.web.conftest import Visitor

PLAN = f"/services/my-app/migrate/plan?{MOVE}"
FORM = {
    "target_node": "loft",
    "chosen": "true",
    "data_items": ["uploads", "database"],
    "leave_behind": ["cache"],
}


async def test_the_page_names_targets_items_and_what_nothing_covers(admin: Visitor) -> None:
    page = (await admin.get("/services/my-app/migrate")).text

    assert 'name="target_node" value="loft"' in page
    assert 'name="target_node" value="main"' not in page
    assert 'name="data_items" value="uploads" checked' in page
    assert 'name="data_items" value="legacy"' not in page
    assert 'name="leave_behind" value="cache"' in page


async def test_the_plan_says_what_moves_what_does_not_and_for_how_long(admin: Visitor) -> None:
    plan = (await admin.get(PLAN)).text

    assert "Migrate my-app from main to loft" in plan
    assert "about 9.9 s" in plan
    assert "Dump and import" in plan
    assert "508 MiB" in plan
    assert "by dump and import" in plan
    assert "./data/uploads" in plan
    assert "left behind, as asked for" in plan
    assert "app.example.org" in plan
    assert plan.index("What does not move") < plan.index(">cache<")
    assert "Migrate to loft" in plan


async def test_all_that_is_in_the_way_is_said_at_once(admin: Visitor, office: MemoryOffice) -> None:
    office.nodes.target = TargetSeen(running=("web",), free=1, free_for_volumes=1)

    plan = (await admin.get("/services/my-app/migrate/plan?target_node=loft&chosen=true")).text

    for wrong in ("of my-app runs on loft already", "loft has 0 MiB free", "<code>cache</code>"):
        assert wrong in plan, wrong
    assert "Free some space on loft." in plan
    assert "Migrate to loft" not in plan


async def test_a_result_is_shown_once_and_escaped(admin: Visitor, office: MemoryOffice) -> None:
    page = (await admin.get("/tasks/01T70001")).text
    # All of it is in the picture of the outage.
    assert "<h2>Result</h2>" not in page

    moved, plan = office.store.admitted["01T70001"]
    told = moved.model_copy(update={"result": {**(moved.result or {}), "revision": "<b>a&b"}})
    office.store.admitted["01T70001"] = told, plan
    page = (await admin.get("/tasks/01T70001")).text
    assert "<h2>Result</h2>" in page
    assert "&lt;b&gt;a&amp;b" in page


async def test_a_confirmed_plan_is_a_task(admin: Visitor, office: MemoryOffice) -> None:
    answer = await admin.press("/services/my-app/migrate", **FORM)

    task, plan = list(office.store.admitted.values())[-1]
    assert answer.headers["hx-redirect"] == f"/tasks/{task.id}"
    assert isinstance(plan, MigratePlan)
    assert [one.item for one in plan.cargo] == ["uploads", "database"]
    assert [one.source for one in plan.stays] == ["cache", "./data/uploads/temp"]


async def test_a_plan_that_is_another_by_now_is_not_carried_out(
    admin: Visitor, office: MemoryOffice
) -> None:
    before = len(office.store.admitted)

    answer = await admin.press("/services/my-app/migrate", **FORM, seen="0" * 64)

    assert answer.status_code == 409
    assert "has changed since you looked at the plan" in answer.text
    assert len(office.store.admitted) == before


async def test_growing_data_makes_no_other_plan(admin: Visitor, office: MemoryOffice) -> None:
    plan = (await admin.get(PLAN)).text
    mark = plan.partition('name="seen" value="')[2][:64]
    office.nodes.source = office.nodes.source.model_copy(update={"sizes": {}})

    assert (await admin.press("/services/my-app/migrate", **FORM, seen=mark)).status_code == 204


async def test_no_item_ticked_is_none_and_not_all(admin: Visitor, office: MemoryOffice) -> None:
    form = {**FORM, "data_items": [], "leave_behind": ["cache", "./data/uploads"]}

    await admin.press("/services/my-app/migrate", **form)

    plan = list(office.store.admitted.values())[-1][1]
    assert isinstance(plan, MigratePlan)
    assert plan.cargo == ()


async def test_a_source_that_is_gone_is_asked_nothing(admin: Visitor, office: MemoryOffice) -> None:
    office.store.records.append(
        backup("01B9Z", service="guestbook", data_item="entries", node="edge")
    )
    gone = {
        "source_node": "edge",
        "target_node": "loft",
        "chosen": "true",
        "data_items": "entries",
        "source_is_gone": "true",
    }

    plan = (await admin.get("/services/guestbook/migrate/plan", params=gone)).text
    await admin.press("/services/guestbook/migrate", **gone)

    assert "Nothing is asked of edge" in plan
    assert "01B9Z" in plan
    assert isinstance(list(office.store.admitted.values())[-1][1], RescuePlan)


async def test_a_plan_without_the_site_says_so(admin: Visitor, office: MemoryOffice) -> None:
    caddy = {"name": "infra-caddy", "nodes": ["edge"], "infra": {"caddy": {}}}
    behind_it = {**GUESTBOOK, "network": {"caddy": {}}}
    services = {one.name: one for one in map(service, (caddy, behind_it))}
    known = office.catalog.known
    together = {**known.services, **services}
    office.catalog.known = known.model_copy(update={"services": together})
    gone = {
        "source_node": "edge",
        "target_node": "loft",
        "chosen": "true",
        "source_is_gone": "true",
    }

    plan = (await admin.get("/services/guestbook/migrate/plan", params=gone)).text

    assert "Loft has no Caddy: nobody would reach the site of guestbook there" in plan


async def test_whoever_may_only_read_moves_nothing(stranger: Visitor) -> None:
    await stranger.sign_in("read-token")

    assert (await stranger.get("/services/my-app/migrate")).status_code == 403
    assert (await stranger.get(PLAN)).status_code == 403
    assert (await stranger.press("/services/my-app/migrate", **FORM)).status_code == 403
    assert "/migrate" not in (await stranger.get("/services/my-app/instances")).text


async def test_a_moves_task_shows_its_steps_and_its_outage(admin: Visitor) -> None:
    page = (await admin.get("/tasks/01T70001")).text

    assert "3. Reload Caddy on the source" in page
    assert "not needed" in page
    assert "Start until it answers" in page
    assert "expected: about 2.1 s" in page


async def test_an_open_move_explains_what_can_be_done(admin: Visitor) -> None:
    page = (await admin.get("/tasks/01T90002")).text
    dialog = (await admin.get("/tasks/01T90002/rollback")).text

    assert "What now?" in page
    assert "goes on with the step that failed" in page
    assert dialog


@pytest.mark.parametrize(
    ("status", "steps", "expected"),
    [
        (Status.RUNNING, [("1_export_data", Status.RUNNING)], [Reached.RUNNING, Reached.TO_COME]),
        (
            Status.FAILED,
            [("2_stop_source", Status.FAILED)],
            [Reached.NOT_NEEDED, Reached.FAILED, Reached.NOT_REACHED],
        ),
        (Status.SUCCEEDED, [("1_export_data", Status.SUCCEEDED)], [Reached.DONE]),
    ],
)
async def test_each_of_the_eight_steps_says_how_it_stands(
    office: MemoryOffice,
    status: Status,
    steps: list[tuple[str, Status]],
    expected: list[Reached],
) -> None:
    now = datetime.now(UTC)
    made = [
        Step(name=name, status=state, started_at=now, finished_at=now + timedelta(seconds=2))
        for name, state in steps
    ]
    task = office.store.admitted["01T90002"][0]

    legs = journey(task.model_copy(update={"status": status, "steps": tuple(made)}))

    assert len(legs) == 8
    assert [leg.reached for leg in legs][: len(expected)] == expected
