from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from composia.controller.store.store import Store, open_store


@pytest.fixture
async def store(state_dir: Path) -> AsyncIterator[Store]:
    made = await open_store(state_dir)
    yield made
    await made.aclose()
