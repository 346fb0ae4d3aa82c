"""What has become of a service: its commits, opened."""

from __future__ import annotations

import re

import pytest

from composia.controller.changes import FileChange, What
from tests.pages.removals import BODY
from tests.twins.office import REVISION, MemoryOffice
from tests.unit.web.conftest import Visitor

HERE = f"/services/my-app/history/{REVISION}"


async def words(visitor: Visitor) -> str:
    """What a person reads of the commit."""
    page = (await visitor.get(HERE)).text
    return " ".join(re.sub(r"<[^>]+>", " ", page[page.index("<main") :]).split())


async def test_each_commit_can_be_opened(admin: Visitor) -> None:
    page = (await admin.get("/services/my-app/history")).text

    assert f'href="{HERE}"' in page


async def test_a_commit_says_who_why_and_what(admin: Visitor) -> None:
    page = (await admin.get(HERE)).text
    said = await words(admin)

    assert "Change my-app/docker-compose.yaml" in said
    assert "The cache was on the wrong disk." in said
    assert "admin@example.org" in said
    assert "docker-compose.yaml Changed: 2 lines added, 2 removed" in said
    assert '<span class="removed">-    image: postgres:15' in page
    assert '<span class="added">+    image: postgres:16' in page


async def test_what_cannot_be_compared_says_why(admin: Visitor) -> None:
    said = await words(admin)

    assert "empty Added It is empty." in said
    assert "logo.png Added It is no text: 3.9 KiB." in said
    assert "seed.sql Removed It is too large to be compared here: 5.0 MiB." in said


async def test_hostile_names_and_lines_are_text(admin: Visitor) -> None:
    page = (await admin.get(HERE)).text

    assert "\u202e" in BODY
    assert "\u202e" not in page
    assert "&lt;img src=x&gt;\\u{202E}gpj.exe\\u{DCFF}" in page
    assert "<script>alert" not in page
    assert "\\u{202E}&lt;script&gt;" in page


async def test_a_huge_commit_is_shown_in_part(admin: Visitor, office: MemoryOffice) -> None:
    patch = "\n".join(["@@ -0,0 +1,9000 @@", *(f"+{n}" for n in range(5000)), "+" + "x" * 9000])
    files = [FileChange(path=f"my-app/{n}", what=What.ADDED, patch=patch) for n in range(3)]
    office.catalog.changed[REVISION] = tuple(files)

    page = (await admin.get(HERE)).text

    assert "3002 more lines are not shown here" in page
    assert "5002 more lines" in page
    assert len(page) < 200_000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/services/my-app/history/{'c' * 40}", 404),
        (f"/services/guestbook/history/{REVISION}", 404),
        ("/services/my-app/history/HEAD", 422),
        (f"/services/nothing/history/{REVISION}", 404),
    ],
)
async def test_only_a_commit_of_this_service_is_found(
    admin: Visitor, path: str, status: int
) -> None:
    assert (await admin.get(path)).status_code == status
