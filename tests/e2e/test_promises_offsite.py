"""Backups are proven by restoring them, copied off site, and come back from there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from composia.agent.passage import nobodys_certificate
from tests.e2e import services
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until
from tests.lab.catalog import BACKUP_COMPOSE
from tests.s3 import S3, served

PASSWORD = "planted-offsite-secret"  # planted
OFFSITE = [{"name": "s3", "profile": "offsite-s3", "schedule": "none"}]


@pytest.fixture(scope="module")
def s3(world: World) -> Iterator[S3]:
    """An S3 server outside all nodes, which config.yaml and the rustic service know."""
    config = Path(world.lab.config)
    before = config.read_text()
    host = world.lab.url.split("//")[1].split(":")[0]
    with served(host) as server:
        world.commit(
            {
                "infra-backup/config/offsite-s3.toml": server.profile(PASSWORD, "/copy"),
                "infra-backup/config/nobody.pem": nobodys_certificate().decode(),
                "infra-backup/docker-compose.yaml": BACKUP_COMPOSE
                + "    environment: {SSL_CERT_FILE: /config/nobody.pem}\n",
            }
        )
        changed = yaml.safe_load(before)
        changed["controller"]["offsite"] = OFFSITE
        config.write_text(yaml.safe_dump(changed))
        assert world.post("/config/reload").status_code == 200
        yield server
        config.write_text(before)


@pytest.fixture(scope="module")
def saved(world: World, s3: S3) -> dict[str, str]:
    """Backups of files on both nodes and of a database, by item and node."""
    meta = services.files_meta("off", nodes="main, edge", strategy="files.tar_after_stop")
    world.service("off", services.files_compose(), meta)
    world.service("base", services.database_compose(), services.database_meta("base"))
    for name in ("off", "base"):
        world.ok(f"/services/{name}/deploy")
    for node in ("main", "edge"):
        fill(world.folder("off", node) / "data/uploads")
    world.sql("base", "CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    tasks = [world.ok("/services/base/backup")]
    tasks += [world.ok("/services/off/backup", {"data_items": ["uploads"]})]
    records = [world.record(one) for task in tasks for one in task["result"]["backup_ids"]]
    return {f"{one['data_item']}@{one['node']}": one["id"] for one in records}


def test_backups_are_proven_without_their_service_running(
    world: World, saved: dict[str, str]
) -> None:
    world.ok("/services/off/stop")
    before = [world.containers("base"), world.containers("base", running=True)]

    tasks = [world.ok(f"/backups/{backup}/verify") for backup in saved.values()]

    found = {name: world.record(backup) for name, backup in saved.items()}
    for name in ("uploads@main", "uploads@edge"):
        assert "all equal to what was saved" in found[name]["verification"]
    assert found["database@main"]["verification"] == "imported, 1 tables, 100 rows"
    assert all(record["verified_at"] for record in found.values())
    assert [task["result"]["warnings"] for task in tasks] == [[], [], []]
    assert [world.containers("base"), world.containers("base", running=True)] == before
    assert world.containers("off", running=True) == []
    for node in ("main", "edge"):
        aside = world.lab.nodes[node].repo_dir / ".composia"
        assert not aside.exists() or list(aside.iterdir()) == []


def test_what_was_copied_off_site_comes_back_when_the_repository_is_gone(
    world: World, saved: dict[str, str]
) -> None:
    uploads = world.folder("off") / "data/uploads"
    before = look(uploads)
    copied = world.ok("/repository/copy")
    (uploads / "new").write_text("new")
    repository = Path(world.lab.repository)
    repository.rename(repository.with_name("lost"))
    repository.mkdir()

    lost = world.fails("/services/off/restore", {"node": "main", "data_items": ["uploads"]})
    from_copy = {"node": "main", "data_items": ["uploads"], "from": "s3"}
    world.ok("/services/off/restore", from_copy)
    elsewhere = world.post("/services/off/restore", {**from_copy, "node": "edge"})

    assert look(uploads) == before
    assert "the repository is gone" in lost["error"]["message"]
    assert (elsewhere.status_code, "main_nodes" in elsewhere.json()["hint"]) == (409, True)
    assert copied["result"]["copies"][0]["missing"] == []
    assert world.record(saved["database@main"])["copies"] == ["s3"]
    (shown,) = world.get("/repository").json()["copies"]
    assert (shown["snapshots"], shown["problem"]) == (3, None)
    repository.rmdir()
    repository.with_name("lost").rename(repository)


def test_a_tampered_pack_is_caught_and_the_record_says_so(
    world: World, saved: dict[str, str]
) -> None:
    for pack in Path(world.lab.repository).glob("data/*/*"):
        content = bytearray(pack.read_bytes())
        content[len(content) // 3] ^= 1
        os.chmod(pack, 0o600)
        pack.write_bytes(content)

    failed = world.fails(f"/backups/{saved['uploads@main']}/verify")

    record = world.record(saved["uploads@main"])
    assert record["verified_at"] is None
    assert record["verification"] == failed["error"]["message"]
    assert PASSWORD not in world.log(failed["id"])
    until(lambda: was_told(world, failed["id"]), "the word to the owner")


def was_told(world: World, task: str) -> bool:
    """Whether the owner hears of it, until it is settled."""
    told = world.get("/notifications", event="verify_failed", state="open").json()["items"]
    return [one["task_id"] for one in told] == [task]
