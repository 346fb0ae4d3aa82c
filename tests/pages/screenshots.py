"""Pictures of every page against a controller in memory, and those of the guide."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from playwright.async_api import Browser, Page

from tests.pages.browser import PAGES, browser, person, sign_in
from tests.pages.seed import seeded
from tests.pages.serving import served

LOOKS = {"light": {}, "dark": {"dark": True}, "phone": {"phone": True}}
PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
#: The guide's: as much as fits into a window.
IN_THE_GUIDE = (
    ("home", "light"),
    ("home", "phone"),
    ("backup-dialog", "light"),
    ("restore-dialog", "light"),
    ("backup-folder", "light"),
    ("migrate-plan", "light"),
    ("task-moved", "dark"),
)


async def take(folder: Path) -> None:
    """One picture for each page and look."""
    with served(seeded()) as serving:
        async with browser() as chromium:
            for look in LOOKS:
                await _look(chromium, serving.url, look, folder)


async def take_for_the_guide(folder: Path) -> None:
    """The pictures of docs/guide, with nothing odd in them."""
    with served(seeded("`nmae`; did you mean `name`?")) as serving:
        async with browser() as chromium:
            for name, look in IN_THE_GUIDE:
                async with person(chromium, serving.url, **LOOKS[look]) as page:
                    await sign_in(page, PAGES[name])
                    await _shoot(page, folder / f"{name}-{look}.png", full=False)


async def _look(chromium: Browser, url: str, look: str, folder: Path) -> None:
    async with person(chromium, url, **LOOKS[look]) as page:
        await page.goto("/login")
        await _shoot(page, folder / f"login-{look}.png")
        await sign_in(page)
        for name, path in PAGES.items():
            await page.goto(path)
            await _shoot(page, folder / f"{name}-{look}.png")


async def _shoot(page: Page, target: Path, *, full: bool = True) -> None:
    await page.wait_for_timeout(200)
    await page.screenshot(path=target, full_page=full)


def main() -> None:
    """`python -m tests.pages.screenshots FOLDER`, or `--guide`"""
    guide = sys.argv[1] == "--guide"
    folder = PICTURES if guide else Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(take_for_the_guide(folder) if guide else take(folder))
    sys.stdout.write(f"{len(list(folder.glob('*.png')))} pictures in {folder}\n")


if __name__ == "__main__":
    main()
