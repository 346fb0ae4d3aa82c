"""What a page does not do."""

from __future__ import annotations

import pytest

from composia.controller.auth import Gate
from composia.model.config import AccessToken
from tests.twins.office import TOKENS, MemoryOffice
from tests.unit.web.conftest import URL, Visitor

FORM = "/services/my-app/backup"


async def test_a_form_of_another_site_is_refused(admin: Visitor, office: MemoryOffice) -> None:
    token, before = await admin.form_token(), len(office.store.admitted)
    for told in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        answer = await admin.post(FORM, headers={**told, "X-Composia-Form": token})
        assert answer.status_code == 403

    assert len(office.store.admitted) == before


async def test_a_form_without_the_token_of_its_page_is_refused(
    admin: Visitor, office: MemoryOffice
) -> None:
    before = len(office.store.admitted)
    for token in ("", "0" * 64, "none"):
        headers = {"Origin": URL, "X-Composia-Form": token}
        assert (await admin.post(FORM, headers=headers)).status_code == 403

    assert len(office.store.admitted) == before


@pytest.mark.parametrize(
    "path",
    [
        FORM,
        "/services/my-app/change/stop",
        "/tasks/01T90001/cancel",
        "/tasks/01T90002/retry",
        "/tasks/01T90002/rollback",
        "/tasks/01T90002/abandon",
    ],
)
async def test_a_token_that_may_only_read_can_do_nothing(stranger: Visitor, path: str) -> None:
    await stranger.sign_in("read-token")

    answer = await stranger.press(path)

    assert answer.status_code == 403
    assert "may only read" in answer.text


async def test_a_token_that_may_only_read_sees_no_buttons(stranger: Visitor) -> None:
    await stranger.sign_in("read-token")

    for path in ("/", "/services", "/services/my-app", "/tasks/01T90001", "/tasks/01T90002"):
        page = (await stranger.get(path)).text
        assert page.count("hx-post") == page.count('hx-post="/logout"'), path
        assert "/backup" not in page.replace("/backups", "")


async def test_a_token_for_one_service_sees_no_other(
    stranger: Visitor, office: MemoryOffice
) -> None:
    one = '{"name": "one", "token": "one-token", "scope": "operate", "services": ["wiki"]}'
    office.gate = Gate([*TOKENS, AccessToken.model_validate_json(one)])
    await stranger.sign_in("one-token")

    for path in ("/", "/services", "/tasks", "/palette"):
        shown = (await stranger.get(path)).text
        assert "my-app" not in shown, path
        assert "guestbook" not in shown, path
    assert (await stranger.get("/services/my-app")).status_code == 403
    assert (await stranger.get("/tasks/01T90001")).status_code == 403
    assert (await stranger.get("/tasks/01T90001/log")).status_code == 403


async def test_no_page_runs_what_users_have_written(admin: Visitor) -> None:
    for path in ("/", "/services", "/services/Bad", "/tasks", "/services?q=<script>"):
        page = (await admin.get(path)).text
        assert "<img src=x" not in page, path
        assert "<script>" not in page, path
    assert "&lt;img src=x" in (await admin.get("/services")).text


async def test_files_that_go_out_encrypted_are_told_apart_from_data_that_nothing_saves(
    admin: Visitor, office: MemoryOffice
) -> None:
    known = office.catalog.known
    mine = known.services["my-app"].model_copy(update={"encrypted": ("Conf/.env.age",)})
    services = {**known.services, "my-app": mine}
    office.catalog.known = known.model_copy(update={"services": services})

    listed = (await admin.get("/services")).text

    assert "1 not protected" in listed
    assert "1 deployed encrypted" in listed
    assert "./Conf/.env.age is deployed as it is" in (await admin.get("/services/my-app")).text
    data = (await admin.get("/services/my-app/data")).text
    assert "No data item covers the volume cache" in data
    assert "Conf/.env.age" not in data


async def test_browsers_are_told_to_run_nothing_but_our_files(
    admin: Visitor, stranger: Visitor
) -> None:
    for path in ("/", "/login", "/nowhere", "/services/none", "/static/none.js", "/palette"):
        headers = (await admin.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


async def test_a_bug_of_ours_is_told_behind_the_same_guard(
    admin: Visitor, office: MemoryOffice
) -> None:
    office.catalog.known = None  # type: ignore[assignment]  # what never happens

    page = await admin.get("/services")

    assert page.status_code == 500
    assert page.headers["content-security-policy"].startswith("default-src 'self';")
    assert "Traceback" not in page.text


async def test_no_page_needs_an_inline_script_or_style(admin: Visitor) -> None:
    for path in ("/", "/services", "/services/my-app/data", "/tasks/01T90001", FORM):
        page = (await admin.get(path)).text
        for unsafe in (" style=", "<style", " onclick", "hx-on", "js:", "javascript:"):
            assert unsafe not in page, (path, unsafe)


async def test_programs_get_problems_and_people_pages(admin: Visitor) -> None:
    program, person = await admin.get("/api/v1/nowhere"), await admin.get("/nowhere")

    assert program.headers["content-type"] == "application/problem+json"
    assert person.status_code == 404
    assert "There is no such page." in person.text
    assert "/login" not in (await admin.get("/api/v1/openapi.json")).text
