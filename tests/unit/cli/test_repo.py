"""`composia repo`: what a person reads before anything is forgotten."""

from __future__ import annotations

import json

import pytest

from composia.model.backup import BackupStatus
from composia.model.config import BackupConfig
from composia.model.meta import Keep
from composia.model.task import Status
from tests.twins.office import NOW, MemoryOffice, backup
from tests.unit.cli.conftest import Composia


@pytest.fixture(autouse=True)
def keeps_one(office: MemoryOffice) -> None:
    keep = BackupConfig(keep=Keep(last=1))
    office.config = office.config.model_copy(update={"backup": keep})
    office.store.records.append(backup("01B9", task_id="01T", time=NOW.replace(hour=5)))
    office.store.records[0] = backup(task_id="01T")


def test_a_dry_run_is_a_table_for_each_item(composia: Composia, office: MemoryOffice) -> None:
    ended = composia("repo", "forget", "--dry-run")
    assert ended.exit_code == 0
    assert "uploads of my-app on main: last 1" in ended.stdout
    lines = ended.stdout.splitlines()
    assert any("goes" in line and "01B1" in line for line in lines)
    assert any("stays" in line and "01B9" in line and "last: 1 of 1" in line for line in lines)
    assert lines[-1] == "Nothing was done. The same command without --dry-run does it."
    assert ended.stderr == ""
    assert office.store.admitted == {}


def test_a_dry_run_is_json_for_programs(composia: Composia) -> None:
    shown = json.loads(composia("repo", "forget", "--dry-run", "--json").stdout)
    assert shown["plan"]["items"][0]["backups"]


def test_nothing_is_forgotten_without_a_word(composia: Composia, office: MemoryOffice) -> None:
    assert composia("repo", "forget").exit_code == 2
    assert office.store.admitted == {}
    office.admit.status = Status.SUCCEEDED
    assert composia("repo", "forget", "--service", "my-app", "--yes").exit_code == 0


@pytest.mark.parametrize("verb", ["prune", "adopt"])
def test_tidying_waits_for_its_end(composia: Composia, office: MemoryOffice, verb: str) -> None:
    office.admit.status = Status.SUCCEEDED
    ended = composia("repo", verb)
    assert (ended.exit_code, "succeeded" in ended.stdout) == (0, True)


def test_another_repository_is_adopted_by_its_id(composia: Composia) -> None:
    shown = composia("repo", "adopt", "--repository-id", "e" * 64, "--dry-run")
    assert "Adopt repository eeeeeeeeeeee on main instead of" in shown.stdout
    assert composia("repo", "adopt", "--repository-id", "nonsense").exit_code == 3


def test_the_status_names_what_is_missing_and_unproven(
    composia: Composia, office: MemoryOffice
) -> None:
    office.store.records.append(backup("01B7", missing=True))
    office.store.records.append(backup("01B8", status=BackupStatus.UNPROVEN))
    assert "(1 unproven, 1 missing)" in composia("repo", "status").stdout


def test_where_no_repository_is_known_the_old_one_is_thought_of_first(
    composia: Composia, office: MemoryOffice
) -> None:
    office.store.repository = None
    assert "none known: `composia repo adopt` takes" in composia("repo", "status").stdout
    refused = composia("restore", "my-app", "--yes")
    assert (refused.exit_code, "composia repo adopt" in refused.stderr) == (3, True)


def test_an_unproven_backup_is_restored_by_a_word(composia: Composia, office: MemoryOffice) -> None:
    office.store.records = [backup("01B8", status=BackupStatus.UNPROVEN)]
    refused = composia("restore", "my-app", "--dry-run")
    assert (refused.exit_code, "--unproven" in refused.stderr) == (3, True)
    assert "01B8" in composia("restore", "my-app", "--unproven", "--dry-run").stdout
