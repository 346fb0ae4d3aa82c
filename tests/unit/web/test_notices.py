"""Notifications, and settings."""

from __future__ import annotations

import re

from composia.controller.auth import Gate
from composia.model.config import AccessToken
from composia.model.notification import NotificationState, Tried
from tests.twins.office import TOKENS, MemoryOffice, notification
from tests.unit.web.conftest import Visitor


async def test_what_is_open_stands_first(admin: Visitor, office: MemoryOffice) -> None:
    office.store.notices["01N0004"] = notification(
        "01N0004", title="Disk is low", state=NotificationState.SETTLED
    )

    page = (await admin.get("/notifications")).text

    failed, low = page.index("Backup failed: entries"), page.index("Disk is low")
    assert page.index(">Open<") < failed < page.index(">Earlier<") < low
    assert page.count("Backup failed: entries") == 1
    assert "no answer within 10 s" in page


async def test_one_is_acknowledged(admin: Visitor, office: MemoryOffice) -> None:
    answer = await admin.press("/notifications/01N0002/acknowledge")

    assert answer.headers["hx-redirect"] == "/notifications"
    found = office.store.notices["01N0002"]
    assert (found.state, found.acknowledged_by) == ("acknowledged", "token:admin")
    assert 'hx-post="/notifications/0' not in (await admin.get("/notifications")).text


async def test_a_test_message_says_where_it_arrived(admin: Visitor, office: MemoryOffice) -> None:
    office.notifier.tried = [
        Tried(target="urls[0] (mailto)", ok=True),
        Tried(target="urls[1] (json)", ok=False, error="no answer within 10 s"),
    ]

    page = (await admin.press("/notifications/test")).text

    assert "A test message went to urls[0] (mailto)" in page
    assert "No test message went to urls[1] (json)" in page
    assert "no answer within 10 s" in page


async def test_nobody_to_tell_is_said(admin: Visitor, office: MemoryOffice) -> None:
    office.notifier.tried = []
    office.store.notices = {}

    assert "Nobody is told" in (await admin.press("/notifications/test")).text
    assert "Nothing was told yet" in (await admin.get("/notifications")).text


async def test_markup_in_a_message_is_shown(admin: Visitor, office: MemoryOffice) -> None:
    hostile = "<script>alert(1)</script>" + "x" * 10_000
    office.store.notices["01N0009"] = notification("01N0009", title=hostile, reason=hostile)

    page = (await admin.get("/notifications")).text

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


async def test_a_token_that_may_only_read_settles_nothing(
    stranger: Visitor, office: MemoryOffice
) -> None:
    await stranger.sign_in("read-token")

    for path in ("/notifications/01N0002/acknowledge", "/notifications/test", "/settings/reload"):
        assert (await stranger.press(path)).status_code == 403
    page = (await stranger.get("/notifications")).text
    assert page.count("hx-post") == page.count('hx-post="/logout"')
    assert office.reloads == 0
    assert office.store.notices["01N0002"].state is NotificationState.OPEN


async def test_a_token_for_one_service_hears_of_no_other(
    stranger: Visitor, office: MemoryOffice
) -> None:
    one = '{"name": "one", "token": "one-token", "scope": "operate", "services": ["my-app"]}'
    office.gate = Gate([*TOKENS, AccessToken.model_validate_json(one)])
    await stranger.sign_in("one-token")

    page = (await stranger.get("/notifications")).text

    assert "guestbook" not in page
    assert "attic" not in page
    assert (await stranger.press("/notifications/01N0002/acknowledge")).status_code == 403


async def test_settings_name_tokens_and_never_show_them(admin: Visitor) -> None:
    page = (await admin.get("/settings")).text

    for name in ("admin", "eyes", "hands", "old"):
        assert f"<bdi>{name}</bdi>" in page
    for token in ("admin-token", "read-token", "operate-token", "old-token"):
        assert token not in page
    assert "Disabled" in page
    assert re.search(r"Composia \d", page)


async def test_who_may_not_do_all_sees_only_the_own_token(stranger: Visitor) -> None:
    await stranger.sign_in("read-token")

    page = (await stranger.get("/settings")).text

    assert "<bdi>eyes</bdi>" in page
    assert "<bdi>hands</bdi>" not in page
    assert "/settings/reload" not in page


async def test_config_is_read_again(admin: Visitor, office: MemoryOffice) -> None:
    answer = await admin.press("/settings/reload")

    assert office.reloads == 1
    page = (await admin.get(answer.headers["hx-redirect"])).text
    assert "was read again" in page
    assert "Restart the controller" not in page


async def test_what_only_a_restart_takes_is_told(admin: Visitor, office: MemoryOffice) -> None:
    office.needs_restart = ["listen_addr", "git"]

    answer = await admin.press("/settings/reload")

    page = (await admin.get(answer.headers["hx-redirect"])).text
    assert "Restart the controller" in page
    assert "listen_addr, git" in page


async def test_signing_out_everywhere_ends_all_sessions_of_the_token(
    admin: Visitor, office: MemoryOffice
) -> None:
    here = admin.cookies["composia_session"]
    admin.cookies.clear()
    await admin.sign_in("read-token")
    admin.cookies.clear()
    await admin.sign_in()

    left = await admin.press("/settings/sign-out")

    assert left.headers["hx-redirect"] == "/login"
    assert len(office.store.sessions) == 1
    admin.cookies.set("composia_session", here)
    assert (await admin.get("/tasks")).status_code == 303
