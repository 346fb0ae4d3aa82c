"""A service whose volumes bind folders of the node: saved, restored and moved, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.disks import disk
from tests.e2e.test_moves_of_databases import COMPOSE, META, WAYS, Inserts
from tests.e2e.world import World, until
from tests.e2e.writing import App, wanted

#: Both in the place of what an `App` has, and one that is refused but need not be saved.
VOLUMES = """
volumes:
  pages: {driver_opts: {type: none, o: bind, device: "${LAB_DISK}/NAME/pages"}}
  data: {driver: local, driver_opts: {type: none, o: "rbind,rw", device: "${LAB_DISK}/NAME/data"}}
  share: {driver_opts: {type: tmpfs, device: tmpfs}}
"""
CHANGES = (
    ("- ./data:/data\n", "- data:/data\n      - share:/share\n"),
    ("\nvolumes:\n  pages:\n", VOLUMES),
    ("include: [./data]", "include: [data]"),
    ("\nbackup:\n", "\n  unprotected: [{source: share, reason: it is elsewhere}]\nbackup:\n"),
)


class BoundApp(App):
    """The service that people write to, with its data on a disk beside everything."""

    def files(self, *args: Any, **options: Any) -> dict[str, str | None]:
        made = super().files(*args, **options)
        for old, new in CHANGES:
            named = new.replace("NAME", self.name)
            made = {path: (text or "").replace(old, named) for path, text in made.items()}
        return dict(made)

    def deploy(self, **options: str) -> None:
        for name in ("data", "pages"):
            (self.device("main") / name).mkdir(parents=True, exist_ok=True)
        super().deploy(**options)

    def device(self, node: str) -> Path:
        return self.world.lab.nodes[node].disk / self.name

    def pages(self, node: str) -> Path:
        return self.device(node) / "pages"

    def log(self, node: str) -> list[str]:
        """What was written, as it lies on the disk."""
        return (self.device(node) / "data/log").read_text().split()


@pytest.fixture
def app(world: World) -> Iterator[BoundApp]:
    world.lab.clear_failures()
    made = BoundApp(world)
    yield made
    made.end()


def test_its_data_comes_back_after_a_loss_and_so_does_what_was_replaced(
    world: World, app: BoundApp
) -> None:
    app.deploy(strategy="files.tar_after_stop")
    app.write("main", "saved")
    ran = app.container()
    saved = world.ok(f"{app.path}/backup")
    record = world.backup_of(saved, "data")
    assert (record["status"], record["files"]) == ("success", 1)
    (app.device("main") / "data/log").unlink()
    app.write("main", "since")

    task = world.ok(f"{app.path}/restore")
    assert app.read("main") == app.log("main") == ["saved"]
    world.ok(f"/tasks/{task['id']}/rollback")
    assert app.read("main") == app.log("main") == ["since"]
    assert app.container() == ran
    refused = world.get("/services").text
    assert "no data item covers the volume share" not in refused


def test_a_disk_of_its_own_is_saved_before_it_gets_its_files_back(
    world: World, app: BoundApp
) -> None:
    with disk(app.device("main") / "data"):
        app.deploy()
        app.write("main", "saved")
        world.ok(f"{app.path}/backup")
        app.write("main", "since")
        task = world.ok(f"{app.path}/restore", {"data_items": ["data"]})
        assert app.read("main") == app.log("main") == ["saved"]
        (safe,) = [one for one in world.backups(service=app.name) if one["task_id"] == task["id"]]
        assert (safe["kind"], safe["data_item"]) == ("before_restore", "data")
        app.end()


def test_it_moves_while_people_write_and_back_again(world: World, app: BoundApp) -> None:
    app.deploy(strategy="files.tar_after_stop")
    theirs = app.device("edge") / "data/theirs"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("was here before")
    with app.client() as client:
        client.wait_for(50)
        task = world.ok(f"{app.path}/migrate", wanted())
        client.wait_for(50)
    assert app.lost(client, "edge") == []
    assert app.active() == ["edge"]
    assert app.log("edge") == app.read("edge")
    assert not theirs.exists()
    aside = world.lab.nodes["edge"].repo_dir / ".composia" / task["id"]
    assert [path.read_text() for path in aside.glob("*/theirs")] == ["was here before"]

    app.write("edge", "back")
    world.ok(f"{app.path}/migrate", wanted("edge", "main"))
    assert app.active() == ["main"]
    assert app.read("main")[-1] == "back"
    assert app.lost(client, "main") == []


def test_a_database_in_a_folder_moves_by_dump_and_import(world: World) -> None:
    backup, restore = WAYS["dump"]
    volume = '  pgdata: {driver_opts: {type: none, o: bind, device: "${LAB_DISK}/bound-base"}}\n'
    compose = COMPOSE.replace("  pgdata:\n", volume)
    meta = META.format(name="bound-base", backup=backup, restore=restore)
    (world.lab.nodes["main"].disk / "bound-base").mkdir(parents=True)
    world.service("bound-base", compose, meta)
    world.ok("/services/bound-base/deploy")
    world.sql("bound-base", "create table rows (n int)")
    with Inserts(world, "bound-base") as rows:
        rows.wait_for(5)
        world.ok("/services/bound-base/migrate", wanted())
        rows.wait_for(5)
    found = set(map(int, world.sql("bound-base", "select n from rows", node="edge").split()))
    assert set(rows.kept) <= found
    assert (world.lab.nodes["edge"].disk / "bound-base/PG_VERSION").is_file()
    world.docker("rm", "-f", *world.containers("bound-base", node="edge"), node="edge")


@pytest.mark.parametrize("step", ["0_pre_copy", "4_restore_data", "5_start_on_target"])
def test_a_move_that_is_undone_takes_away_the_folders_that_it_made(
    world: World, app: BoundApp, step: str
) -> None:
    app.deploy()
    app.write("main", "before")
    world.lab.fail(f"{step}:after", "error")
    world.fails(f"{app.path}/migrate", wanted())
    assert app.active() == ["main"]
    until(lambda: app.read("main") == ["before"], "the service on main")
    assert list(app.device("edge").glob("*")) == []
    assert app.name not in world.docker("volume", "ls", "-q", node="edge")


def test_another_kind_of_volume_is_refused_by_name_before_anything_stops(
    world: World, app: BoundApp
) -> None:
    app.deploy(strategy="files.tar_after_stop")
    meta = app.meta.replace("include: [data]", "include: [share]")
    world.commit({f"{app.name}/composia-meta.yaml": meta})
    started = world.docker("inspect", "-f", "{{.State.StartedAt}}", app.container())
    task = world.fails(f"{app.path}/backup")
    statuses = sorted(one["status"] for one in world.backups(service=app.name))
    assert statuses == ["failed", "success"]
    (failed,) = [one for one in world.backups(service=app.name) if one["status"] == "failed"]
    assert f"volume `share` ({app.name}_share)" in failed["error"]
    assert "driver local with type tmpfs" in failed["error"]
    assert task["error"]
    assert world.docker("inspect", "-f", "{{.State.StartedAt}}", app.container()) == started
