"""Looking into a backup."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from fastapi import FastAPI

from composia.operations.readings import ListSnapshot, Reading
from composia.web.listings import Listings
from tests.pages.safeguards import MANY, NEWEST, ODD
from tests.twins.office import MemoryOffice
from tests.unit.web.conftest import Visitor

FILES = f"/backups/{NEWEST}/files"
UPLOADS = "files/data/uploads"


@pytest.fixture(autouse=True)
def listings(app: FastAPI) -> None:
    app.state.listings = Listings()


async def entries(visitor: Visitor, path: str, q: str = "", start: int = 0) -> str:
    wanted = {"path": path, "q": q, "start": str(start)}
    answer = await visitor.get(f"{FILES}/entries", params=wanted)
    assert answer.status_code == 200
    return answer.text


def asked(office: MemoryOffice) -> list[Reading]:
    return [one for one in office.nodes.asked if isinstance(one, ListSnapshot)]


async def test_the_page_comes_before_its_node_was_asked(
    admin: Visitor, office: MemoryOffice
) -> None:
    page = (await admin.get(f"{FILES}?path={UPLOADS}")).text

    assert asked(office) == []
    assert f"{FILES}/entries?path={UPLOADS}" in page
    assert "Reading the repository" in page
    assert f'href="{FILES}?path=files/data"' in page


async def test_folders_come_first_and_lead_further_down(admin: Visitor) -> None:
    page = await entries(admin, UPLOADS)

    assert page.index(f'href="{FILES}?path={UPLOADS}/thumbs"') < page.index(">a.txt<")
    assert f"/download?path={UPLOADS}/a.txt" in page
    assert f"/restore?path={UPLOADS}/a.txt" in page
    assert "5 B" in page


async def test_odd_names_are_spelled_out_and_never_run(admin: Visitor) -> None:
    page = await entries(admin, UPLOADS)

    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;.html" in page
    assert "photo\\u{202E}gpj.exe" in page
    assert "\u202e" not in page
    assert "two\\u{A}lines\\u{9}and tabs.txt" in page
    assert "שלום עולם.txt" in page


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_file_can_be_downloaded(
    admin: Visitor, office: MemoryOffice, name: str
) -> None:
    href = f"/backups/{NEWEST}/download?path={quote(f'{UPLOADS}/{name}', safe='/')}"
    assert href.replace("&", "&amp;") in await entries(admin, UPLOADS)

    answer = await admin.get(href)

    assert answer.content == b"odd"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_folder_is_downloaded_as_tar(admin: Visitor) -> None:
    answer = await admin.get(f"/backups/{NEWEST}/download?path={UPLOADS}/2026")

    assert answer.headers["content-type"] == "application/x-tar"
    assert "2026.tar" in answer.headers["content-disposition"]


async def test_ten_thousand_entries_come_in_pages_and_are_asked_for_once(
    admin: Visitor, office: MemoryOffice
) -> None:
    thumbs = f"{UPLOADS}/thumbs"
    first = await entries(admin, thumbs)
    last = await entries(admin, thumbs, start=9900)
    found = await entries(admin, thumbs, q="04217")

    assert len(first) < 500_000
    assert f"{MANY} of {MANY} entries" in first
    assert "1 to 300 of 10000" in first
    assert f"path={thumbs}&start=300" in first.replace("&amp;", "&")
    assert ">09999.jpg<" in last
    assert ">Next<" not in last
    assert re.findall(r">(\d{5}\.jpg)<", found) == ["04217.jpg"]
    assert len(asked(office)) == 1


async def test_a_node_that_does_not_answer_is_waited_for_only_so_long(
    app: FastAPI, admin: Visitor, office: MemoryOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = asyncio.Event()

    @asynccontextmanager
    async def never(node: str, reading: Reading) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            await asyncio.Event().wait()
            yield _nothing()
        finally:
            left.set()

    monkeypatch.setattr(office.nodes, "read", never)
    app.state.listings = Listings(patience=0.01)

    answer = await admin.get(f"{FILES}/entries", headers={"HX-Request": "true"})

    assert answer.status_code >= 400
    assert "was not read within" in answer.text
    assert "<html" not in answer.text
    assert left.is_set()


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def test_a_node_that_is_away_is_told_in_words(admin: Visitor, office: MemoryOffice) -> None:
    office.nodes.offline = {"main", "edge"}

    answer = await admin.get(f"{FILES}/entries", headers={"HX-Request": "true"})

    assert answer.status_code == 409
    assert "no node that holds the repository is online" in answer.text


async def test_what_is_not_there_is_said(admin: Visitor) -> None:
    answer = await admin.get(f"/backups/{NEWEST}/download?path={UPLOADS}/nothing")

    assert answer.status_code == 404
    assert "there is no" in answer.text
