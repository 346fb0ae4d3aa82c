"""An app over the controller in memory, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from composia.controller.api import mount
from tests.twins.office import MemoryOffice


@pytest.fixture(scope="session")
def app() -> FastAPI:
    app = FastAPI(openapi_url="/api/v1/openapi.json")
    mount(app)
    return app


@pytest.fixture
def office(app: FastAPI) -> MemoryOffice:
    app.state.controller = MemoryOffice()
    return app.state.controller  # type: ignore[no-any-return]  # set just now


@pytest.fixture
async def anyone(app: FastAPI, office: MemoryOffice) -> AsyncIterator[httpx2.AsyncClient]:
    assert app.state.controller is office
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://composia/api/v1") as http:
        yield http


@pytest.fixture
async def admin(anyone: httpx2.AsyncClient) -> httpx2.AsyncClient:
    anyone.headers["Authorization"] = "Bearer admin-token"
    return anyone
