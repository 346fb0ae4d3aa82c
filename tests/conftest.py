"""What all tests share: the lab, made once for each worker and taken down at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

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
