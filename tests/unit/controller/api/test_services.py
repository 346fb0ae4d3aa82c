"""`/services`: what is shown, and what a request is answered with."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from composia.controller.api.desk import submission
from tests.twins.office import MemoryOffice, backup, container, node_state

Client = httpx2.AsyncClient


async def test_every_service_is_listed_with_its_state_and_last_backups(admin: Client) -> None:
    found = {one["name"]: one for one in (await admin.get("/services")).json()["items"]}
    mine = found["my-app"]
    assert [(one["node"], one["state"]) for one in mine["instances"]] == [("main", "running")]
    last = {item["name"]: item["last_backup"] for item in mine["data_items"]}
    assert last["uploads"]["id"] == "01B1"
    assert last["legacy"] is None


async def test_a_broken_service_is_listed_with_its_problems_among_the_others(admin: Client) -> None:
    found = {one["name"]: one for one in (await admin.get("/services")).json()["items"]}
    assert found["Bad"]["problems"][0]["loc"] == ["nmae"]
    assert found["my-app"]["problems"] == []


async def test_a_volume_that_nothing_saves_is_a_warning(admin: Client) -> None:
    warnings = (await admin.get("/services/my-app")).json()["warnings"]
    assert [(one["kind"], one["source"]) for one in warnings] == [("unprotected", "cache")]


async def test_a_file_that_goes_out_encrypted_is_a_warning(
    admin: Client, office: MemoryOffice
) -> None:
    known = office.catalog.known
    mine = known.services["my-app"].model_copy(update={"encrypted": ("Conf/.env.age",)})
    services = {**known.services, "my-app": mine}
    office.catalog.known = known.model_copy(update={"services": services})
    warning = (await admin.get("/services/my-app")).json()["warnings"][-1]
    assert (warning["kind"], warning["source"]) == ("encrypted", "Conf/.env.age")
    assert "no `controller.secrets`" in warning["message"]


async def test_a_deploy_is_of_what_was_pushed_just_before(
    admin: Client, office: MemoryOffice
) -> None:
    pushed = office.catalog.known
    office.catalog.pushed = pushed
    office.catalog.known = pushed.model_copy(update={"services": {}})
    answer = await admin.post("/services/my-app/deploy?dry_run=true", json={})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("states", "word"),
    [
        (("running", "running"), "running"),
        (("running", "exited"), "partly"),
        (("exited", "created"), "stopped"),
        ((), "absent"),
    ],
)
async def test_one_word_says_how_an_instance_is(
    admin: Client, office: MemoryOffice, states: tuple[str, ...], word: str
) -> None:
    office.nodes.known["main"] = node_state(
        *(container("my-app", f"c{number}", state) for number, state in enumerate(states))
    )
    instances = (await admin.get("/services/my-app")).json()["instances"]
    assert [one["state"] for one in instances] == [word]


async def test_an_instance_on_a_node_that_is_offline_is_unknown(
    admin: Client, office: MemoryOffice
) -> None:
    office.nodes.offline.add("main")
    instances = (await admin.get("/services/my-app")).json()["instances"]
    assert [one["state"] for one in instances] == ["unknown"]


async def test_a_list_goes_on_where_its_page_ended(admin: Client) -> None:
    page = (await admin.get("/services", params={"limit": 1})).json()
    names = [page["items"][0]["name"]]
    while page["next_cursor"]:
        params = {"limit": 1, "cursor": page["next_cursor"]}
        page = (await admin.get("/services", params=params)).json()
        names.append(page["items"][0]["name"])
    assert names == ["Bad", "infra-backup", "my-app", "other"]


@pytest.mark.parametrize(
    "verb", ["deploy", "update", "stop", "restart", "backup", "restore", "dns-update"]
)
async def test_a_missing_body_means_all_defaults(admin: Client, verb: str) -> None:
    answer = await admin.post(f"/services/my-app/{verb}")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/api/v1/tasks/{answer.json()['id']}"
    assert answer.json()["type"] == verb


async def test_an_update_may_save_the_data_first(admin: Client) -> None:
    answer = await admin.post("/services/my-app/update", json={"backup_first": True})
    assert answer.json()["title"] == "Back up and update my-app on main"
    refused = await admin.post("/services/my-app/deploy", json={"backup_first": True})
    assert refused.status_code == 422


async def test_a_body_is_json_whatever_its_header_says(admin: Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b'{"data_items": ["uploads"]}'
    answer = await admin.post("/services/my-app/backup", content=body, headers=headers)
    assert answer.json()["title"] == "Back up uploads of my-app on main"


async def test_a_dry_run_shows_the_plan_and_does_nothing(
    admin: Client, office: MemoryOffice
) -> None:
    answer = await admin.post("/services/my-app/backup", params={"dry_run": "true"})
    assert (answer.status_code, answer.json()["plan"]["plan"]) == (200, "backup")
    assert office.store.admitted == {}


async def test_a_repeated_key_answers_with_the_first_task(admin: Client) -> None:
    headers = {"Idempotency-Key": "cron-2026-11-24"}
    first = await admin.post("/services/my-app/backup", headers=headers)
    second = await admin.post("/services/my-app/backup", headers=headers)
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/services/my-app/deploy", {"nodes": ["main"]}),
        ("POST", "/tasks/01T00000/rollback", {}),
        ("DELETE", "/backups/01B1", None),
    ],
)
async def test_a_repeated_key_answers_though_it_could_not_be_planned_any_more(
    admin: Client, office: MemoryOffice, method: str, path: str, body: dict[str, Any] | None
) -> None:
    restore = (await admin.post("/services/my-app/restore")).json()["id"]
    office.admit.end(restore)
    headers = {"Idempotency-Key": "k"}
    first = await admin.request(method, path, headers=headers, json=body)
    assert first.status_code == 202, first.text

    del office.store.admitted[restore]
    office.store.records.clear()
    office.catalog.known = office.catalog.known.model_copy(update={"services": {}})
    assert (await admin.request(method, path, json=body)).status_code == 404

    again = await admin.request(method, path, headers=headers, json=body)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert again.headers["Location"] == first.headers["Location"]


async def test_a_key_says_nothing_of_a_dry_run(admin: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    await admin.post("/services/my-app/backup", headers=headers)
    answer = await admin.post("/services/my-app/deploy?dry_run=true", headers=headers)
    assert (answer.status_code, answer.json()["plan"]["plan"]) == (200, "deploy")


def test_a_key_is_looked_up_once_the_body_was_read(app: FastAPI) -> None:
    """Of two bodies the second would else be answered with the task of the first."""
    submits = 0
    for route in app.routes:
        if isinstance(route, APIRoute):
            calls = [one.call for one in route.dependant.dependencies]
            submits += submission in calls
            assert submission not in calls[:-1], route.path
    assert submits > 10


def test_whatever_answers_with_a_task_takes_a_key(app: FastAPI) -> None:
    without = [
        f"{method} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
        if "202" in operation["responses"]
        and "idempotency-key" not in [one["name"].lower() for one in operation["parameters"]]
    ]
    assert without == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{ "nodes": null }'])
async def test_a_repeated_key_is_of_the_same_request_however_it_is_spelled(
    admin: Client, body: bytes
) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await admin.post("/services/my-app/backup", headers=headers)
    again = await admin.post("/services/my-app/backup", headers=headers, content=body)
    assert again.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    ("path", "body"),
    [("backup", b'{"data_items": ["uploads"]}'), ("backup", b"{}"), ("deploy", b"{}")],
    ids=["another item", "all items", "something else"],
)
async def test_a_known_key_with_another_request_is_refused(
    admin: Client, path: str, body: bytes
) -> None:
    headers = {"Idempotency-Key": "k"}
    first = b'{"data_items": ["database"]}'
    await admin.post("/services/my-app/backup", headers=headers, content=first)
    answer = await admin.post(f"/services/my-app/{path}", headers=headers, content=body)
    assert answer.status_code == 409
    assert "Idempotency-Key" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"nonsense", 400),
        (b"null", 422),
        (b"[]", 422),
        (b'{"nodes": "main"}', 422),
        (b'{"nodes": []}', 422),
        (b'{"node": ["main"]}', 422),
        (b'{"nodes": ["; rm -rf /"]}', 422),
        (b'{"nodes": ["--help"]}', 422),
        ('{"nodes": ["ö"]}'.encode(), 422),
        (b'{"nodes": ["' + b"n" * 300 + b'"]}', 422),
        (b'{"nodes": ["nowhere"]}', 404),
        (b'{"nodes": ["edge"]}', 409),
        (b"x" * (10 * 1024 * 1024), 413),
    ],
)
async def test_a_wrong_body_is_refused_as_what_it_is(
    admin: Client, office: MemoryOffice, body: bytes, status: int
) -> None:
    answer = await admin.post("/services/my-app/deploy", content=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert office.store.admitted == {}


async def test_every_wrong_place_of_a_body_is_named(admin: Client) -> None:
    body = b'{"nodes": 1, "itmes": []}'
    answer = (await admin.post("/services/my-app/backup", content=body)).json()
    assert [one["loc"] for one in answer["errors"]] == [["body", "nodes"], ["body", "itmes"]]


async def test_a_place_in_a_body_is_the_same_whoever_finds_it_wrong(admin: Client) -> None:
    body = {"nodes": ["nowhere"], "data_items": ["uplaods"]}
    answer = (await admin.post("/services/my-app/backup", json=body)).json()
    places = [["body", "nodes", 0], ["body", "data_items", 0]]
    assert [one["loc"] for one in answer["errors"]] == places


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("backup", b'{"data_item": []}', "unknown key `data_item`; did you mean `data_items`?"),
        ("backup", b'{"zzz": 1}', "unknown key `zzz`; known here: data_items, nodes"),
        ("backup", b'{"data_items": "uploads"}', "must be a list"),
        ("backup", b'{"data_items": []}', "must not be empty"),
        ("backup", b"[]", "must be a mapping of keys to values"),
        ("restore", b'{"form": "s3"}', "unknown key `form`; did you mean `from`?"),
        ("restore", b'{"at": "2026-11-20T10:00:00"}', "must be `latest` or a time with its zone"),
        ("restore", b'{"at": "yesterday"}', "must be `latest` or a time with its zone"),
        ("restore", b'{"to": "here"}', "must be 'in_place' or 'scratch'"),
        ("migrate", b"", "is missing"),
    ],
)
async def test_what_is_wrong_with_a_body_is_told_in_words(
    admin: Client, path: str, body: bytes, said: str
) -> None:
    answer = await admin.post(f"/services/my-app/{path}", content=body)
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert said in problem["msg"]
    assert len(problem["loc"]) <= 2


@pytest.mark.parametrize("at", ["latest", "2026-11-20T10:00:00Z", "2026-11-20T10:00:00+01:00"])
async def test_a_restore_takes_a_time_with_its_zone(admin: Client, at: str) -> None:
    answer = await admin.post("/services/my-app/restore", json={"at": at})
    assert [one["loc"] for one in answer.json().get("errors", [])] != [["body", "at"]]


@pytest.mark.parametrize("at", ["5", 5, True, None, ["latest"], "2026"])
async def test_a_restore_takes_nothing_else_for_a_time(admin: Client, at: object) -> None:
    answer = await admin.post("/services/my-app/restore", json={"at": at})
    assert [one["loc"] for one in answer.json()["errors"]] == [["body", "at"]]


async def test_a_wrong_path_is_no_key_of_the_body(admin: Client) -> None:
    answer = await admin.post("/services/Bad%20Name/restore", json={})
    assert answer.json()["errors"][0]["loc"] == ["path", "service"]


async def test_defaults_are_offered_only_where_there_are_some(admin: Client) -> None:
    saving = await admin.post("/services/my-app/backup", content=b"{")
    moving = await admin.post("/services/my-app/migrate", content=b"{")
    assert "defaults" in saving.json()["hint"]
    assert moving.json()["hint"] is None


@pytest.mark.parametrize(
    ("path", "body", "hint"),
    [
        ("backup", {"nodes": ["edge"]}, "Its nodes: main."),
        ("migrate", {"source_node": "edge", "target_node": "main"}, "Its nodes: main."),
        ("restore", {"backup_ids": ["01B3"]}, "`composia backups --service my-app`"),
        ("restore", {"backup_ids": ["01B0"]}, "`composia backups --service my-app`"),
        ("restore", {"backup_ids": ["01B9"]}, "`restore: {strategy: files.copy, ...}`"),
    ],
)
async def test_what_cannot_be_now_comes_with_a_next_step(
    admin: Client, office: MemoryOffice, path: str, body: dict[str, Any], hint: str
) -> None:
    office.store.records += [backup("01B0", missing=True), backup("01B9", data_item="database")]
    answer = await admin.post(f"/services/my-app/{path}", json=body)
    assert answer.status_code == 409
    assert hint in answer.json()["hint"]


async def test_an_unknown_parameter_is_answered_with_the_closest_one(admin: Client) -> None:
    answer = await admin.get("/backups?data_itme=uploads")
    assert answer.status_code == 422
    assert answer.json()["hint"] == "Did you mean `data_item`?"


@pytest.mark.parametrize("name", ["; rm -rf", "--help", "ö", "n" * 300, "../etc"])
async def test_an_odd_name_is_refused(admin: Client, name: str) -> None:
    from urllib.parse import quote

    answer = await admin.post(f"/services/{quote(name, safe='')}/deploy")
    assert answer.status_code in (404, 422)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_service_is_answered_with_the_closest_name(admin: Client) -> None:
    answer = await admin.get("/services/my-ap")
    assert (answer.status_code, "my-app" in answer.json()["hint"]) == (404, True)


async def test_a_broken_service_is_refused_with_the_place(admin: Client) -> None:
    answer = await admin.post("/services/Bad/deploy")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["file"] == "Bad/composia-meta.yaml"


async def test_container_logs_come_through(admin: Client, office: MemoryOffice) -> None:
    answer = await admin.get("/services/my-app/instances/main/logs", params={"container": "web"})
    assert answer.text == "web-1  | ready\n"
    asked: Any = office.nodes.asked[0]
    assert (asked.container, asked.follow) == ("web", False)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("my-app/instances/nowhere/logs", 404),
        ("my-app/instances/edge/logs", 404),
        ("my-app/instances/main/logs?container=wbe", 404),
        ("my-app/instances/main/logs?tail=-1", 422),
    ],
)
async def test_logs_of_what_is_not_there_are_refused(admin: Client, path: str, status: int) -> None:
    assert (await admin.get(f"/services/{path}")).status_code == status


async def test_logs_of_a_node_that_is_offline_are_a_conflict(
    admin: Client, office: MemoryOffice
) -> None:
    office.nodes.offline.add("main")
    answer = await admin.get("/services/my-app/instances/main/logs")
    assert (answer.status_code, "offline" in answer.json()["detail"]) == (409, True)
