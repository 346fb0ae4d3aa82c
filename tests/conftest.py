"""What all tests share: the lab, made once for each worker and taken down at the end."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.nodeid import NodeId

from tests.lab import Lab, warm

NODES = ("main", "edge")

# What a test starts is started often: it is compiled and imported once, and not at each start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ[warm.VARIABLE] = "1"


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab of this worker's own, with two nodes; `LAB_PREFIX` tells runs side by side apart."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    name = f"{os.environ.get('LAB_PREFIX', 'test')}-{worker}"
    Lab.end(name)
    try:
        yield Lab.up(name, NODES)
    finally:
        Lab.end(name)


@pytest.fixture(scope="session")
def up_to_date(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state_dir with every migration behind it, to be copied."""
    folder = tmp_path_factory.mktemp("up-to-date")
    asyncio.run(_migrated(folder))
    return folder


@pytest.fixture
def state_dir(tmp_path: Path, up_to_date: Path) -> Path:
    """The test's own folder, as a state_dir without anything in its tables."""
    shutil.copytree(up_to_date, tmp_path, dirs_exist_ok=True)
    return tmp_path


async def _migrated(folder: Path) -> None:
    # Most tests need no database, and are spared the second that the import takes.
    from composia.controller.store.store import open_store

    await (await open_store(folder)).aclose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test an id of its own: of those that share one, workers run a single one.

    pytest names the items that a plugin makes (one for each call of the OpenAPI document) after
    their function alone.
    """
    for item in items:
        if not item.nodeid.endswith(f"::{item.name}") and item.parent:
            item._id = NodeId.parse(f"{item.parent.nodeid}::{item.name}")
    twice = [one for one, often in Counter(item.nodeid for item in items).items() if often > 1]
    if twice:
        raise pytest.UsageError(f"these tests share an id, so not all would run: {twice}")
