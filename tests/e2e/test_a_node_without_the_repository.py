"""`main_nodes: [main]`: what runs on `edge` is backed up and restored all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import services, told
from tests.e2e.test_promises_backup import ruin_second_half, snapshots
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until

#: Bytes that take rustic a few seconds, so that something can happen meanwhile.
MUCH = 192 * 1024 * 1024


@pytest.fixture(scope="module")
def uploads(world: World) -> Path:
    """A service with files and a volume that runs on `edge` alone."""
    world.service("away", services.files_compose(), services.files_meta("away", nodes="edge"))
    world.ok("/services/away/deploy")
    found = world.folder("away", "edge") / "data/uploads"
    fill(found)
    (world.volume("away_cache", "edge") / "x").write_text("x")
    return found


@pytest.fixture(scope="module")
def database(world: World) -> World:
    """A PostgreSQL on `edge`."""
    meta = services.database_meta("sql").replace("[main]", "[edge]")
    world.service("sql", services.database_compose(), meta)
    world.ok("/services/sql/deploy")
    world.sql("sql", "create table t as select 1 as n", node="edge")
    return world


@pytest.fixture
def much(world: World, uploads: Path) -> Iterator[Path]:
    """Something new that takes a while to save."""
    # What an earlier test has broken off would be taken for it.
    until(lambda: not uploading(world), "the end of earlier uploads")
    file = uploads / "much"
    file.write_bytes(os.urandom(MUCH))
    yield file
    file.unlink()


def records(world: World, service: str) -> set[str]:
    """The snapshots that the records of a service name."""
    return {one["snapshot_id"] for one in world.backups(service=service) if one["snapshot_id"]}


def uploading(world: World) -> list[str]:
    """What is on its way into the repository."""
    scratch = world.lab.repository / ".composia-main"
    return os.listdir(scratch) if scratch.is_dir() else []


def busy(world: World, task: str) -> None:
    """Wait until rustic sends data."""
    until(lambda: bool(uploading(world)), f"data of {task}")


def test_files_are_backed_up_and_restored_in_place(world: World, uploads: Path) -> None:
    before = look(uploads)
    world.ok("/services/away/backup")
    (uploads / "new").write_text("new")
    (uploads / "folder 1/file1").write_text("changed")

    world.ok("/services/away/restore")

    assert look(uploads) == before
    assert records(world, "away") <= snapshots(world)


def test_a_database_is_dumped_and_imported(database: World) -> None:
    database.ok("/services/sql/backup")
    database.sql("sql", "drop table t", node="edge")

    database.ok("/services/sql/restore")

    assert database.sql("sql", "select n from t", node="edge") == "1"


def test_a_backup_of_the_other_node_is_restored(world: World) -> None:
    world.service("both", services.files_compose(), services.files_meta("both", nodes="main, edge"))
    world.ok("/services/both/deploy")
    on_main = world.folder("both") / "data/uploads"
    fill(on_main)
    task = world.ok("/services/both/backup", {"nodes": ["main"], "data_items": ["uploads"]})
    backup = world.backup_of(task, "uploads")

    world.ok(f"/backups/{backup['id']}/restore", {"node": "edge"})

    assert look(world.folder("both", "edge") / "data/uploads") == look(on_main)


def test_both_nodes_are_backed_up_in_one_task(world: World) -> None:
    world.service("pair", services.files_compose(), services.files_meta("pair", nodes="main, edge"))
    world.ok("/services/pair/deploy")
    for node in ("main", "edge"):
        (world.folder("pair", node) / "data/uploads/here").write_text(node)

    task = world.ok("/services/pair/backup", {"data_items": ["uploads"]})

    found = [world.record(id_) for id_ in task["result"]["backup_ids"]]
    assert sorted(one["node"] for one in found) == ["edge", "main"]
    for one in found:
        path = "files/data/uploads/here"
        assert world.get(f"/backups/{one['id']}/download", path=path).text == one["node"]


def test_the_repositorys_profile_never_comes_to_the_node(world: World, uploads: Path) -> None:
    world.ok("/services/away/backup")

    password = world.lab.facts.rustic_password.encode()
    node = world.lab.nodes["edge"]
    kept = [
        path
        for folder in (node.repo_dir, node.state_dir)
        for path, content in told.files(folder)
        if password in content
    ]
    assert kept == []


def test_no_secret_is_in_the_process_list_while_it_saves(
    world: World, uploads: Path, much: Path
) -> None:
    task = world.start("/services/away/backup")
    busy(world, task)
    shown = told.command_lines()
    assert world.wait(task)["status"] == "succeeded"

    said = [*told.logs(world.lab.state), world.log(task), world.get(f"/tasks/{task}").text]
    password, secret = world.lab.facts.rustic_password, "rest:http"
    assert any("docker run" in text for text in shown)
    assert [text for text in (*shown, *said) if password in text or secret in text] == []


@pytest.mark.parametrize("process", ["agent:main", "controller"])
def test_a_process_on_the_way_killed_meanwhile(
    world: World, uploads: Path, much: Path, process: str
) -> None:
    before = look(uploads)
    task = world.start("/services/away/backup", {"data_items": ["uploads"]})
    busy(world, task)
    world.lab.kill(process)
    time.sleep(3)
    world.lab.start(process)

    ended = world.wait(task)

    assert ended["status"] == "succeeded", (ended, world.log(task))
    (uploads / "new").write_text("new")
    world.ok("/services/away/restore", {"data_items": ["uploads"]})
    assert look(uploads) == before
    assert records(world, "away") <= snapshots(world)


def test_the_link_to_the_repository_cut_for_a_while(
    world: World, uploads: Path, much: Path
) -> None:
    task = world.start("/services/away/backup", {"data_items": ["uploads"]})
    busy(world, task)
    world.lab.cut("main", "controller")
    time.sleep(10)
    world.lab.join("main", "controller")

    ended = world.wait(task)

    assert ended["status"] == "succeeded", (ended, world.log(task))
    assert world.backup_of(ended, "uploads")["size"] > MUCH


def test_a_restore_waits_for_the_repository(world: World, uploads: Path, much: Path) -> None:
    world.ok("/services/away/backup", {"data_items": ["uploads"]})
    before = look(uploads)
    much.write_text("changed")
    task = world.start("/services/away/restore", {"data_items": ["uploads"]})
    until(lambda: "edge fetch_data: begun" in world.log(task), "the fetching")
    world.lab.kill("agent:main")
    time.sleep(3)
    world.lab.start("agent:main")

    ended = world.wait(task)

    assert ended["status"] == "succeeded", (ended, world.log(task))
    assert look(uploads) == before


def test_an_agent_that_is_stopped_cleans_up_over_the_way(
    world: World, uploads: Path, much: Path
) -> None:
    before = snapshots(world)
    task = world.start("/services/away/backup", {"data_items": ["uploads"]})
    busy(world, task)
    pid = world.lab.pid("agent:edge")
    assert pid
    os.kill(pid, signal.SIGTERM)
    until(lambda: world.lab.pid("agent:edge") is None, "the end of the agent")
    world.lab.start("agent:edge")

    ended = world.wait(task)

    assert ended["status"] == "succeeded", (ended, world.log(task))
    record = world.backup_of(ended, "uploads")
    assert snapshots(world) - before == {record["snapshot_id"]}


def test_the_nodes_own_agent_killed_leaves_no_snapshot_without_a_record(
    world: World, uploads: Path, much: Path
) -> None:
    before = snapshots(world)
    world.lab.clear_failures()
    world.lab.fail("save_data:middle", "kill-agent:edge")
    task = world.start("/services/away/backup", {"data_items": ["uploads"]})
    until(lambda: world.lab.pid("agent:edge") is None, "the end of the agent")
    world.lab.start("agent:edge")

    ended = world.wait(task)

    assert ended["status"] == "succeeded", (ended, world.log(task))
    record = world.backup_of(ended, "uploads")
    assert snapshots(world) - before == {record["snapshot_id"]}
    names = world.docker("ps", "-a", "--format", "{{.Names}}", node="edge")
    assert "composia-" not in names


def test_a_cancelled_backup_leaves_nothing(world: World, uploads: Path, much: Path) -> None:
    before = snapshots(world)
    task = world.start("/services/away/backup", {"data_items": ["uploads"]})
    busy(world, task)

    world.post(f"/tasks/{task}/cancel")

    assert world.wait(task)["status"] == "cancelled"
    assert snapshots(world) == before
    until(lambda: not uploading(world), "no half uploads")


def test_a_dump_that_fails_half_way_leaves_no_snapshot(database: World) -> None:
    world = database
    world.sql("sql", "create table u as select md5(n::text) from generate_series(1, 100000) n",
              node="edge")  # fmt: skip
    world.sql("sql", "checkpoint", node="edge")
    path = world.sql("sql", "select pg_relation_filepath('u')", node="edge")
    before = snapshots(world)
    container = world.container("sql", "postgres", "edge")
    world.docker("stop", container, node="edge")
    ruin_second_half(world.volume("sql_pgdata", "edge") / path)
    world.docker("start", container, node="edge")
    world.sql("sql", "select 1", node="edge")

    task = world.fails("/services/sql/backup")

    assert world.backup_of(task, "database")["snapshot_id"] is None
    assert snapshots(world) == before


def test_without_the_node_that_holds_it_it_is_refused_at_once(world: World, uploads: Path) -> None:
    world.lab.kill("agent:main")
    until(lambda: not world.get("/nodes/main").json()["online"], "main offline")
    try:
        answer = world.post("/services/away/backup")
    finally:
        world.lab.start("agent:main")
        until(lambda: bool(world.get("/nodes/main").json()["online"]), "main online")

    assert answer.status_code == 409
    assert "edge reaches the repository through main" in answer.text
