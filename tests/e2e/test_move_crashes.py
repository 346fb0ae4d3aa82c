"""Promise 18: never active twice, nothing lost, whatever dies and whenever.

`bin/test` moves a service once for every step; `bin/test --matrix` takes every step, victim and
moment, and prints the table.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e import crashes
from tests.e2e.world import World
from tests.e2e.writing import App

CASES = crashes.every() if os.environ.get("COMPOSIA_MATRIX") else crashes.some()


@pytest.fixture(scope="module", autouse=True)
def caddy(world: World) -> None:
    """In front of everything, on both nodes."""
    world.ok("/services/infra-caddy/deploy")


@pytest.fixture
def app(world: World) -> Iterator[App]:
    """A service that nobody else has; afterwards everything runs and is joined."""
    made = App(world)
    yield made
    world.lab.clear_failures()
    world.lab.join_all()
    made.end()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_promise_18_a_move_survives(world: World, app: App, case: crashes.Case) -> None:
    ended = crashes.moved(world, app, case)
    assert ended["status"] in ("succeeded", "failed")


@pytest.mark.parametrize("restart", ["no", "unless-stopped", "on-failure"])
def test_promise_18_the_source_rebooted_after_its_stop(
    world: World, app: App, restart: str
) -> None:
    case = crashes.Case("4_restore_data", "machine:main", "before")
    crashes.moved(world, app, case, restart=f'"{restart}"' if restart == "no" else restart)
