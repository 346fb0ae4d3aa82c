from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.workflow.office import Office


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """A controller at work, in memory but for its files."""
    made = Office(tmp_path)
    await made.start()
    yield made
    await made.stop()
    await made.nodes.end()
