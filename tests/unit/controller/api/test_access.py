"""Who may do what, and how a refusal looks."""

from __future__ import annotations

from types import SimpleNamespace

import httpx2
import pytest
from starlette.requests import Request

from composia.controller.api.desk import Desk
from composia.controller.auth import Gate
from tests.twins.office import MemoryOffice

Client = httpx2.AsyncClient


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("wrong"), bearer("old-token"), bearer(""), {"Authorization": "Basic YTpi"}],
)
async def test_without_a_good_token_nothing_is_answered(
    anyone: Client, headers: dict[str, str]
) -> None:
    answer = await anyone.get("/services", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_wrong_token_is_not_repeated(anyone: Client) -> None:
    answer = await anyone.get("/services", headers=bearer("very-secret-but-wrong"))
    assert "very-secret" not in answer.text


async def test_a_token_is_checked_before_anything_else(anyone: Client) -> None:
    assert (await anyone.get("/backups?limit=nonsense")).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/services/my-app/deploy"),
        ("POST", "/backups/01B1/restore"),
        ("DELETE", "/backups/01B1"),
        ("POST", "/repository/init"),
        ("POST", "/config/reload"),
        ("PUT", "/catalog/files/my-app/composia-meta.yaml"),
    ],
)
async def test_a_token_that_may_only_read_changes_nothing(
    anyone: Client, office: MemoryOffice, method: str, path: str
) -> None:
    headers = {**bearer("read-token"), "If-Match": "*"}
    answer = await anyone.request(method, path, headers=headers, content=b"{}")
    assert answer.status_code == 403
    assert (office.store.admitted, office.reloads) == ({}, 0)


async def test_a_token_that_may_only_operate_does_not_forget(anyone: Client) -> None:
    headers = bearer("operate-token")
    assert (await anyone.post("/config/reload", headers=headers)).status_code == 403


async def test_a_token_for_one_service_sees_no_other(anyone: Client) -> None:
    headers = bearer("operate-token")
    listed = (await anyone.get("/services", headers=headers)).json()["items"]
    assert [one["name"] for one in listed] == ["other"]
    assert (await anyone.get("/backups", headers=headers)).json()["items"] == []
    for path in ("/services/my-app", "/backups/01B1", "/backups?service=my-app", "/repository"):
        assert (await anyone.get(path, headers=headers)).status_code == 403


async def test_a_token_for_one_service_reads_no_other_folder(anyone: Client) -> None:
    path = "/catalog/files/my-app/composia-meta.yaml"
    assert (await anyone.get(path, headers=bearer("operate-token"))).status_code == 403


async def test_an_unknown_route_is_a_problem(admin: Client) -> None:
    answer = await admin.get("/nonsense")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)


async def test_a_wrong_method_names_the_right_ones(admin: Client) -> None:
    answer = await admin.put("/backups/01B1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


async def test_a_desk_sees_that_its_token_was_revoked(office: MemoryOffice) -> None:
    headers = [(b"authorization", b"Bearer admin-token")]
    app = SimpleNamespace(state=SimpleNamespace(controller=office))
    desk = Desk(Request({"type": "http", "headers": headers, "app": app}), None)
    assert await desk.is_still_allowed()

    office.gate = Gate([])

    assert not await desk.is_still_allowed()
