"""Debian's Chromium, and the pages it is to open."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright, expect

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
)
WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
TOKEN = "admin-token"

#: What is asked for of a move that can go.
MOVE = "target_node=loft&chosen=true&data_items=uploads&data_items=database&leave_behind=cache"

#: Every page, by the name of its picture.
PAGES = {
    "home": "/",
    "services": "/services",
    "service": "/services/my-app",
    "instances": "/services/my-app/instances",
    "data": "/services/my-app/data",
    "history": "/services/my-app/history",
    "commit": f"/services/my-app/history/{'a' * 40}",
    "backup-dialog": "/services/my-app/backup",
    "update-dialog": "/services/my-app/change/update",
    "restore-all": "/services/my-app/restore",
    "tasks": "/tasks",
    "schedules": "/schedules",
    "task-running": "/tasks/01T90001",
    "task-failed": "/tasks/01T90002",
    "backups": "/backups",
    "backups-filtered": "/backups?service=my-app&data_item=uploads",
    "backup": "/backups/01B000240",
    "backup-failed": "/backups/01B999990",
    "backup-files": "/backups/01B000240/files",
    "backup-folder": "/backups/01B000240/files?path=files/data/uploads",
    "restore-dialog": "/backups/01B000240/restore",
    "delete-dialog": "/backups/01B000240/delete",
    "service-backups": "/services/my-app/backups",
    "repository": "/repository",
    "forget-dialog": "/repository/forget",
    "check-dialog": "/repository/check",
    "copy-dialog": "/repository/copy",
    "notifications": "/notifications",
    "settings": "/settings",
    "migrate": "/services/my-app/migrate",
    "migrate-plan": f"/services/my-app/migrate?{MOVE}",
    "migrate-refused": "/services/my-app/migrate?target_node=edge&chosen=true",
    "task-moved": "/tasks/01T70001",
    "files": "/services/my-app/files?path=docker-compose.yaml",
    "files-broken": "/services/Bad/files",
    "nodes": "/nodes",
    "node": "/nodes/main",
    "node-offline": "/nodes/edge",
    "add-node": "/add-node?id=attic",
    "not-found": "/nowhere",
}


#: Seconds in which a window closes.
CLOSING = 15
#: What is still to come on a page that is open.
COMING = ".htmx-request, [data-island]:not([data-ready])"
#: Milliseconds in which a page has to show what is expected of it, also on a machine at its limit.
PATIENCE = 30_000

expect.set_options(timeout=PATIENCE)


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser that asks nobody but us."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield chromium
        finally:
            await chromium.close()


@asynccontextmanager
async def person(
    chromium: Browser, url: str, *, dark: bool = False, phone: bool = False
) -> AsyncIterator[Page]:
    """Somebody with a window of their own."""
    context: BrowserContext = await chromium.new_context(
        base_url=url,
        viewport=PHONE if phone else WIDE,  # type: ignore[arg-type]  # playwright's own dict
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
        locale="en-GB",
    )
    context.set_default_timeout(PATIENCE)
    try:
        yield await context.new_page()
    finally:
        # It has been seen to wait for ever; what is left of it goes with the browser.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING):
                await context.close()


async def sign_in(page: Page, path: str = "/", token: str = TOKEN) -> None:
    """As the guide says it."""
    await page.goto(path)
    await page.get_by_label("Access token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_load_state()


async def settled(page: Page, path: str) -> None:
    """Open a page, with all that it fetches when it is open."""
    await page.goto(path)
    await expect(page.locator(COMING)).to_have_count(0)


@asynccontextmanager
async def held(page: Page, url: str | re.Pattern[str]) -> AsyncIterator[Callable[[], None]]:
    """What is asked of this address waits until it is let go, or this ends."""
    may_go = asyncio.Event()

    async def late(route: Route) -> None:
        await may_go.wait()
        await route.continue_()

    await page.route(url, late)
    try:
        yield may_go.set
    finally:
        may_go.set()
        await page.unroute_all(behavior="ignoreErrors")


async def tab_to(page: Page, there: str) -> None:
    """Press Tab until this holds. Raises AssertionError where that leads nowhere."""
    for _ in range(80):
        await page.keyboard.press("Tab")
        if await page.evaluate(there):
            return
    raise AssertionError(f"Tab does not lead to {there}")


#: What is traced: a page's tasks, and its frames.
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline"]


async def longest_work(page: Page, path: str, last: str) -> float:
    """Open a page: milliseconds of work between two frames at most, until its log ends so.

    The work, and not the time it took: what else the machine has to do is not the page's.
    """
    chromium = page.context.browser
    assert chromium
    await chromium.start_tracing(page=page, categories=TRACED)
    try:
        await page.goto(path)
        ended = await page.evaluate(
            """async (last) => {
                const log = document.getElementById("log");
                const until = performance.now() + 60000;
                const ends = () => log.lastChild?.textContent.endsWith(`${last}\\n`);
                while (performance.now() < until && !ends()) {
                    await new Promise(requestAnimationFrame);
                }
                return ends();
            }""",
            last,
        )
    finally:
        traced = json.loads(await chromium.stop_tracing())
    assert ended
    return max(_work_between_frames(traced["traceEvents"]))


def _work_between_frames(events: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    names = [one for one in events if one["name"] == "thread_name"]
    pages = {_thread(one) for one in names if one["args"]["name"] == "CrRendererMain"}
    work: Counter[tuple[int, int]] = Counter()
    for one in sorted(events, key=lambda one: one["ts"]):
        if one["name"] == "RunTask" and _thread(one) in pages:
            work[_thread(one)] += one.get("tdur", 0)
        elif one["name"] == "FireAnimationFrame":
            yield work.pop(_thread(one), 0) / 1000
    yield from (left / 1000 for left in work.values())


def _thread(event: Mapping[str, Any]) -> tuple[int, int]:
    return event["pid"], event["tid"]
