"""Signing in and out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fastapi import FastAPI

from composia.controller.auth import Gate
from tests.twins.office import TOKENS, MemoryOffice
from tests.unit.web.conftest import URL, Visitor


async def test_a_stranger_is_led_to_the_door_and_back(stranger: Visitor) -> None:
    refused = await stranger.get("/services/my-app/data?x=1")

    assert refused.headers["location"] == "/login?next=%2Fservices%2Fmy-app%2Fdata%3Fx%3D1"
    let_in = await stranger.sign_in(landing="/services/my-app/data?x=1")
    assert (let_in.status_code, let_in.headers["location"]) == (303, "/services/my-app/data?x=1")
    assert (await stranger.get("/services/my-app/data?x=1")).status_code == 200


async def test_a_wrong_token_is_told_so(stranger: Visitor) -> None:
    refused = await stranger.sign_in("guessed")

    assert refused.status_code == 401
    assert "this access token is not known" in refused.text
    assert "guessed" not in refused.text
    assert "set-cookie" not in refused.headers


async def test_guessing_is_slowed_down(app: FastAPI, stranger: Visitor) -> None:
    app.state.attempts._waiting = 8

    try:
        refused = await stranger.sign_in("guessed")
    finally:
        app.state.attempts._waiting = 0

    assert refused.status_code == 409
    assert "too many attempts" in refused.text


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        "/login?next=/login",
    ],
)
async def test_nobody_is_led_elsewhere(stranger: Visitor, elsewhere: str) -> None:
    assert (await stranger.sign_in(landing=elsewhere)).headers["location"] == "/"


async def test_the_cookie_says_nothing_and_scripts_cannot_read_it(
    stranger: Visitor, office: MemoryOffice
) -> None:
    cookie = (await stranger.sign_in()).headers["set-cookie"]

    value = cookie.partition("=")[2].partition(";")[0]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    kept = str(office.store.sessions)
    assert value not in kept
    assert "admin-token" not in kept


async def test_the_cookie_goes_over_https_only_where_there_is_https(stranger: Visitor) -> None:
    data, headers = {"token": "admin-token"}, {"Origin": URL, "X-Forwarded-Proto": "https"}

    answer = await stranger.post("/login", data=data, headers=headers)

    assert "Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    "age", [{"used_at": timedelta(hours=13)}, {"created_at": timedelta(days=31)}]
)
async def test_a_session_ends(
    admin: Visitor, office: MemoryOffice, age: dict[str, timedelta]
) -> None:
    (digest, session) = next(iter(office.store.sessions.items()))
    was = {field: datetime.now(UTC) - old for field, old in age.items()}
    office.store.sessions[digest] = session.model_copy(update=was)

    assert (await admin.get("/tasks")).headers["location"] == "/login?next=%2Ftasks"


async def test_a_session_is_over_when_its_token_is(admin: Visitor, office: MemoryOffice) -> None:
    office.gate = Gate([token for token in TOKENS if token.name != "admin"])

    assert (await admin.get("/tasks")).status_code == 303


async def test_signing_out_ends_it_on_the_server(admin: Visitor, office: MemoryOffice) -> None:
    cookie = admin.cookies["composia_session"]

    left = await admin.press("/logout")

    assert left.headers["hx-redirect"] == "/login"
    assert not office.store.sessions
    admin.cookies.set("composia_session", cookie)
    assert (await admin.get("/tasks")).status_code == 303


async def test_a_script_whose_session_is_over_leads_to_the_door(stranger: Visitor) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": f"{URL}/tasks?status=failed"}

    refused = await stranger.get("/tasks", headers=headers)

    assert refused.status_code == 401
    assert refused.headers["hx-redirect"] == "/login?next=%2Ftasks%3Fstatus%3Dfailed"


async def test_a_stream_whose_session_is_over_is_refused(stranger: Visitor) -> None:
    assert (await stranger.get("/live")).status_code == 401
