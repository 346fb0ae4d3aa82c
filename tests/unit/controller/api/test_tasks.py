"""`/tasks`, `/events` and what can be asked of a task."""

from __future__ import annotations

import httpx2
import pytest

from composia.model.task import Status
from composia.workflows.check import Downtime
from composia.workflows.migrate import MigratePlan
from tests.twins.office import MY_APP, MemoryOffice, service

Client = httpx2.AsyncClient


async def begun(admin: Client, verb: str = "backup") -> str:
    task: str = (await admin.post(f"/services/my-app/{verb}")).json()["id"]
    return task


async def test_tasks_are_listed_newest_first_and_filtered(admin: Client) -> None:
    first, second = await begun(admin), await begun(admin, "deploy")
    listed = (await admin.get("/tasks")).json()["items"]
    assert [one["id"] for one in listed] == [second, first]
    backups = (await admin.get("/tasks", params={"type": "backup"})).json()["items"]
    assert [one["id"] for one in backups] == [first]


async def test_the_next_page_begins_where_the_first_ended(admin: Client) -> None:
    first, second = await begun(admin), await begun(admin, "deploy")
    page = (await admin.get("/tasks?limit=1")).json()
    assert (page["items"][0]["id"], page["next_cursor"]) == (second, second)
    page = (await admin.get(f"/tasks?limit=1&cursor={page['next_cursor']}")).json()
    assert (page["items"][0]["id"], page["next_cursor"]) == (first, None)


async def test_a_log_is_text(admin: Client) -> None:
    answer = await admin.get(f"/tasks/{await begun(admin)}/logs")
    assert (answer.text, answer.headers["content-type"]) == (
        "one\ntwo\n",
        "text/plain; charset=utf-8",
    )


async def test_a_followed_log_ends_with_the_task(admin: Client) -> None:
    answer = await admin.get(f"/tasks/{await begun(admin)}/logs?follow=true")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("event: log\ndata: one\n\nevent: log\ndata: two\n\nevent: end\n")


async def test_a_task_is_cancelled_once(admin: Client) -> None:
    task = await begun(admin)
    assert (await admin.post(f"/tasks/{task}/cancel")).json()["status"] == "cancelled"
    assert (await admin.post(f"/tasks/{task}/cancel")).status_code == 409


async def test_only_a_failed_task_is_tried_again(admin: Client, office: MemoryOffice) -> None:
    task = await begun(admin)
    assert (await admin.post(f"/tasks/{task}/retry")).status_code == 409
    office.admit.end(task, Status.FAILED)
    assert (await admin.post(f"/tasks/{task}/retry")).status_code == 202


async def test_a_move_is_not_tried_again_after_another_deploy(
    admin: Client, office: MemoryOffice
) -> None:
    task = await begun(admin)
    row, _ = office.store.admitted[task]
    move = MigratePlan(
        service=service(MY_APP).ref.model_copy(update={"revision": "c" * 40}),
        source="main",
        target="edge",
        nodes_before=("main",),
        nodes_after=("edge",),
        cargo=(),
        downtime=Downtime(),
    )
    undone = row.model_copy(update={"status": Status.FAILED, "actions": ("retry",)})
    office.store.admitted[task] = undone, move
    answer = await admin.post(f"/tasks/{task}/retry")
    assert answer.status_code == 409
    assert "revision aaaaaaa is on main, and not ccccccc" in answer.text

    left_open = undone.model_copy(update={"actions": ("retry", "rollback", "abandon")})
    office.store.admitted[task] = left_open, move
    assert (await admin.post(f"/tasks/{task}/retry")).status_code == 202


async def test_nothing_is_rolled_back_to_a_node_that_config_yaml_does_not_name(
    admin: Client, office: MemoryOffice
) -> None:
    task = await begun(admin)
    row, _ = office.store.admitted[task]
    move = MigratePlan(
        service=service(MY_APP).ref,
        source="burnt",
        target="main",
        nodes_before=("burnt",),
        nodes_after=("main",),
        cargo=(),
        downtime=Downtime(),
    )
    left = {"status": Status.FAILED, "actions": ("retry", "rollback", "abandon")}
    office.store.admitted[task] = row.model_copy(update=left), move
    answer = await admin.post(f"/tasks/{task}/rollback")
    assert answer.status_code == 409
    assert "node burnt, where my-app was before, is not in config.yaml any more" in answer.text


async def failed(admin: Client, office: MemoryOffice, verb: str) -> str:
    """A task that has failed, and may be tried again."""
    task = await begun(admin, verb)
    row, plan = office.store.admitted[task]
    row = row.model_copy(update={"status": Status.FAILED, "actions": ("retry",)})
    office.store.admitted[task] = row, plan
    return task


async def test_what_failed_is_tried_again_while_nothing_has_changed(
    admin: Client, office: MemoryOffice
) -> None:
    for verb in ("deploy", "update", "restart", "stop", "restore"):
        task = await failed(admin, office, verb)
        answer = await admin.post(f"/tasks/{task}/retry")
        assert answer.status_code == 202, answer.text


async def test_another_services_commit_is_in_no_retrys_way(
    admin: Client, office: MemoryOffice
) -> None:
    task = await failed(admin, office, "deploy")
    # The newest commit to the service's folder is an older one still.
    office.catalog.known = office.catalog.known.model_copy(update={"revision": "b" * 40})
    assert (await admin.post(f"/tasks/{task}/retry")).status_code == 202


async def test_no_retry_brings_back_an_older_revision(admin: Client, office: MemoryOffice) -> None:
    task = await failed(admin, office, "deploy")
    restart = await failed(admin, office, "restart")
    await office.catalog.write("my-app/docker-compose.yaml", b"services: {}\n", if_match="*")
    answer = await admin.post(f"/tasks/{task}/retry")
    assert answer.status_code == 409
    assert "the files of my-app have changed since" in answer.text
    assert "composia deploy my-app" in answer.text
    # That one takes no files anywhere.
    assert (await admin.post(f"/tasks/{restart}/retry")).status_code == 202


async def test_no_retry_starts_a_service_where_it_has_moved_away_from(
    admin: Client, office: MemoryOffice
) -> None:
    task = await failed(admin, office, "deploy")
    moved = service({**MY_APP, "nodes": ["edge"]})
    services = {**office.catalog.known.services, "my-app": moved}
    office.catalog.known = office.catalog.known.model_copy(update={"services": services})
    answer = await admin.post(f"/tasks/{task}/retry")
    assert answer.status_code == 409
    assert "my-app is not meant for node main" in answer.text


async def test_a_restore_is_rolled_back_by_a_task_of_its_own(
    admin: Client, office: MemoryOffice
) -> None:
    task = await begun(admin, "restore")
    office.admit.end(task)
    answer = await admin.post(f"/tasks/{task}/rollback")
    assert (answer.status_code, answer.json()["type"]) == (202, "rollback")
    assert answer.json()["id"] != task


async def test_a_plan_of_another_version_is_a_conflict_and_no_bug(
    admin: Client, office: MemoryOffice
) -> None:
    older = await begun(admin, "restore")
    office.admit.end(older)
    done = (await admin.post(f"/tasks/{older}/rollback")).json()["id"]
    office.admit.end(done)
    office.store.unreadable |= {older, done}
    answer = await admin.post(f"/tasks/{older}/rollback")
    assert (answer.status_code, "another version" in answer.json()["detail"]) == (409, True)

    newer = await begun(admin, "restore")
    office.admit.end(newer)
    assert (await admin.post(f"/tasks/{newer}/rollback")).status_code == 202


async def test_a_backup_cannot_be_rolled_back(admin: Client) -> None:
    answer = await admin.post(f"/tasks/{await begun(admin)}/rollback")
    assert (answer.status_code, answer.json()["hint"] is not None) == (409, True)


@pytest.mark.parametrize("verb", ["cancel", "retry", "rollback", "abandon"])
async def test_an_unknown_task_is_not_found(admin: Client, verb: str) -> None:
    assert (await admin.post(f"/tasks/01NOTASK/{verb}")).status_code == 404


async def test_events_are_those_of_the_services_a_token_is_for(anyone: Client) -> None:
    headers = {"Authorization": "Bearer operate-token"}
    text = (await anyone.get("/events", headers=headers)).text
    assert "event: node" in text
    assert "event: task" not in text
