"""The pages over the controller in memory, and somebody who opens them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from composia import web
from composia.controller import api
from tests.pages.seed import seeded
from tests.twins.office import MemoryOffice

URL = "http://composia"


class Visitor(httpx2.AsyncClient):
    """A browser, as far as the server can tell."""

    async def sign_in(self, token: str = "admin-token", landing: str = "/") -> httpx2.Response:
        data = {"token": token, "next": landing}
        return await self.post("/login", data=data, headers={"Origin": URL})

    async def press(self, path: str, /, **fields: object) -> httpx2.Response:
        """Send a form of a page, as htmx does."""
        headers = {
            "Origin": URL,
            "Sec-Fetch-Site": "same-origin",
            "HX-Request": "true",
            "X-Composia-Form": await self.form_token(),
        }
        return await self.post(path, data=fields, headers=headers)

    async def form_token(self) -> str:
        found = re.search(r'name="form-token" content="(\w+)"', (await self.get("/tasks")).text)
        return found[1] if found else ""


@pytest.fixture(scope="session")
def app() -> FastAPI:
    app = FastAPI(openapi_url="/api/v1/openapi.json")
    api.mount(app)
    web.mount(app)
    app.state.attempts.pause = 0.0
    return app


@pytest.fixture
def office(app: FastAPI) -> MemoryOffice:
    app.state.controller = seeded()
    return app.state.controller  # type: ignore[no-any-return]  # set just now


@pytest.fixture
async def stranger(app: FastAPI, office: MemoryOffice) -> AsyncIterator[Visitor]:
    assert app.state.controller is office
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with Visitor(transport=transport, base_url=URL) as visitor:
        yield visitor


@pytest.fixture
async def admin(stranger: Visitor) -> Visitor:
    await stranger.sign_in()
    return stranger
