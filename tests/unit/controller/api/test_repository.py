"""`/repository`: who may tidy it, and what is shown of that."""

from __future__ import annotations

import httpx2
import pytest

from composia.model.backup import BackupStatus
from composia.model.config import BackupConfig
from composia.model.meta import Keep
from composia.model.task import Status
from tests.twins.office import NOW, MemoryOffice, backup

Client = httpx2.AsyncClient


@pytest.fixture
def keeps_one(office: MemoryOffice) -> None:
    """A default policy under which the second of two backups goes."""
    keep = BackupConfig(keep=Keep(last=1))
    office.config = office.config.model_copy(update={"backup": keep})
    office.store.records.append(backup("01B9", task_id="01T", time=NOW.replace(hour=5)))
    office.store.records[0] = backup(task_id="01T")


@pytest.mark.usefixtures("keeps_one")
async def test_a_dry_run_says_what_goes_and_what_stays_and_why(
    admin: Client, office: MemoryOffice
) -> None:
    answer = await admin.post("/repository/forget?dry_run=true")
    (uploads,) = [one for one in answer.json()["plan"]["items"] if one["data_item"] == "uploads"]
    found = {one["backup_id"]: (one["keeps"], one["why"][0]) for one in uploads["backups"]}
    assert found["01B9"] == (True, "last: 1 of 1")
    assert found["01B1"] == (False, "a younger one stands for each of its periods")
    assert office.store.admitted == {}


@pytest.mark.usefixtures("keeps_one")
async def test_retention_is_a_task(admin: Client) -> None:
    answer = await admin.post("/repository/forget", json={"services": ["my-app"]})
    assert (answer.status_code, answer.json()["type"]) == (202, "forget")
    assert answer.json()["title"].startswith("Forget 1 of")


async def test_an_unknown_service_is_named(admin: Client) -> None:
    answer = await admin.post("/repository/forget", json={"services": ["my-ap"]})
    assert (answer.status_code, "my-app" in answer.text) == (404, True)


@pytest.mark.parametrize("call", ["prune", "adopt"])
async def test_tidying_is_a_task(admin: Client, call: str) -> None:
    answer = await admin.post(f"/repository/{call}")
    assert (answer.status_code, answer.json()["type"]) == (202, call)


@pytest.mark.parametrize("call", ["forget", "prune"])
async def test_without_a_repository_there_is_nothing_to_tidy(
    admin: Client, office: MemoryOffice, call: str
) -> None:
    office.store.repository = None
    assert (await admin.post(f"/repository/{call}")).status_code == 409


@pytest.mark.parametrize("call", ["forget", "prune", "adopt"])
@pytest.mark.parametrize("token", ["read-token", "operate-token"])
async def test_only_an_admin_tidies(anyone: Client, call: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert (await anyone.post(f"/repository/{call}", headers=headers)).status_code == 403


async def test_missing_and_unproven_ones_are_counted(admin: Client, office: MemoryOffice) -> None:
    office.store.records += [
        backup("01B4", missing=True),
        backup("01B5", status=BackupStatus.UNPROVEN),
        backup("01B6", status=BackupStatus.UNPROVEN, verified_at=NOW),
    ]
    found = (await admin.get("/repository")).json()
    assert (found["snapshots"], found["missing"], found["unproven"]) == (4, 1, 1)


async def test_the_last_of_each_kind_is_shown(admin: Client, office: MemoryOffice) -> None:
    task = (await admin.post("/repository/prune")).json()["id"]
    assert (await admin.get("/repository")).json()["last_prune_succeeded"] is None
    office.admit.end(task, Status.FAILED)
    found = (await admin.get("/repository")).json()
    assert (found["last_prune_succeeded"], found["last_forget_succeeded"]) == (False, None)
