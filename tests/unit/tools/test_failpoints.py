"""Failure points: armed in a file, fired once, by the process they are meant for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from composia.tools import failpoints


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "failpoints.json"
    points = [
        {"step": "deploy", "moment": "middle", "action": "kill-agent:edge"},
        {"step": "deploy", "moment": "middle", "action": "kill-agent:main"},
        {"step": "exchange_data", "moment": "exchanged", "action": "error"},
    ]
    file.write_text(json.dumps(points))
    monkeypatch.setenv(failpoints.VARIABLE, str(file))
    return file


def test_a_point_fires_once_for_the_process_it_names(armed: Path) -> None:
    mine = (failpoints.kill_agent("main"), failpoints.ERROR)
    assert failpoints.fire("deploy", "middle", mine) == "kill-agent:main"
    assert failpoints.fire("deploy", "middle", mine) is None
    assert [point["action"] for point in json.loads(armed.read_text())] == [
        "kill-agent:edge",
        "error",
    ]


def test_the_controller_fires_only_what_is_meant_for_it(armed: Path) -> None:
    assert failpoints.fire("deploy", "middle") is None
    assert failpoints.fire("exchange_data", "exchanged") == "error"


def test_nothing_fires_unless_the_process_was_started_with_a_file(
    armed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(failpoints.VARIABLE)
    assert failpoints.fire("exchange_data", "exchanged") is None
    assert "exchanged" in armed.read_text()


def test_a_file_that_is_not_there_yet_arms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, str(tmp_path / "none.json"))
    assert failpoints.fire("deploy", "before") is None
