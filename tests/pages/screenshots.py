"""Pictures of every page against a controller in memory."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.pages.browser import PAGES, browser, person, sign_in
from tests.pages.seed import seeded
from tests.pages.serving import served

LOOKS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}


async def take(folder: Path) -> None:
    """One picture for each page and look."""
    folder.mkdir(parents=True, exist_ok=True)
    with served(seeded()) as serving:
        async with browser() as chromium:
            for look in LOOKS:
                await _look(chromium, serving.url, look, folder)


async def _look(chromium: Browser, url: str, look: str, folder: Path) -> None:
    async with person(chromium, url, **LOOKS[look]) as page:
        await page.goto("/login")
        await _shoot(page, folder / f"login-{look}.png")
        await sign_in(page)
        for name, path in PAGES.items():
            await page.goto(path)
            await _shoot(page, folder / f"{name}-{look}.png")


async def _shoot(page: Page, target: Path) -> None:
    await page.wait_for_timeout(200)
    await page.screenshot(path=target, full_page=True)


def main() -> None:
    """`python -m tests.pages.screenshots FOLDER`"""
    folder = Path(sys.argv[1])
    asyncio.run(take(folder))
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")


if __name__ == "__main__":
    main()
