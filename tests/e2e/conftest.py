"""The lab, as the tests of what users see get it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.world import World
from tests.lab import Lab


@pytest.fixture(scope="module")
def world(lab: Lab) -> Iterator[World]:
    """A fresh world for each file of tests, on engines that stay."""
    lab.reset()
    made = World(lab)
    yield made
    made.http.close()
    lab.clear_failures()
    lab.join_all()
