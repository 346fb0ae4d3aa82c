"""Promises 11 to 15, through the API."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import services
from tests.e2e.disks import disk
from tests.e2e.trees import fill, look
from tests.e2e.world import World


def a_service(world: World, name: str, **more: str) -> Path:
    """Deployed and filled; gives the uploads."""
    world.service(name, services.files_compose(), services.files_meta(name), **more)
    world.ok(f"/services/{name}/deploy")
    uploads = world.folder(name) / "data/uploads"
    fill(uploads)
    (world.volume(f"{name}_cache") / "x").write_text("first")
    return uploads


def change(uploads: Path) -> None:
    """As if somebody had used it since."""
    (uploads / "folder 0/file0").write_text("changed")
    (uploads / "new").write_text("new")
    shutil.rmtree(uploads / "folder 1")


def of_the_user(uploads: Path) -> dict[str, Any]:
    """As it looks without what is kept there of what was replaced."""
    seen = look(uploads).items()
    return {path: one for path, one in seen if ".composia" not in path and path != "hard links"}


def backup(world: World, service: str, item: str) -> dict[str, Any]:
    """Back one item up; its record."""
    task = world.ok(f"/services/{service}/backup", {"data_items": [item]})
    return world.backup_of(task, item)


def test_promise_13_everything_comes_back_as_it_was(world: World) -> None:
    uploads = a_service(world, "exact")
    before = look(uploads)
    world.ok("/services/exact/backup")
    change(uploads)
    (world.volume("exact_cache") / "x").write_text("second")
    running = world.containers("exact", running=True)

    world.ok("/services/exact/restore")

    assert look(uploads) == before
    assert (world.volume("exact_cache") / "x").read_text() == "first"
    assert world.containers("exact", running=True) == running


def test_promise_11_what_is_excluded_is_carried_across(world: World) -> None:
    uploads = a_service(world, "carries")
    (uploads / "temp").mkdir()
    (uploads / "temp/now").write_text("old")
    backup(world, "carries", "uploads")
    (uploads / "temp/now").write_text("today")
    change(uploads)

    world.ok("/services/carries/restore", {"data_items": ["uploads"]})

    assert (uploads / "temp/now").read_text() == "today"
    assert not (uploads / "new").exists()


def test_promise_11_a_disk_of_its_own_is_saved_before_it_is_replaced(world: World) -> None:
    uploads = a_service(world, "ondisk")
    world.ok("/services/ondisk/stop")
    with disk(uploads):
        world.ok("/services/ondisk/deploy")
        record = backup(world, "ondisk", "uploads")
        before = of_the_user(uploads)
        change(uploads)
        changed = of_the_user(uploads)
        world.ok(f"/backups/{record['id']}/restore")
        assert of_the_user(uploads) == before

        safe = world.backups(service="ondisk")[0]
        assert (safe["kind"], safe["data_item"]) == ("before_restore", "uploads")
        world.ok(f"/backups/{safe['id']}/restore")
        # What is fetched lies in it too: that is seen by its own time.
        assert {**of_the_user(uploads), ".": changed["."]} == changed
        world.ok("/services/ondisk/stop")


def test_promise_11_a_flipped_byte_is_found_before_the_exchange(world: World) -> None:
    uploads = a_service(world, "flipped")
    (uploads / "big").write_bytes(os.urandom(300_000))
    older = packs(world)
    record = backup(world, "flipped", "uploads")
    change(uploads)
    changed = look(uploads)
    biggest = max(packs(world) - older, key=lambda path: path.stat().st_size)
    original = flip(biggest)

    task = world.fails(f"/backups/{record['id']}/restore")

    assert look(uploads) == changed
    assert task["error"]["step"] == "fetch_data"
    assert task["error"]["hint"]
    biggest.write_bytes(original)
    world.ok(f"/backups/{record['id']}/restore")


def test_promise_12_one_call_brings_the_replaced_data_back(world: World) -> None:
    uploads = a_service(world, "regret")
    world.ok("/services/regret/backup")
    change(uploads)
    changed = look(uploads)
    task = world.ok("/services/regret/restore")
    assert look(uploads) != changed
    assert "rollback" in world.task(task["id"])["actions"]

    world.ok(f"/tasks/{task['id']}/rollback")

    assert look(uploads) == changed
    assert world.containers("regret", running=True)
    assert world.post(f"/tasks/{task['id']}/rollback").status_code == 409


def test_promise_14_to_a_node_that_lost_everything(world: World) -> None:
    uploads = a_service(world, "lost")
    before = look(uploads)
    world.ok("/services/lost/backup")
    for container in world.containers("lost"):
        world.docker("rm", "-f", container)
    world.docker("volume", "rm", "lost_cache")
    shutil.rmtree(world.folder("lost"))

    world.ok("/services/lost/restore")
    world.ok("/services/lost/deploy")

    assert look(uploads) == before
    assert (world.volume("lost_cache") / "x").read_text() == "first"
    assert world.containers("lost", running=True)


def test_promise_14_to_a_scratch_folder_touches_nothing_live(world: World) -> None:
    uploads = a_service(world, "scratch")
    before = look(uploads)
    record = backup(world, "scratch", "uploads")
    change(uploads)
    changed = look(uploads)

    task = world.ok(f"/backups/{record['id']}/restore", {"to": "scratch"})

    folder = Path(task["result"]["folder"])
    assert look(uploads) == changed
    assert any(look(found) == before for found in folder.rglob("uploads"))


def test_promise_14_a_single_file(world: World) -> None:
    uploads = a_service(world, "single")
    record = backup(world, "single", "uploads")
    was = (uploads / "folder 0/file0").read_bytes()
    (uploads / "folder 0/file0").write_text("changed")
    (uploads / "new").write_text("stays")

    path = "files/data/uploads/folder 0/file0"
    world.ok(f"/backups/{record['id']}/restore", {"path": path})

    assert (uploads / "folder 0/file0").read_bytes() == was
    assert (uploads / "new").read_text() == "stays"


def test_promise_14_as_it_was_at_a_time(world: World) -> None:
    uploads = a_service(world, "times")
    first = backup(world, "times", "uploads")
    before = look(uploads)
    change(uploads)
    backup(world, "times", "uploads")

    world.ok("/services/times/restore", {"data_items": ["uploads"], "at": first["time"]})

    assert look(uploads) == before


@pytest.mark.parametrize(
    ("name", "user", "password"),
    [("import", "postgres", "simple"), ("import-odd", "odd user", "it's $ecret")],
)
def test_promise_15_a_dump_is_imported_beside_the_live_database(
    world: World, name: str, user: str, password: str
) -> None:
    quoted = '"' + password.replace("$", "$$") + '"'
    compose = services.database_compose(f'"{user}"', quoted)
    world.service(name, compose, services.database_meta(name))
    world.ok(f"/services/{name}/deploy")
    world.sql(name, "create table t as select generate_series(1, 1000) n", user)
    world.sql(name, "create role reader login password 'planted-role-secret'", user)
    world.ok(f"/services/{name}/backup")
    world.sql(name, "drop table t; drop role reader; create table later()", user)

    for _ in range(2):
        world.ok(f"/services/{name}/restore")
        assert world.sql(name, "select count(*) from t", user) == "1000"
        assert world.sql(name, "select to_regclass('later') is null", user) == "t"
        roles = "select count(*) from pg_roles where rolname = 'reader'"
        assert world.sql(name, roles, user) == "1"


def test_promise_15_a_failed_import_changes_nothing(world: World) -> None:
    compose, meta = services.database_compose(), services.database_meta("bad-import")
    world.service("bad-import", compose, meta)
    world.ok("/services/bad-import/deploy")
    world.sql("bad-import", "create table t as select 1 as n")
    # The dump names a folder outside of the data, which the fresh database does not have.
    world.docker(
        "exec", world.container("bad-import", "postgres"), "sh", "-c",
        "mkdir /elsewhere && chown postgres /elsewhere",
    )  # fmt: skip
    world.sql("bad-import", "create tablespace elsewhere location '/elsewhere'")
    record = backup(world, "bad-import", "database")
    world.sql("bad-import", "update t set n = 2")

    task = world.fails(f"/backups/{record['id']}/restore")

    assert "elsewhere" in task["error"]["message"]
    assert world.sql("bad-import", "select n from t") == "2"


def test_a_dump_is_put_as_a_file_by_files_copy(world: World) -> None:
    meta = services.database_meta("as-file", as_file=True)
    world.service("as-file", services.database_compose(), meta)
    world.ok("/services/as-file/deploy")
    world.sql("as-file", "create table t as select 1 as n")
    backup(world, "as-file", "database")

    world.ok("/services/as-file/restore")

    dump = (world.folder("as-file") / "restore/dump.sql").read_text()
    assert "-- PostgreSQL database cluster dump complete" in dump


def test_files_and_folders_of_a_backup_are_browsed_and_downloaded(world: World) -> None:
    uploads = a_service(world, "downloads")
    record = backup(world, "downloads", "uploads")

    path = "files/data/uploads/folder 0/file0"
    answer = world.get(f"/backups/{record['id']}/download", path=path)

    assert answer.content == (uploads / "folder 0/file0").read_bytes()
    tar = world.get(f"/backups/{record['id']}/download", path="files/data/uploads")
    assert tar.content[257:262] == b"ustar"


def packs(world: World) -> set[Path]:
    """The repository's files of data."""
    return {path for path in (world.lab.repository / "data").rglob("*") if path.is_file()}


def flip(path: Path) -> bytes:
    """Change one byte in the middle; gives what it was."""
    original = path.read_bytes()
    path.chmod(0o600)
    changed = bytearray(original)
    changed[len(changed) // 2] ^= 0xFF
    path.write_bytes(changed)
    return original
