"""Proofs and copies from the command line."""

from __future__ import annotations

import pytest

from composia.model.config import Offsite
from composia.model.offsite import CopyState
from composia.model.task import Status
from tests.twins.office import NOW, MemoryOffice, backup
from tests.unit.cli.conftest import Composia


@pytest.fixture
def off(office: MemoryOffice) -> MemoryOffice:
    """Two places, and one backup in the first of them."""
    offsite = tuple(Offsite(name=name, profile=f"offsite-{name}") for name in ("s3", "b2"))
    office.config = office.config.model_copy(update={"offsite": offsite})
    office.store.copied["s3"] = CopyState(
        repository_id="c" * 64, snapshots=2, complete_at=NOW, tried_at=NOW
    )
    office.store.records.append(
        backup("01C1", copies=("s3",), verified_at=NOW, verification="restored 1 file")
    )
    office.admit.status = Status.SUCCEEDED
    return office


def test_a_backup_is_verified_and_says_so(composia: Composia, off: MemoryOffice) -> None:
    assert composia("backups", "verify", "01C1").exit_code == 0
    shown = composia("backups", "show", "01C1").stdout
    assert "restored 1 file" in shown
    assert "s3" in shown


def test_the_status_says_which_copy_is_complete_and_which_was_never_made(
    composia: Composia, off: MemoryOffice
) -> None:
    shown = composia("repo", "status").stdout
    assert "2 snapshots, complete" in shown
    assert "composia repo copy b2" in shown
    assert composia("repo", "copy", "s3").exit_code == 0


def test_a_copy_that_failed_says_why(composia: Composia, off: MemoryOffice) -> None:
    off.store.copied["s3"] = CopyState(tried_at=NOW, problem="cannot be reached")
    assert "cannot be reached" in composia("repo", "status").stdout


def test_a_restore_takes_the_copy_that_is_named(composia: Composia, off: MemoryOffice) -> None:
    words = ("backups", "restore", "01C1", "--to", "scratch", "--dry-run")
    assert "from s3" in composia(*words, "--from", "s3").stdout
    ended = composia("restore", "my-app", "--node", "main", "--from", "s3", "--dry-run")
    assert "from s3" in ended.stdout


@pytest.mark.usefixtures("off")
def test_a_check_reads_the_part_that_is_next(composia: Composia) -> None:
    assert "part 1/8" in composia("repo", "check", "--parts", "8", "--dry-run").stdout
