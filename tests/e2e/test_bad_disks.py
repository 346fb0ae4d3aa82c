"""Full and read-only disks, and a catalog or a name server that lets a move down."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import services
from tests.e2e.disks import HeldBack, disk, torn_disk
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until
from tests.e2e.writing import App, wanted
from tests.lab.catalog import BACKUP_COMPOSE
from tests.lab.dns import ZONE


@pytest.fixture
def app(world: World) -> Iterator[App]:
    """A service that nobody else has."""
    world.lab.clear_failures()
    made = App(world)
    yield made
    made.end()
    world.lab.clear_failures()
    world.lab.join_all()


def test_a_disk_that_fills_up_in_the_middle_of_a_restore_changes_nothing(world: World) -> None:
    world.service("crowded", services.files_compose(), services.files_meta("crowded"))
    with disk(world.folder("crowded") / "data") as small:
        world.ok("/services/crowded/deploy")
        uploads = small.folder / "uploads"
        fill(uploads)
        for number in range(200):
            (uploads / f"many {number}").write_bytes(os.urandom(100))
        before = look(uploads)
        world.ok("/services/crowded/backup", {"data_items": ["uploads"]})
        (uploads / "new").write_text("new")
        changed = look(uploads)
        running = world.containers("crowded", running=True)
        # There is room for the bytes, and not for so many names.
        there = small.files
        small.hold(f"nr_inodes={there + 100}")

        task = world.fails("/services/crowded/restore", {"data_items": ["uploads"]})

        assert task["error"]["step"] == "fetch_data"
        assert "disk is full" in task["error"]["message"]
        assert "Free some space" in task["error"]["hint"]
        assert look(uploads) == changed
        assert world.containers("crowded", running=True) == running
        assert small.files == there
        small.hold("nr_inodes=100000")
        world.ok("/services/crowded/restore", {"data_items": ["uploads"]})
        assert look(uploads) == before
        for container in running:
            world.docker("rm", "-f", container)


def test_a_repository_that_is_full_or_read_only_fails_the_backup_and_still_restores(
    world: World,
) -> None:
    world.service("bulky", services.files_compose("always"), BULKY)
    world.ok("/services/bulky/deploy")
    uploads = world.folder("bulky") / "data/uploads"
    fill(uploads)
    before = look(uploads)
    with disk(world.lab.repository) as small:
        world.ok("/services/bulky/backup")
        (uploads / "big").write_bytes(os.urandom(40_000_000))
        small.hold(f"size={used(small.folder) + 8_000_000}")

        said = failed_item(world)

        assert "disk is full" in said
        small.hold("size=512m,ro")
        assert "read-only" in failed_item(world)
        world.ok("/services/bulky/restore")
        assert look(uploads) == before
        small.hold("size=512m,rw")
        world.ok("/services/bulky/backup")
        checked = world.ok("/repository/check", {"read_data": True})
        assert checked["status"] == "succeeded"


def test_what_vanishes_or_cannot_be_read_is_named_with_the_next_step(world: World) -> None:
    data = fading(world)
    folders = (data / "live", data / "cold")
    with ExitStack() as stack:
        stack.enter_context(torn_disk(data / "torn"))
        first = [stack.enter_context(closing(HeldBack(one.glob("first*")))) for one in folders]
        task = world.start("/services/fading/backup")
        for folder, held_back in zip(folders, first, strict=True):
            until(held_back.is_wanted, "rustic")
            (folder / "gone").unlink()
            held_back.close()
        ended = world.wait(task)

    assert ended["status"] == "failed", ended
    assert "back up again" in ended["error"]["hint"]
    assert "`user` of its compose service" in ended["error"]["hint"]
    items = ("live", "cold", "torn", "some", "none")
    live, cold, torn, some, none = (world.backup_of(ended, item) for item in items)
    assert live["status"] == "success"
    assert "changed while it was read: ./data/live/gone" in live["warnings"]
    assert (cold["status"], cold["error"]) == ("partial", "could not be read: ./data/cold/gone")
    assert (torn["status"], torn["error"]) == ("partial", "could not be read: ./data/torn/torn")
    assert (some["status"], some["error"]) == ("partial", "could not be read: ./data/some/shut")
    assert (none["status"], none["snapshot_id"]) == ("failed", None)
    assert "nothing could be read of ./data/none" in none["error"]
    assert len(world.containers("fading", running=True)) == 1
    # What could be read of a partial backup comes back; by somebody who may write it.
    (world.folder("infra-backup") / "docker-compose.yaml").write_text(BACKUP_COMPOSE)
    restored = world.ok(f"/backups/{some['id']}/restore", {"to": "scratch"})
    found = Path(restored["result"]["folder"]).rglob("*")
    assert {path.name for path in found} >= {"open", "shut"}


def fading(world: World) -> Path:
    """A service whose files are going to vanish, or may not be read; the folder of its data."""
    world.lab.commit({"infra-backup/docker-compose.yaml": BOUND})
    world.service("fading", services.files_compose(), FADING)
    for service in ("infra-backup", "fading"):
        world.ok(f"/services/{service}/deploy")
    data = world.folder("fading") / "data"
    for folder in (data / "some/shut", data / "none"):
        (folder / "below").mkdir(parents=True)
        (folder / "file").write_text("x")
        os.chown(folder, 1000, 1000)
        folder.chmod(0o700)
    (data / "some/open").write_text("x")
    for folder in (data / "live", data / "cold"):
        folder.mkdir()
        # However many it reads at once, rustic comes to these before the last one.
        for number in range(2 * (os.cpu_count() or 1) + 8):
            (folder / f"first{number}").write_text("x")
        (folder / "gone").write_text("x")
    return data


#: Root in a container like this may read no more than others.
BOUND = f"{BACKUP_COMPOSE}    cap_drop: [ALL]\n"
FADING = """
name: fading
nodes: [main]
data_protect:
  unprotected: [{source: cache, reason: a test}, {source: ./data/uploads, reason: a test}]
  data:
    - name: live
      backup: {strategy: files.copy, include: [./data/live]}
    - name: cold
      backup: {strategy: files.tar_after_stop, include: [./data/cold]}
    - name: torn
      backup: {strategy: files.copy, include: [./data/torn]}
    - name: some
      backup: {strategy: files.copy, include: [./data/some]}
      restore: {strategy: files.copy, include: [./data/some]}
    - name: none
      backup: {strategy: files.copy, include: [./data/none]}
backup:
  data: [{name: live}, {name: cold}, {name: torn}, {name: some}, {name: none}]
"""


def failed_item(world: World) -> str:
    """Back up in vain: no snapshot is left, the service runs; what the record says."""
    folder = world.lab.repository / "snapshots"
    before = sorted(os.listdir(folder))
    task = world.fails("/services/bulky/backup")
    record = world.backup_of(task, "uploads")
    assert (record["status"], record["snapshot_id"]) == ("failed", None)
    assert sorted(os.listdir(folder)) == before
    until(lambda: len(world.containers("bulky", running=True)) == 1, "the service")
    return str(record["error"])


BULKY = """
name: bulky
nodes: [main]
data_protect:
  unprotected: [{source: cache, reason: a test}]
  data:
    - name: uploads
      backup: {strategy: files.tar_after_stop, include: [./data/uploads]}
      restore: {strategy: files.copy, include: [./data/uploads]}
backup:
  data: [{name: uploads}]
"""


def used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_target_whose_disk_fills_up_is_cleared_and_the_source_serves(
    world: World, app: App
) -> None:
    app.deploy(restart="always")
    container = app.container()
    data = world.folder(app.name) / "data"
    with disk(world.lab.nodes["edge"].repo_dir) as small:
        # While the service runs: in the copy before the outage.
        many(data, 300)
        small.hold(f"nr_inodes={small.files + 150}")
        free_of_it(world, app, container, world.fails(f"{app.path}/migrate", wanted()))
        # And in the last round: what it wrote after that copy.
        small.hold(f"nr_inodes={small.files + 500}")
        task = stopped_at(world, app, "1_export_data:before")
        many(data, 900)
        world.lab.start("controller")
        ended = world.wait(task)
        assert ended["status"] == "failed", ended
        free_of_it(world, app, container, ended)
        small.hold("nr_inodes=100000")
        retried = world.wait(world.start(f"/tasks/{task}/retry"))
        assert retried["status"] == "succeeded", retried
        assert len(list((world.folder(app.name, "edge") / "data/many").iterdir())) == 900
        app.end()


def many(data: Path, number: int) -> None:
    (data / "many").mkdir(exist_ok=True)
    for name in range(number):
        (data / "many" / str(name)).write_text("x")


def free_of_it(world: World, app: App, container: str, task: dict[str, Any]) -> None:
    """The move has failed for want of room, and nothing of it is left."""
    assert "No space left" in task["error"]["message"]
    assert "Free some space" in task["error"]["hint"]
    until(lambda: app.read("main") == [], "the service on main")
    assert app.active() == ["main"]
    assert app.container() == container
    assert world.policy(container) == "always"
    assert world.containers(app.name, node="edge") == []


def stopped_at(world: World, app: App, where: str) -> str:
    """A move whose controller is killed there; the task."""
    world.lab.fail(where, "kill-controller")
    task = world.start(f"{app.path}/migrate", wanted())
    until(lambda: world.lab.pid("controller") is None, "the end of the controller")
    world.lab.clear_failures()
    return task


def test_an_image_that_the_target_cannot_have_fails_the_move_before_anything_stops(
    world: World, app: App
) -> None:
    world.docker("tag", "busybox:lab", "only-here:1")
    files = app.files()
    compose = f"{app.name}/docker-compose.yaml"
    files[compose] = str(files[compose]).replace("busybox:lab", "only-here:1")
    world.commit(files)
    world.ok(f"{app.path}/deploy")
    fill(app.pages("main"))
    started = app.started()
    with app.client() as client:
        client.wait_for(10)
        task = world.fails(f"{app.path}/migrate", wanted())
        client.wait_for(10)

    assert "only-here:1 is not on edge" in task["error"]["message"]
    assert task["error"]["hint"]
    assert app.started() == started
    assert app.active() == ["main"]
    world.docker("rmi", "-f", "only-here:1")


@contextmanager
def updates_refused(world: World) -> Iterator[None]:
    """The name server serves its zone, and lets nobody change it."""
    config = world.lab.dns.folder / "named.conf"
    before = config.read_text()
    try:
        config.write_text(before.replace("{ key composia; }", "{ none; }"))
        world.lab.dns.read_again()
        yield
    finally:
        config.write_text(before)
        world.lab.dns.read_again()


def test_a_move_writes_on_top_of_what_others_pushed_and_asks_again_for_a_name(
    world: World, app: App
) -> None:
    name = f"{app.name}.{ZONE}"
    site = f"network:\n  dns: {{provider: ddns, hostname: {name}}}\n"
    app.deploy(more=site)
    app.write("main", "before")
    task = stopped_at(world, app, "2_stop_source:before")
    world.lab.cut("controller", "dns")
    pushed = app.files(more=site)[f"{app.name}/composia-meta.yaml"]
    theirs = f"# Somebody else's.\n{pushed}"
    world.lab.commit({f"{app.name}/composia-meta.yaml": theirs, "notes.txt": "mine"})
    world.lab.start("controller")

    ended = world.wait(task)

    assert (ended["status"], ended["error"]["step"]) == ("failed", "7_update_dns")
    assert ended["error"]["hint"]
    assert app.active() == ["edge"]
    world.lab.join_all()
    # It can be reached again, and does not take our word for anything.
    with updates_refused(world):
        refused = world.wait(world.start(f"/tasks/{task}/retry"))
    assert (refused["status"], refused["error"]["step"]) == ("failed", "7_update_dns")
    assert "REFUSED" in refused["error"]["message"]
    assert "allow updates with the key composia" in refused["error"]["hint"]
    assert refused["actions"] == ["retry", "rollback", "abandon"]
    assert app.active() == ["edge"]
    retried = world.wait(world.start(f"/tasks/{task}/retry"))
    assert retried["status"] == "succeeded", retried
    assert app.read("edge") == ["before"]
    until(lambda: "- edge " in app.meta, "the write-back")
    assert app.meta == theirs.replace("- main ", "- edge ")
    assert world.get("/catalog/files/notes.txt").text == "mine"
