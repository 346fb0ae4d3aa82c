"""The command line over a controller in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner, Result
from fastapi import FastAPI

from composia.cli import cli
from composia.controller.api import mount
from tests.twins.office import MemoryOffice

Composia = Callable[..., Result]


@pytest.fixture(scope="session")
def app() -> FastAPI:
    app = FastAPI(openapi_url="/api/v1/openapi.json")
    mount(app)
    return app


@pytest.fixture
def office(app: FastAPI) -> MemoryOffice:
    office = MemoryOffice()
    app.state.controller = office
    return office


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def composia(app: FastAPI, office: MemoryOffice, home: Path) -> Composia:
    """Run a command line as a person with the admin's token would."""

    def run(*arguments: str, stdin: str | None = None, token: str | None = "admin-token") -> Result:
        transport = httpx2.ASGITransport(app=app)
        env = {
            "COMPOSIA_TOKEN": token,
            "COMPOSIA_URL": "http://composia",
            "XDG_CONFIG_HOME": str(home),
        }
        return CliRunner().invoke(
            cli, arguments, obj={"transport": transport}, env=env, input=stdin
        )

    return run
