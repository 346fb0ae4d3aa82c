"""A controller in memory with its pages served, and a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.pages.browser import browser, person, sign_in
from tests.pages.seed import seeded
from tests.pages.serving import Serving, served


@pytest.fixture
def serving() -> Iterator[Serving]:
    with served(seeded()) as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with browser() as found:
        yield found


@pytest_asyncio.fixture(loop_scope="session")
async def admin(chromium: Browser, serving: Serving) -> AsyncIterator[Page]:
    """Signed in, on Home."""
    async with person(chromium, serving.url) as page:
        await sign_in(page)
        yield page
