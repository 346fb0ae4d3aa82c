from __future__ import annotations

import json

from composia.model.shown import LastRunView, WaitingRunView
from composia.model.task import Status
from tests.twins.office import NOW, MemoryOffice
from tests.unit.cli.conftest import Composia
from tests.unit.controller.api.test_schedules import view


def test_a_failed_run_and_one_that_waits_are_in_the_table(
    composia: Composia, office: MemoryOffice
) -> None:
    last = LastRunView(time=NOW, node="main", task="01T", status=Status.FAILED)
    waits = WaitingRunView(time=NOW, node="main", for_="node main is offline")
    office.scheduler.shown = [view(last=last, waiting=[waits])]

    found = composia("schedules", "--service", "my-app")

    assert found.exit_code == 0
    assert "failed 2026-11-24 04:00Z" in found.output
    assert "01T" in found.output
    assert "waiting on main since 2026-11-24 04:00Z: node main is offline" in found.output


def test_programs_get_json(composia: Composia, office: MemoryOffice) -> None:
    office.scheduler.shown = [view()]

    assert json.loads(composia("schedules", "--json").output)[0]["key"] == "backup:my-app/uploads"


def test_where_nothing_is_scheduled_the_next_step_is_named(composia: Composia) -> None:
    assert "default_schedule" in composia("schedules").output
