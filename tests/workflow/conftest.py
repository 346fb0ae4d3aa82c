from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workflow.office import Office


@pytest.fixture(scope="session")
def up_to_date(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with what DBOS keeps."""
    folder = tmp_path_factory.mktemp("up-to-date")
    asyncio.run(_migrated(Office(folder)))
    return folder


async def _migrated(office: Office) -> None:
    await office.start()
    await office.stop()


@pytest.fixture
async def office(state_dir: Path) -> AsyncIterator[Office]:
    """A controller at work, in memory but for its files."""
    made = Office(state_dir)
    await made.start()
    yield made
    await made.stop()
    await made.nodes.end()
