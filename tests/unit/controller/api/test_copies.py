"""Verifying, copying off site and restoring from there, as calls."""

from __future__ import annotations

import httpx2
import pytest

from composia.model.config import Offsite
from composia.model.offsite import CopyState
from tests.twins.office import NOW, MemoryOffice, backup

Client = httpx2.AsyncClient


@pytest.fixture
def off(office: MemoryOffice) -> MemoryOffice:
    """A place that has been copied to, and one backup in it."""
    offsite = (Offsite(name="s3", profile="offsite-s3"),)
    office.config = office.config.model_copy(update={"offsite": offsite})
    office.store.copied["s3"] = CopyState(
        repository_id="c" * 64, snapshots=2, complete_at=NOW, tried_at=NOW
    )
    office.store.records.append(backup("01C1", copies=("s3",), missing=True))
    return office


async def test_a_backup_is_verified_by_a_task_of_its_service(admin: Client) -> None:
    answer = await admin.post("/backups/01B1/verify")
    assert (answer.status_code, answer.json()["type"]) == (202, "verify")
    assert answer.json()["service"] == "my-app"


async def test_a_failed_backup_has_nothing_to_verify(admin: Client) -> None:
    assert (await admin.post("/backups/01B3/verify")).status_code == 409


async def test_copies_are_made_by_a_task_and_shown(admin: Client, off: MemoryOffice) -> None:
    answer = await admin.post("/repository/copy", json={"names": ["s3"]})
    (shown,) = (await admin.get("/repository")).json()["copies"]
    assert (answer.status_code, answer.json()["type"]) == (202, "copy")
    assert (shown["name"], shown["snapshots"], shown["problem"]) == ("s3", 2, None)
    assert (await admin.get("/backups/01C1")).json()["copies"] == ["s3"]


@pytest.mark.usefixtures("off")
async def test_a_copy_that_is_not_configured_is_unknown(admin: Client) -> None:
    assert (await admin.post("/repository/copy", json={"names": ["b2"]})).status_code == 404


@pytest.mark.usefixtures("off")
async def test_a_backup_comes_back_from_a_copy_though_it_is_missing_here(admin: Client) -> None:
    wanted = {"node": "main", "to": "scratch"}
    here = await admin.post("/backups/01C1/restore", json=wanted)
    there = await admin.post("/backups/01C1/restore", json={**wanted, "from": "s3"})
    assert (here.status_code, there.status_code) == (409, 202)
    assert there.json()["title"].endswith("from s3")


@pytest.mark.parametrize("call", ["/repository/copy", "/backups/01B1/verify"])
async def test_a_token_that_reads_only_proves_and_copies_nothing(anyone: Client, call: str) -> None:
    anyone.headers["Authorization"] = "Bearer read-token"
    assert (await anyone.post(call)).status_code == 403
