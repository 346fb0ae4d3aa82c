"""The list of backups, one of them, verifying and deleting."""

from __future__ import annotations

import re

import pytest

from composia.controller.auth import Gate
from composia.model.config import AccessToken
from composia.workflows.repository import ForgetBackupPlan
from composia.workflows.verify import VerifyPlan
from tests.pages.safeguards import NEWEST
from tests.twins.office import TOKENS, MemoryOffice, backup
from tests.unit.web.conftest import Visitor

ROW = re.compile(r'href="/backups/(01B\w+)"')
OLD = "01B000000"
FAILED = "01B999990"


def newest(office: MemoryOffice) -> object:
    return list(office.store.admitted.values())[-1][1]


async def rows(visitor: Visitor, path: str) -> list[str]:
    page = await visitor.get(path)
    assert page.status_code == 200
    return ROW.findall(page.text)


async def test_the_list_has_the_columns_of_the_guide(admin: Visitor) -> None:
    page = (await admin.get("/backups")).text

    head = re.findall(r"<th[^>]*>([^<]+)</th>", page)
    assert head == ["Service", "Data item", "Snapshot ID", "Size", "Time", "Status", "Node"]
    for word in ("Success", "Verified", "Failed", "Partial", "Damaged", "Missing"):
        assert word in page


@pytest.mark.parametrize(
    ("query", "count", "first"),
    [
        ("service=guestbook", 1, FAILED),
        ("data_item=database", 25, "01B000241"),
        ("status=partial", 2, "01B000151"),
        ("node=edge", 0, None),
        ("service=my-app&data_item=uploads&node=main&status=partial", 1, "01B000150"),
        ("service=&data_item=&node=&status=", 50, FAILED),
    ],
)
async def test_filters_are_links(admin: Visitor, query: str, count: int, first: str | None) -> None:
    found = await rows(admin, f"/backups?{query}")

    assert len(found) == count
    assert (found[0] if found else None) == first


async def test_pages_lead_from_the_newest_to_the_oldest(admin: Visitor) -> None:
    page = await admin.get("/backups?service=")

    older = re.findall(r'href="(/backups\?[^"]*cursor=[^"]+)"', page.text)[0]
    rest = await rows(admin, older.replace("&amp;", "&"))
    assert rest == [OLD]
    assert len({*ROW.findall(page.text), *rest}) == 51


async def test_a_region_that_is_fetched_again_keeps_its_filters(admin: Visitor) -> None:
    page = (await admin.get("/backups?status=failed")).text

    assert 'hx-get="/backups?status=failed"' in page


async def test_an_empty_list_teaches(admin: Visitor, office: MemoryOffice) -> None:
    office.store.records = []

    assert "No backups yet" in (await admin.get("/backups")).text
    assert "No such backups" in (await admin.get("/backups?status=failed")).text
    assert "Never backed up" in (await admin.get("/services/my-app/backups")).text


async def test_a_service_has_its_own(admin: Visitor) -> None:
    found = await rows(admin, "/services/my-app/backups?data_item=uploads")

    assert len(found) == 25
    assert FAILED not in await rows(admin, "/services/my-app/backups")


async def test_a_backup_tells_all_that_is_known(admin: Visitor) -> None:
    page = (await admin.get(f"/backups/{NEWEST}")).text

    for fact in (
        "508 MiB in 312 files",
        "312 files, 508 MiB: all as they were saved",
        "s3",
        "./data/uploads/temp",
        "./data/uploads/2026/11/photo.jpg",
        "files.copy",
        "000" * 21 + "a",
        'href="/tasks/01T90001"',
    ):
        assert fact in page


@pytest.mark.parametrize(
    ("id", "words"),
    [
        (FAILED, "No space left on device"),
        ("01B000230", "It was found damaged"),
        ("01B000220", "Its snapshot is not in the repository any more"),
        ("01B000150", "It is not whole"),
    ],
)
async def test_what_is_wrong_stands_first(admin: Visitor, id: str, words: str) -> None:  # noqa: A002  # as api.md names it
    page = (await admin.get(f"/backups/{id}")).text

    assert 0 < page.find(words) < page.find("What was saved")


async def test_what_cannot_be_restored_has_no_button_for_it(admin: Visitor) -> None:
    page = (await admin.get(f"/backups/{FAILED}")).text

    assert "/restore" not in page
    assert "/verify" not in page
    assert "/files" not in page


async def test_users_text_is_shown_and_never_run(admin: Visitor, office: MemoryOffice) -> None:
    hostile = "<script>alert(1)</script>\u202e" + "x" * 10_000
    office.store.records.append(
        backup("01B888888", error=hostile, warnings=(hostile,), changed=(hostile,), node=hostile)
    )
    for path in ("/backups", "/backups/01B888888", "/services/my-app/backups"):
        page = (await admin.get(path)).text
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page


async def test_verify_leads_to_its_task(admin: Visitor, office: MemoryOffice) -> None:
    answer = await admin.press(f"/backups/{OLD}/verify")

    assert answer.headers["hx-redirect"].startswith("/tasks/01T")
    plan = newest(office)
    assert isinstance(plan, VerifyPlan)
    assert plan.wanted.backup_id == OLD


async def test_a_backup_is_deleted_when_its_name_was_typed(
    admin: Visitor, office: MemoryOffice
) -> None:
    assert "Type <code" in (await admin.get(f"/backups/{OLD}/delete")).text
    before = len(office.store.admitted)

    refused = await admin.press(f"/backups/{OLD}/delete", confirm="upload")
    assert refused.status_code == 422
    assert "what you typed is not" in refused.text
    assert len(office.store.admitted) == before

    answer = await admin.press(f"/backups/{OLD}/delete", confirm="uploads")
    assert answer.headers["hx-redirect"].startswith("/tasks/01T")
    plan = newest(office)
    assert isinstance(plan, ForgetBackupPlan)
    assert plan.backup.id == OLD


async def test_the_last_verified_one_stays_and_says_why(
    admin: Visitor, office: MemoryOffice
) -> None:
    before = len(office.store.admitted)

    page = (await admin.get(f"/backups/{NEWEST}/delete")).text
    refused = await admin.press(f"/backups/{NEWEST}/delete", confirm="uploads")

    assert "is the last verified one of uploads" in page
    assert "Verify a younger one first." in page
    assert "Delete for good" not in page
    assert refused.status_code == 409
    assert len(office.store.admitted) == before


@pytest.mark.parametrize("action", ["verify", "delete", "restore"])
async def test_a_token_that_may_only_read_changes_no_backup(
    stranger: Visitor, office: MemoryOffice, action: str
) -> None:
    await stranger.sign_in("read-token")
    before = len(office.store.admitted)

    refused = await stranger.press(f"/backups/{OLD}/{action}", confirm="uploads")

    assert refused.status_code == 403
    assert len(office.store.admitted) == before


@pytest.mark.parametrize(
    "path", [f"/backups/{OLD}", f"/backups/{OLD}/files/entries", "/backups", "/repository"]
)
async def test_a_token_that_may_only_read_sees_no_buttons_of_backups(
    stranger: Visitor, path: str
) -> None:
    await stranger.sign_in("read-token")

    page = (await stranger.get(path)).text

    assert page.count("hx-post") == page.count('hx-post="/logout"')
    assert "/restore" not in page
    assert "/delete" not in page
    assert "/repository/" not in page


@pytest.mark.parametrize(
    "path",
    [
        f"/backups/{OLD}",
        f"/backups/{OLD}/files",
        f"/backups/{OLD}/files/entries",
        f"/backups/{OLD}/download?path=files/data/uploads/a.txt",
        f"/backups/{OLD}/restore",
        "/backups?service=my-app",
        "/services/my-app/backups",
        "/repository",
    ],
)
async def test_a_token_for_one_service_is_shown_no_other(
    stranger: Visitor, office: MemoryOffice, path: str
) -> None:
    one = '{"name": "one", "token": "one-token", "scope": "admin", "services": ["guestbook"]}'
    office.gate = Gate([*TOKENS, AccessToken.model_validate_json(one)])
    await stranger.sign_in("one-token")

    assert (await stranger.get(path)).status_code == 403
    assert await rows(stranger, "/backups") == [FAILED]
    assert 'href="/repository"' not in (await stranger.get("/backups")).text
