"""What is said of a task that has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from composia.cli.watch import tell
from composia.model.task import Task

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def moved(**result: object) -> Task:
    return Task.model_validate({
        "id": "01JABCDEFGHJKMNPQRSTVWXYZ0", "type": "migrate", "service": "my-app",
        "nodes": ["main", "edge"], "status": "succeeded", "title": "Migrate my-app",
        "created_by": "admin", "source": "cli", "created_at": NOW, "started_at": NOW,
        "finished_at": NOW + timedelta(seconds=9), "result": result,
    })  # fmt: skip


def test_times_are_rounded_and_records_are_told_in_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = {"hostname": "a.test", "before": [], "after": ["192.0.2.3"], "ttl_before": None}
    second = {"hostname": "b.test", "changed": False}

    tell(moved(held_seconds=0.28760313900056644, dump_seconds=4.6e-06, dns=[first, second]))

    said = capsys.readouterr().out.splitlines()
    assert "  held_seconds: 0.29" in said
    assert "  dump_seconds: 0.00" in said
    assert "  dns: hostname: a.test, after: 192.0.2.3; hostname: b.test, changed: False" in said


def test_what_is_empty_has_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    tell(moved(warnings=[], folder=None, files=0, exchanged=["./data", "cache"]))

    said = capsys.readouterr().out
    assert "warnings" not in said
    assert "folder" not in said
    assert "  files: 0\n" in said
    assert "  exchanged: ./data, cache\n" in said
