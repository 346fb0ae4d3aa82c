"""What happens by itself, as people read it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from composia.controller.auth import Gate
from composia.model.config import AccessToken
from tests.twins.office import TOKENS, MemoryOffice
from tests.unit.web.conftest import Visitor


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


async def test_runs_are_told_by_the_clock_of_their_zone(
    admin: Visitor, office: MemoryOffice
) -> None:
    at = datetime(2099, 7, 1, 1, 0, tzinfo=UTC)
    office.scheduler.shown = [
        one.model_copy(update={"next": at}) for one in office.scheduler.shown[:1]
    ]

    said = words((await admin.get("/schedules")).text)

    assert "Back up my-app uploads on main" in said
    assert "Wed 01 Jul, 03:00" in said
    assert "Europe/Berlin" in said
    assert "8 hours ago" in said


async def test_what_was_missed_and_what_waits_says_why(admin: Visitor) -> None:
    said = words((await admin.get("/schedules")).text)

    assert "3 times on edge node edge was offline" in said
    assert "Waiting node edge is offline" in said
    assert "Failed" in said


async def test_no_schedules_are_explained(admin: Visitor, office: MemoryOffice) -> None:
    office.scheduler.shown = []

    assert "Nothing happens by itself yet" in (await admin.get("/schedules")).text


async def test_a_token_for_one_service_sees_only_its_schedules(
    stranger: Visitor, office: MemoryOffice
) -> None:
    one = '{"name": "one", "token": "one-token", "scope": "read", "services": ["my-app"]}'
    office.gate = Gate([*TOKENS, AccessToken.model_validate_json(one)])
    await stranger.sign_in("one-token")

    said = words((await stranger.get("/schedules")).text)

    assert "Back up my-app" in said
    assert "guestbook" not in said
    assert "Free space" not in said
