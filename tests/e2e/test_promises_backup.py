"""Promises 7 to 9, and what a record says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import services
from tests.e2e.trees import fill
from tests.e2e.world import PATIENCE, World, until

COUNT = "select count(*) from pg_stat_activity"
DUMPS = f"{COUNT} where application_name like 'composia-dump%'"
AS_ADMIN = ("-XU", "postgres")
UNTIL_IT_DUMPS = f"""
until [ "$(psql {" ".join(AS_ADMIN)} -Atc "{DUMPS}")" -gt 0 ]; do sleep 0.05; done
"""


def a_service(world: World, name: str, **more: str) -> Path:
    """Deployed and filled; gives its folder."""
    world.service(name, services.files_compose(), services.files_meta(name), **more)
    world.ok(f"/services/{name}/deploy")
    fill(world.folder(name) / "data/uploads")
    (world.volume(f"{name}_cache") / "x").write_text("x")
    return world.folder(name)


def test_promise_5_a_dump_throws_nobody_out_of_the_database(world: World) -> None:
    world.service("open", services.database_compose(), services.database_meta("open"))
    world.ok("/services/open/deploy")
    rows = "create table t as select md5(n::text) from generate_series(1, 3000000) n"
    world.sql("open", rows)
    container = world.container("open", "postgres")
    with in_the_container(world, container, "psql", *AS_ADMIN, "-c", "select pg_sleep(600)"):
        until(lambda: sessions(world) == "1", "the session")
        world.ok("/services/open/backup")
        assert sessions(world) == "1"
        # The same for one that ends half-way. Its beginning is looked for in there: a look from
        # outside takes so long that it may have come to its end.
        with in_the_container(world, container, "sh", "-c", UNTIL_IT_DUMPS) as look:
            task = world.start("/services/open/backup")
            assert look.wait(timeout=PATIENCE) == 0
            world.post(f"/tasks/{task}/cancel")
        assert world.wait(task)["status"] == "cancelled"
        until(lambda: dumps(world) == "0", "the end of the dump")
        assert sessions(world) == "1"


@contextmanager
def in_the_container(
    world: World, container: str, *words: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs in it meanwhile."""
    client = ["docker", "-H", world.lab.nodes["main"].docker_host, "exec", container]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen([*client, *words], stdout=nowhere, stderr=nowhere) as running:
        try:
            yield running
        finally:
            running.kill()


def sessions(world: World) -> str:
    """How many of the session above there are."""
    return world.sql("open", f"{COUNT} where query = 'select pg_sleep(600)'")


def dumps(world: World) -> str:
    return world.sql("open", DUMPS)


def test_promise_7_a_dump_that_fails_half_way_leaves_no_snapshot_and_no_success(
    world: World,
) -> None:
    world.service("half", services.database_compose(), services.database_meta("half"))
    world.ok("/services/half/deploy")
    world.sql("half", "create table first(x int)")
    world.ok("/services/half/backup")
    world.sql("half", "create table t as select md5(n::text) from generate_series(1, 100000) n")
    world.sql("half", "checkpoint")
    path = world.sql("half", "select pg_relation_filepath('t')")
    before = snapshots(world)
    # Half of the table's pages are ruined: pg_dumpall ends with an error after half its output.
    world.docker("stop", world.container("half", "postgres"))
    ruin_second_half(world.volume("half_pgdata") / path)
    world.docker("start", world.container("half", "postgres"))
    world.sql("half", "select 1")

    task = world.fails("/services/half/backup")

    record = world.backup_of(task, "database")
    assert record["status"] == "failed"
    assert record["snapshot_id"] is None
    assert "pg_dump" in record["error"]
    assert snapshots(world) == before


def test_promise_8_a_missing_path_fails_its_item_and_no_other(world: World) -> None:
    folder = a_service(world, "missing")
    (folder / "data/uploads").rename(folder / "data/gone")

    task = world.fails("/services/missing/backup")

    assert world.backup_of(task, "uploads")["status"] == "failed"
    assert "./data/uploads" in world.backup_of(task, "uploads")["error"]
    assert world.backup_of(task, "cache")["status"] == "success"


def test_promise_8_an_empty_source_fails(world: World) -> None:
    world.service("empty", services.files_compose(), services.files_meta("empty"))
    world.ok("/services/empty/deploy")

    task = world.fails("/services/empty/backup", {"data_items": ["uploads"]})

    assert "empty" in world.backup_of(task, "uploads")["error"]


def test_promise_8_a_live_database_among_the_files_says_so(world: World) -> None:
    folder = a_service(world, "sqlite")
    (folder / "data/uploads/app.sqlite").write_bytes(b"SQLite format 3\0" + bytes(84))

    task = world.ok("/services/sqlite/backup", {"data_items": ["uploads"]})

    warnings = " ".join(world.backup_of(task, "uploads")["warnings"])
    assert "app.sqlite" in warnings
    assert "files.tar_after_stop" in warnings


def test_promise_9_the_record_matches_the_repository(world: World) -> None:
    folder = a_service(world, "matches")

    task = world.ok("/services/matches/backup", {"data_items": ["uploads"]})

    record = world.backup_of(task, "uploads")
    files = [path for path in (folder / "data/uploads").rglob("*") if path.is_file()]
    sizes = sum(path.stat().st_size for path in files if not path.is_symlink())
    assert len(record["snapshot_id"]) == 64
    assert record["status"] == "success"
    assert record["files"] >= len(files)
    assert record["size"] >= sizes
    assert record["added"] > 0
    assert record["duration"] > 0
    assert record["snapshot_id"] in snapshots(world)


def test_excluded_folders_are_not_saved(world: World) -> None:
    folder = a_service(world, "excludes")
    (folder / "data/uploads/temp").mkdir()
    (folder / "data/uploads/temp/scratch").write_text("no")
    (folder / "data/uploads/temporary").write_text("yes")

    task = world.ok("/services/excludes/backup", {"data_items": ["uploads"]})

    record = world.backup_of(task, "uploads")
    listing = world.get(f"/backups/{record['id']}/files", path="files/data/uploads").text
    assert "temporary" in listing
    assert '"files/data/uploads/temp"' not in listing


def ruin_second_half(path: Path) -> None:
    """Fill the second half of a file with noise."""
    half = path.stat().st_size // 2 // 8192 * 8192
    with path.open("r+b") as file:
        file.seek(half)
        file.write(os.urandom(path.stat().st_size - half))


def snapshots(world: World) -> set[str]:
    """The names of the repository's snapshot files."""
    return set(os.listdir(world.lab.repository / "snapshots"))


def test_an_update_saves_first_and_changes_nothing_where_that_fails(world: World) -> None:
    folder = a_service(world, "renewed")
    first = world.container("renewed", "web")
    world.commit({"renewed/docker-compose.yaml": services.files_compose() + "\n# as before\n"})

    updated = world.ok("/services/renewed/update", {"backup_first": True})

    saved = world.backup_of(updated, "uploads")
    assert (saved["kind"], saved["status"]) == ("before_update", "success")
    assert world.container("renewed", "web") == first
    changed = services.files_compose().replace("web:", 'web:\n    labels: {changed: "yes"}')
    world.commit({"renewed/docker-compose.yaml": changed})
    (folder / "data/uploads").rename(folder / "data/elsewhere")
    failed = world.fails("/services/renewed/update", {"backup_first": True})
    assert "Nothing was updated." in failed["error"]["hint"]
    assert world.container("renewed", "web") == first
    (folder / "data/elsewhere").rename(folder / "data/uploads")
    world.ok(f"/tasks/{failed['id']}/retry")
    assert world.container("renewed", "web") != first
