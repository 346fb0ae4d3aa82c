"""Real parts for the contract suites."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from composia.tools.docker import Docker
from composia.tools.rustic_engine import RusticEngine
from composia.tools.shell import LocalShell
from tests.contract.repository import Place
from tests.lab.engines import docker_env


@pytest.fixture(scope="session")
def docker_host(request: pytest.FixtureRequest) -> str:
    """A real engine: the lab's, or the one that COMPOSIA_TEST_ENGINE names."""
    given = os.environ.get("COMPOSIA_TEST_ENGINE")
    if given:
        return given
    host: str = request.getfixturevalue("lab").nodes["main"].docker_host
    return host


@pytest.fixture
def shell(docker_host: str) -> LocalShell:
    """Programs that talk to that engine only."""
    return LocalShell(docker_env(docker_host))


@pytest.fixture
async def docker(shell: LocalShell, docker_host: str) -> AsyncIterator[Docker]:
    made = Docker(shell, docker_host)
    yield made
    await made.aclose()


@pytest.fixture
def place(tmp_path: Path, docker: Docker, shell: LocalShell) -> Place:
    return Place(tmp_path, docker, shell)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("template")


@pytest.fixture
async def engine(place: Place, template: Path) -> AsyncIterator[RusticEngine]:
    """A repository that is there."""
    yield await place.made(template)
    assert await place.containers() == []
