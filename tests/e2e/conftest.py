"""The lab, as the tests of what users see get it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e import crashes
from tests.e2e.node import clean, lab_of, make_repository
from tests.e2e.world import World
from tests.lab import Lab


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After `bin/test --matrix`: a line for each step and victim, a mark for each moment."""
    if os.environ.get("COMPOSIA_MATRIX"):
        outcomes = {
            str(report.nodeid).partition("[")[2].rstrip("]"): outcome
            for outcome in ("passed", "failed", "error")
            for report in terminalreporter.stats.get(outcome, [])
        }
        for line in crashes.table(outcomes):
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
def world(lab: Lab) -> Iterator[World]:
    """A fresh world for each file of tests, on engines that stay."""
    lab.reset()
    made = World(lab)
    yield made
    made.http.close()
    lab.clear_failures()
    lab.join_all()


@pytest.fixture(scope="module")
def node(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab's engine, with a repository and nothing else."""
    found = lab_of(request)
    clean(found)
    make_repository(found)
    yield found
    clean(found)
