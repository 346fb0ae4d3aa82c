"""An app over the controller in memory, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from composia.controller.api import mount
from tests.twins.office import MemoryOffice


@pytest.fixture
def office() -> MemoryOffice:
    return MemoryOffice()


@pytest.fixture
def app(office: MemoryOffice) -> FastAPI:
    app = FastAPI(openapi_url="/api/v1/openapi.json")
    app.state.controller = office
    mount(app)
    return app


@pytest.fixture
async def anyone(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://composia/api/v1") as http:
        yield http


@pytest.fixture
async def admin(anyone: httpx2.AsyncClient) -> httpx2.AsyncClient:
    anyone.headers["Authorization"] = "Bearer admin-token"
    return anyone
