"""Pages in a real browser: what is seen, pressed, heard and lost."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, expect

from tests.pages.browser import (
    PAGES,
    held,
    longest_work,
    person,
    settled,
    sign_in,
    tab_to,
)
from tests.pages.seed import change, empty
from tests.pages.serving import Serving
from tests.waiting import until

#: One browser for all of them: it takes longer to start than a test.
pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text()
#: Bytes that a page and all that it needs may have, compressed.
HEAVIEST = 150_000
STREAMS = ("live", "log")
#: What a page asks for once it is shown, and takes its time.
WAITED_FOR = re.compile(r"/files/entries\?|/migrate/plan\?")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_everybody_can_read_every_page(
    chromium: Browser, serving: Serving, *, dark: bool
) -> None:
    complaints: list[str] = []
    async with person(chromium, serving.url, dark=dark) as page:
        page.on("console", lambda said: _listen(said, complaints))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto("/login")
        complaints += await _violations(page, "/login")
        await sign_in(page)
        for path in PAGES.values():
            await settled(page, path)
            complaints += await _violations(page, path)

    assert complaints == []


async def test_everybody_can_read_what_is_waited_for(admin: Page) -> None:
    complaints: list[str] = []

    for name in ("backup-folder", "migrate-plan"):
        async with held(admin, WAITED_FOR), admin.expect_request(WAITED_FOR):
            await admin.goto(PAGES[name])
            await expect(admin.locator(".nothing.turns")).to_be_visible()
            complaints += await _violations(admin, name)

    assert complaints == []


async def test_everybody_can_read_pages_with_nothing_on_them(admin: Page, serving: Serving) -> None:
    empty(serving.office)
    complaints: list[str] = []

    for name in ("home", "services", "tasks", "schedules", "backups", "notifications", "nodes"):
        await admin.goto(PAGES[name])
        await expect(admin.locator(".nothing").first).to_be_visible()
        complaints += await _violations(admin, name)

    assert complaints == []


def _listen(said: ConsoleMessage, complaints: list[str]) -> None:
    # The page that is not found is one of them, and the browser says so.
    if said.type in ("error", "warning") and "404" not in said.text:
        complaints.append(said.text)


async def _violations(page: Page, path: str) -> list[str]:
    await page.evaluate(AXE)
    found: Any = await page.evaluate("axe.run({resultTypes: ['violations']})")
    return [
        f"{path}: {one['id']}: {node['html'][:160]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


async def test_a_backup_by_the_paths_of_the_guide(admin: Page, serving: Serving) -> None:
    await admin.get_by_role("navigation", name="Main").get_by_role("link", name="Services").click()
    await admin.get_by_role("link", name="my-app", exact=True).click()
    # Until it is loaded the link leads to a page of its own, and Back to that.
    await admin.wait_for_url("**/services/my-app")
    await admin.get_by_role("link", name="Backup", exact=True).click()
    await admin.get_by_role("checkbox", name="database").uncheck()
    await admin.get_by_role("button", name="Back up", exact=True).click()

    await expect(admin.get_by_role("heading", level=1)).to_have_text(
        "Back up uploads of my-app on main"
    )
    await admin.go_back()
    await expect(admin.get_by_role("heading", level=1)).to_have_text("my-app")


async def test_a_backup_by_keyboard_alone(admin: Page, serving: Serving) -> None:
    await admin.keyboard.press("Control+k")
    await admin.keyboard.type("back up my-app")
    await expect(admin.get_by_role("option", selected=True)).to_contain_text("Back up my-app")
    await admin.keyboard.press("Enter")
    await admin.wait_for_url("**/services/my-app/backup")
    await expect(admin.get_by_role("dialog")).to_be_visible()
    await tab_to(admin, "document.activeElement.textContent === 'Back up'")
    await admin.keyboard.press("Enter")

    await admin.wait_for_url("**/tasks/*")


async def test_whoever_types_faster_than_the_entries_come_gets_there(admin: Page) -> None:
    async with held(admin, "**/palette") as let_go:
        await admin.keyboard.press("Control+k")
        await admin.keyboard.type("back up my-app")
        await admin.keyboard.press("Enter")
        let_go()

        await admin.wait_for_url("**/services/my-app/backup")


async def test_a_button_that_is_pressed_twice_asks_once(admin: Page) -> None:
    await admin.goto("/services/my-app")
    async with held(admin, "**/services/my-app/backup") as let_go:
        await admin.get_by_role("link", name="Backup", exact=True).dblclick()
        let_go()

        await expect(admin.get_by_role("dialog")).to_have_count(1)
        await expect(admin.locator(".htmx-request")).to_have_count(0)
        await expect(admin.get_by_role("dialog")).to_have_count(1)


async def test_a_refusal_is_read_where_it_was_pressed(admin: Page, serving: Serving) -> None:
    await admin.goto("/services/my-app")
    await admin.get_by_role("link", name="Backup", exact=True).click()
    await expect(admin.get_by_role("dialog")).to_be_visible()
    serving.office.catalog.known = serving.office.catalog.known.model_copy(update={"services": {}})

    await admin.get_by_role("button", name="Back up", exact=True).click()

    await expect(admin.get_by_role("alert")).to_contain_text("there is no service my-app")


async def test_a_page_shows_what_changes_without_reloading(admin: Page, serving: Serving) -> None:
    await admin.goto("/services")
    await expect(admin.locator("#services")).to_contain_text("Unknown")
    await admin.evaluate("window.stays = true")
    serving.office.nodes.offline = set()

    _tell(serving, "node", None, id="edge")

    await expect(admin.locator("#services")).not_to_contain_text("Unknown")
    assert await admin.evaluate("window.stays")


async def test_a_change_while_a_page_loads_is_shown(admin: Page, serving: Serving) -> None:
    async with held(admin, "**/live?*") as let_go:
        await admin.goto("/services")
        await expect(admin.locator("#services")).to_contain_text("Unknown")
        serving.office.nodes.offline = set()
        before = serving.office.events.mark
        _tell(serving, "node", None, id="edge")
        await until(lambda: serving.office.events.mark != before)

        let_go()

        await expect(admin.locator("#services")).not_to_contain_text("Unknown")


async def test_what_cannot_be_fetched_again_stays_as_it_was(admin: Page, serving: Serving) -> None:
    await admin.goto("/services")
    known = serving.office.catalog.known
    serving.office.catalog.known = None
    async with admin.expect_response(lambda answer: answer.status == 500):
        _tell(serving, "node", None, id="edge")

    await expect(admin.locator("#services")).to_contain_text("my-app")
    serving.office.catalog.known = known
    serving.office.nodes.offline = set()
    _tell(serving, "node", None, id="edge")
    await expect(admin.locator("#services")).not_to_contain_text("Unknown")


async def test_a_page_whose_controller_is_gone_says_so_and_catches_up(
    admin: Page, serving: Serving
) -> None:
    await admin.goto("/services")
    await expect(admin.locator("#services")).to_contain_text("Unknown")
    serving.stop()
    await expect(admin.get_by_text("The connection is lost.")).to_be_visible()
    serving.office.nodes.offline = set()

    serving.start()

    await expect(admin.get_by_text("The connection is lost.")).to_be_hidden()
    await expect(admin.locator("#services")).not_to_contain_text("Unknown")


async def test_a_page_that_nobody_sees_gives_its_stream_back_and_catches_up(
    admin: Page, serving: Serving
) -> None:
    # For the page no time passes but what the test lets pass, however slow the machine is.
    now = time.time()
    await admin.clock.install(time=now)
    await admin.clock.pause_at(now + 3_600)
    async with admin.expect_response("**/live?*"):
        await admin.goto("/services")
    await expect(admin.locator("#services")).to_contain_text("Unknown")
    streams: list[Request] = []
    admin.on("request", lambda asked: streams.append(asked) if "/live?" in asked.url else None)
    await _show(admin, hidden=True)
    await admin.clock.run_for(9_000)
    # Seen again in time: the stream is the same.
    await _show(admin, hidden=False)
    await admin.clock.run_for(3_000)
    assert streams == []

    await _show(admin, hidden=True)
    async with admin.expect_event("requestfailed", lambda one: "/live?" in one.url):
        await admin.clock.run_for(10_000)
    # It is not missed: no banner, and no stream, while nobody looks.
    await admin.clock.run_for(60_000)
    await expect(admin.get_by_text("The connection is lost.")).to_be_hidden()
    assert streams == []
    serving.office.nodes.offline = set()
    _tell(serving, "node", None, id="edge")

    await _show(admin, hidden=False)

    await admin.clock.resume()
    await expect(admin.locator("#services")).not_to_contain_text("Unknown")
    assert len(streams) == 1


async def _show(page: Page, *, hidden: bool) -> None:
    """As a browser does with a tab that goes to the back, or to the front again."""
    await page.evaluate(
        """(hidden) => {
            const seen = (value) => ({ value, configurable: true });
            Object.defineProperty(document, "hidden", seen(hidden));
            Object.defineProperty(document, "visibilityState", seen(hidden ? "hidden" : "visible"));
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_a_page_whose_session_is_over_leads_to_the_door_and_back(
    admin: Page, serving: Serving
) -> None:
    await admin.goto("/tasks?status=failed")
    # Over while nobody answers: a page that heard of it before would go to a door that is shut.
    serving.stop()
    serving.office.store.sessions.clear()
    serving.start()

    await admin.wait_for_url("**/login?next=*")
    await admin.get_by_label("Access token").fill("admin-token")
    await admin.get_by_role("button", name="Sign in").click()
    await admin.wait_for_url("**/tasks?status=failed")


async def test_a_flood_of_lines_freezes_nothing(admin: Page, serving: Serving) -> None:
    flood = [
        f"2026-11-24T04:00:02Z \x1b[31mline\x1b[0m {n} <b>{'x' * 80}</b>" for n in range(60_000)
    ]
    serving.office.logs.lines = [*flood, "a" * 10_000, "the last line"]

    longest = await longest_work(admin, "/tasks/01T90001", "the last line")

    log = admin.locator("#log")
    await expect(log).to_contain_text("the last line")
    text = await log.text_content() or ""
    assert "\x1b" not in text
    assert "line 59999 <b>xxx" in text
    assert len(text) < 1_000_000
    assert 0 < longest < 500


async def test_what_users_wrote_is_shown_and_never_run(admin: Page, serving: Serving) -> None:
    alerts: list[str] = []
    admin.on("dialog", lambda dialog: alerts.append(dialog.message))
    for path in ("/", "/services", "/services/Bad", "/tasks/01T90001"):
        await admin.goto(path)
        await expect(admin.locator("h1")).to_be_visible()
    await expect(admin.locator("#log")).to_contain_text("<script>alert(1)</script>")
    await expect(admin.locator("#log")).to_contain_text("scanning /data/uploads")
    wide = await admin.evaluate("document.documentElement.scrollWidth > innerWidth")

    assert alerts == []
    assert not wide


async def test_a_phone_has_it_all(chromium: Browser, serving: Serving) -> None:
    async with person(chromium, serving.url, phone=True) as page:
        await sign_in(page, "/services")
        for path in PAGES.values():
            await settled(page, path)
            wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, path
        await page.goto("/services")
        await page.get_by_role("button", name="Menu").click()
        await page.get_by_role("navigation", name="Menu").get_by_role("link", name="Tasks").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("Tasks")


async def test_the_theme_that_was_chosen_stays(admin: Page) -> None:
    await admin.get_by_role("button", name="Light or dark").click()
    await admin.goto("/tasks")

    assert await admin.evaluate("document.documentElement.classList.contains('dark')")


async def test_pages_are_light(admin: Page) -> None:
    asked: list[str] = []
    admin.on("request", lambda request: asked.append(request.url))
    weights: dict[str, int] = {}
    for path in ("/", "/services", "/services/my-app", "/tasks/01T90001"):
        asked.clear()
        await admin.goto(path)
        files = [
            await admin.request.get(url)
            for url in asked
            if urlsplit(url).path.split("/")[-1] not in STREAMS
        ]
        weights[path] = sum([len(gzip.compress(await one.body(), 5)) for one in files])

    assert {path: weight for path, weight in weights.items() if weight > HEAVIEST} == {}


def _tell(serving: Serving, kind: str, service: str | None, **data: Any) -> None:
    assert serving.loop
    serving.loop.call_soon_threadsafe(lambda: change(serving.office, kind, service, **data))
