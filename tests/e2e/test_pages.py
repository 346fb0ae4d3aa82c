"""The guide's paths through the pages, on real engines."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.e2e import services
from tests.e2e.trees import fill
from tests.e2e.world import World
from tests.pages.browser import browser, person, sign_in

#: Milliseconds for what a node does meanwhile.
PATIENCE = 60_000


async def test_a_service_is_deployed_saved_and_brought_back_by_pressing(world: World) -> None:
    meta = services.FILES_META.format(name="my-app", nodes="main", strategy="files.copy")
    compose = services.FILES_COMPOSE.format(restart="always")
    await asyncio.to_thread(world.service, "my-app", compose, meta)
    async with browser() as chromium, person(chromium, world.lab.url) as page:
        await sign_in(page, "/services", world.lab.token)
        await page.get_by_role("link", name="my-app", exact=True).click()
        await page.get_by_role("link", name="Deploy", exact=True).click()
        await page.get_by_role("button", name="Deploy", exact=True).click()
        await _succeeds(page, "Deploy my-app on main")
        uploads = world.folder("my-app") / "data/uploads"
        fill(uploads)
        (uploads / "a.txt").write_text("as it was saved")

        await _through_services(page)
        await page.get_by_role("link", name="Backup", exact=True).click()
        await page.get_by_role("checkbox", name="cache").uncheck()
        await page.get_by_role("button", name="Back up", exact=True).click()
        await _succeeds(page, "Back up uploads of my-app on main")

        await _through_services(page)
        await expect(page.locator("#overview")).to_contain_text("just now", timeout=PATIENCE)

        (uploads / "a.txt").write_text("spoilt")
        await _bring_back(page)
        assert (uploads / "a.txt").read_text() == "as it was saved"
        await page.get_by_role("link", name="Roll back").click()
        await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        await _succeeds(page, re.compile("^Bring back"))
        assert (uploads / "a.txt").read_text() == "spoilt"


async def _bring_back(page: Page) -> None:
    """One file, out of the newest backup."""
    await page.get_by_role("navigation", name="Main").get_by_role("link", name="Backups").click()
    await page.get_by_role("row").nth(1).get_by_role("link", name="uploads").click()
    await page.get_by_role("link", name="Files", exact=True).click()
    for folder in ("files", "data", "uploads"):
        found = page.get_by_role("table").get_by_role("link", name=folder, exact=True)
        await found.click(timeout=PATIENCE)
    await page.get_by_role("link", name="Restore a.txt").click(timeout=PATIENCE)
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("./data/uploads/a.txt", timeout=PATIENCE)
    await dialog.get_by_role("button", name="Restore").click()
    await _succeeds(page, re.compile("^Restore files/data/uploads/a.txt"))


async def test_a_page_lives_through_a_killed_controller(world: World) -> None:
    data: Path = world.folder("my-app") / "data/uploads"
    await asyncio.to_thread((data / "large").write_bytes, b"\0" * (64 << 20))
    async with browser() as chromium, person(chromium, world.lab.url) as page:
        await sign_in(page, "/services/my-app/backup", world.lab.token)
        # It waits for its node until the page is there, and goes on to the controller's end then.
        await asyncio.to_thread(world.lab.fail, "save_data:before", "kill-agent:main")
        await page.get_by_role("checkbox", name="cache").uncheck()
        await page.get_by_role("button", name="Back up", exact=True).click()
        await expect(page.get_by_text("It waits: ")).to_be_visible(timeout=PATIENCE)
        await asyncio.to_thread(world.lab.fail, "save_data:middle", "kill-controller")
        await asyncio.to_thread(world.lab.start, "agent:main", wait=False)
        await expect(page.get_by_text("The connection is lost.")).to_be_visible(timeout=PATIENCE)

        await asyncio.to_thread(world.lab.start, "controller")

        await expect(page.get_by_text("The connection is lost.")).to_be_hidden(timeout=PATIENCE)
        await _succeeds(page, "Back up uploads of my-app on main")


async def test_backups_are_proven_deleted_and_cared_for_by_pressing(world: World) -> None:
    meta = services.files_meta("my-app") + "  keep: {last: 1}\n"
    await asyncio.to_thread(world.commit, {"my-app/composia-meta.yaml": meta})
    uploads = world.folder("my-app") / "data/uploads"
    (uploads / "a.txt").write_text("as it was saved")
    web = world.container("my-app", "web")
    await asyncio.to_thread(world.docker, "exec", web, "touch", "/cache/x")
    async with browser() as chromium, person(chromium, world.lab.url) as page:
        await sign_in(page, "/services/my-app/backup", world.lab.token)
        await page.get_by_role("button", name="Back up", exact=True).click()
        await _succeeds(page, "Back up uploads, cache of my-app on main")
        (uploads / "a.txt").write_text("spoilt")
        await _bring_all_back(page)
        assert (uploads / "a.txt").read_text() == "as it was saved"

        await page.goto("/backups?data_item=uploads")
        await page.get_by_role("row").nth(1).get_by_role("link", name="uploads").click()
        proven = page.url
        await page.wait_for_load_state()
        await page.get_by_role("button", name="Verify").click()
        await _succeeds(page, re.compile("^Verify backup"))
        await page.goto(proven)
        await expect(page.locator("#backup-state")).to_contain_text("Verified", timeout=PATIENCE)

        gone = await _delete_the_oldest(page)
        await page.goto(gone)
        await expect(page.get_by_role("heading", level=1)).to_contain_text(
            "there is no backup", timeout=PATIENCE
        )
        await _care_for_the_repository(page)
        kept = await asyncio.to_thread(world.backups, service="my-app")
        assert sorted(one["data_item"] for one in kept) == ["cache", "uploads"]


async def _bring_all_back(page: Page) -> None:
    await page.goto("/services/my-app")
    await page.get_by_role("link", name="Restore", exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("The path ./data/uploads", timeout=PATIENCE)
    await expect(dialog).to_contain_text("The volume cache", timeout=PATIENCE)
    await dialog.get_by_role("button", name="Restore").click()
    await _succeeds(page, "Restore uploads, cache of my-app on main")


async def _delete_the_oldest(page: Page) -> str:
    """Where it was shown."""
    await page.goto("/backups?data_item=uploads")
    await page.get_by_role("row").last.get_by_role("link", name="uploads").click()
    await page.get_by_role("link", name="Delete").click()
    shown = page.url
    await page.get_by_label("to confirm").fill("uploads")
    await page.get_by_role("button", name="Delete for good").click()
    await _succeeds(page, re.compile("^Forget backup"))
    return shown


async def _care_for_the_repository(page: Page) -> None:
    await page.goto("/repository")
    await page.get_by_role("link", name="Check").click()
    await page.get_by_role("radio", name="And all data").check()
    await page.get_by_role("button", name="Check").click()
    await _succeeds(page, re.compile("^Check the repository on main"))

    await page.goto("/repository")
    await page.get_by_role("link", name="Forget").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("1 go, 2 stay.", timeout=PATIENCE)
    await dialog.get_by_role("button", name="Forget").click()
    await _succeeds(page, "Forget 1 of 3 backups")

    await page.goto("/repository")
    await page.get_by_role("link", name="Prune").click()
    await page.get_by_role("button", name="Prune").click()
    await _succeeds(page, "Prune the repository on main")
    await page.goto("/repository")
    await expect(page.locator("#repository").get_by_text("Succeeded")).to_have_count(
        3, timeout=PATIENCE
    )


async def test_a_service_is_edited_heard_and_moved_by_pressing(world: World) -> None:
    meta = services.files_meta("talker")
    says = r"""sh -c 'while :; do printf "\033[32ma tick\033[0m\n"; sleep 1; done'"""
    compose = services.files_compose("always").replace("httpd -f -p 8080 -h /srv", says)
    await asyncio.to_thread(world.service, "talker", compose, meta)
    async with browser() as chromium, person(chromium, world.lab.url) as page:
        await sign_in(page, "/services/talker/files?path=docker-compose.yaml", world.lab.token)
        await _edit(page)
        await page.get_by_role("link", name="Deploy", exact=True).click()
        await page.get_by_role("button", name="Deploy", exact=True).click()
        await _succeeds(page, "Deploy talker on main")
        fill(world.folder("talker") / "data/uploads")
        await page.goto("/services/talker/instances")
        tick = page.locator("#log .ink-green").first
        await expect(tick).to_have_text("a tick", timeout=PATIENCE)

        await _move(page)
        await page.goto("/services/talker/instances")
        await expect(page.get_by_role("region", name="On edge")).to_contain_text(
            "Running", timeout=PATIENCE
        )
        await page.goto("/services/talker/history")
        await page.get_by_role("link", name="Have it talk").click()
        changed = page.get_by_role("group", name="What it changed in docker-compose.yaml")
        await expect(changed).to_contain_text("+    init: true  # spoken to", timeout=PATIENCE)


async def _edit(page: Page) -> None:
    await expect(page.locator(".editor-host")).to_be_visible(timeout=PATIENCE)
    editor = page.get_by_role("textbox", name="docker-compose.yaml")
    await editor.get_by_text("init: true").click()
    await page.keyboard.press("End")
    await page.keyboard.type("  # spoken to")
    await page.get_by_role("button", name="Compare and commit").click()
    await expect(page.get_by_role("group", name="What you change")).to_contain_text(
        "# spoken to", timeout=PATIENCE
    )
    await page.get_by_label("Message").fill("Have it talk")
    await page.get_by_role("button", name="Commit", exact=True).click()
    await expect(page.get_by_text("Have it talk")).to_be_visible(timeout=PATIENCE)


async def _move(page: Page) -> None:
    await page.get_by_role("link", name="Migrate from main").click()
    await page.get_by_role("radio", name="edge").check()
    await page.get_by_role("button", name="Show the plan").click()
    await expect(page.locator("#plan")).to_contain_text("about", timeout=PATIENCE)
    await page.get_by_role("button", name="Migrate to edge").click()
    await _succeeds(page, "Migrate talker from main to edge")
    await expect(page.locator("#steps")).to_contain_text("Start until it answers", timeout=PATIENCE)


async def _through_services(page: Page) -> None:
    places = page.get_by_role("navigation", name="Main")
    await places.get_by_role("link", name="Services").click()
    await page.get_by_role("link", name="my-app", exact=True).click()


async def _succeeds(page: Page, title: str | re.Pattern[str]) -> None:
    head = page.locator("#task-head")
    await expect(head.get_by_role("heading")).to_have_text(title, timeout=PATIENCE)
    state = head.locator(".state")
    await expect(state).to_have_text(re.compile("Succeeded|Failed"), timeout=PATIENCE)
    await expect(state).to_have_text("Succeeded")
