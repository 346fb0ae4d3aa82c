"""Restores that are not the plain case: parts, scratch, empty nodes, mounts, and bad days."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from composia.errors import Conflict, Failure
from composia.operations import kept
from composia.operations.readings import ContainerLogs, ListSnapshot, Reading, ReadSnapshot
from composia.operations.restore import ExchangeBack
from composia.strategies.base import Site, Wanted
from composia.strategies.files_copy import FilesCopy, FilesCopyBack
from tests.e2e.disks import disk
from tests.e2e.node import PROFILE, KeptNotes, NodeService, repository_folder
from tests.e2e.trees import fill, look
from tests.lab import Lab

WEB = """services:
  web:
    image: busybox:lab
    init: true
    command: sh -c 'echo up; exec sleep 1000000'
    volumes: ["./data/uploads:/srv", "cache:/cache"]
  apart:
    image: busybox:lab
    init: true
    command: sleep 1000000
volumes:
  cache:
"""
SAVE = FilesCopy(include=("./data/uploads", "cache"), exclude=("./data/uploads/temp/deep",))
BACK = FilesCopyBack(include=("./data/uploads", "cache"))
FILES = FilesCopyBack(include=("./data/uploads",))


@pytest.fixture(scope="module")
def service(node: Lab) -> NodeService:
    """Up and filled."""
    service = NodeService(node, "odd", WEB)
    service.compose("up", "-d")
    shutil.rmtree(uploads(service))
    fill(uploads(service))
    (uploads(service) / "temp").mkdir(mode=0o750)
    (service.volume("odd_cache") / "x").write_text("first")
    return service


@pytest.fixture(scope="module")
def wanted(service: NodeService) -> Wanted:
    """Saved once."""
    return service.save("both", SAVE)


@pytest.fixture
def before(service: NodeService, wanted: Wanted) -> dict[str, object]:
    """As it was saved, and in no other test's state."""
    service.restore(wanted, BACK)
    return look(uploads(service))


def uploads(service: NodeService) -> Path:
    return service.folder / "data/uploads"


def read(service: NodeService, reading: Reading) -> bytes:
    async def all_of_it(site: Site) -> bytes:
        return b"".join([piece async for piece in reading.read(site)])

    content: bytes = service.use(all_of_it)
    return content


def test_one_file_comes_back_alone(service: NodeService, wanted: Wanted, before: object) -> None:
    (uploads(service) / "folder 0/file0").unlink()
    (uploads(service) / "new").write_text("stays")
    service.restore(wanted, FILES, path="files/data/uploads/folder 0/file0")
    (uploads(service) / "new").unlink()
    now = look(uploads(service))
    assert isinstance(before, dict)
    assert now["folder 0/file0"] == before["folder 0/file0"]


def test_one_file_with_the_longest_name_comes_back_alone(
    service: NodeService, before: object
) -> None:
    name = "ä" * 125 + ".jpeg"
    (uploads(service) / name).write_text("saved")
    saved = service.save("both", SAVE)
    (uploads(service) / name).unlink()
    service.restore(saved, FILES, path=f"files/data/uploads/{name}")
    assert (uploads(service) / name).read_text() == "saved"
    (uploads(service) / name).unlink()


def test_a_folder_comes_back_alone_and_going_back_removes_it_again(
    service: NodeService, wanted: Wanted, before: object
) -> None:
    shutil.rmtree(uploads(service) / "folder 1")
    task = service.restore(wanted, FILES, path="./data/uploads/folder 1")
    assert (uploads(service) / "folder 1/file1").is_file()
    service.perform(ExchangeBack(service=service.ref, of_task=task))
    assert not (uploads(service) / "folder 1").exists()


def test_a_path_that_the_backup_does_not_have_is_named(
    service: NodeService, wanted: Wanted
) -> None:
    with pytest.raises(Failure, match="nothing of") as raised:
        service.perform(service.fetching(wanted, BACK, path="files/data/other"))
    assert "./data/uploads" in str(raised.value.hint)
    assert not [name for name in service.lies_aside() if str(service.tasks) in name[-2:]]


def test_what_was_excluded_is_carried_across_both_ways(
    service: NodeService, wanted: Wanted, before: object
) -> None:
    deep = uploads(service) / "temp/deep"
    deep.mkdir()
    (deep / "session").write_text("today")
    times = (uploads(service) / "temp").stat().st_mtime_ns
    task = service.restore(wanted, BACK)
    assert (deep / "session").read_text() == "today"
    assert (uploads(service) / "temp").stat().st_mtime_ns != times
    service.perform(ExchangeBack(service=service.ref, of_task=task))
    assert (deep / "session").read_text() == "today"
    shutil.rmtree(deep)


def test_what_the_users_own_profile_leaves_out_is_carried_across_and_not_missed(
    service: NodeService, before: dict[str, object]
) -> None:
    # And in it what the item excludes itself.
    left_out = uploads(service) / "temp"
    (left_out / "deep").mkdir()
    (left_out / ".nobackup").touch()
    (left_out / "link").hardlink_to(uploads(service) / "folder 1/file1")
    file = repository_folder(service.lab) / "config/rustic.toml"
    file.write_text(f'{PROFILE}[backup]\nexclude-if-present = [".nobackup"]\n')
    try:
        saved = service.save("both", SAVE)
    finally:
        file.write_text(PROFILE)
    (uploads(service) / "setuid").unlink()
    (left_out / "today").touch()
    service.restore(saved, BACK)
    assert sorted(os.listdir(left_out)) == [".nobackup", "deep", "link", "today"]
    now = look(uploads(service))
    fetched = service.perform(service.fetching(saved, BACK, to="scratch"))
    scratch = look(Path(fetched.folder) / "both/files/data/uploads")
    shutil.rmtree(left_out)
    assert scratch.keys() == before.keys() - {"temp"}
    assert scratch["setuid"] == now["setuid"] == before["setuid"]


def test_only_what_mounts_the_data_stops(
    service: NodeService, wanted: Wanted, before: object
) -> None:
    started = "{{.State.StartedAt}}"
    apart, web = service.running()["apart"], service.running()["web"]
    at = {one: service.docker("inspect", "-f", started, one) for one in (apart, web)}
    service.restore(wanted, BACK)
    assert service.docker("inspect", "-f", started, apart) == at[apart]
    assert service.docker("inspect", "-f", started, web) != at[web]


def test_to_scratch_touches_nothing(service: NodeService, wanted: Wanted, before: object) -> None:
    (uploads(service) / "new").write_text("new")
    now, ran = look(uploads(service)), service.running()
    fetched = service.perform(service.fetching(wanted, BACK, to="scratch"))
    assert look(Path(fetched.folder) / "both/files/data/uploads") == before
    assert (Path(fetched.folder) / "both/volumes/cache/x").read_text() == "first"
    assert (look(uploads(service)), service.running()) == (now, ran)


def test_to_a_node_that_never_ran_the_service(node: Lab, service: NodeService) -> None:
    other = NodeService(node, "fresh", WEB)
    before = look(uploads(service))
    saved = service.save("both", SAVE)
    other.manifests = service.manifests
    task = other.new_task()
    other.perform(other.fetching(saved, BACK), task)
    assert not other.perform(other.exchanging(), task).started
    other.compose("up", "-d")
    assert look(uploads(other)) == before
    assert (other.volume("fresh_cache") / "x").read_text() == "first"
    labels = other.docker("volume", "inspect", "-f", "{{json .Labels}}", "fresh_cache")
    assert json.loads(labels)["com.docker.compose.project"] == "fresh"


def test_a_mount_point_changes_its_content_and_its_look(node: Lab) -> None:
    service = NodeService(node, "mounted", WEB)
    place = uploads(service)
    place.mkdir(parents=True)
    node.inside("main", "true")
    os.system(f"mount -t tmpfs tmpfs {place}")
    try:
        service.compose("up", "-d")
        fill(place, 3)
        before = look(place)
        saved = service.save("files", FilesCopy(include=("./data/uploads",)))
        (place / "new").write_text("new")
        place.chmod(0o700)
        task = service.new_task()
        service.perform(service.fetching(saved, FILES), task)
        died = service.perform_and_die(service.exchanging(), task, 2)
        assert died
        service.put_right(service.exchanging(), task)
        assert (place / "new").exists()
        service.perform(service.exchanging(), task)
        now = {path: seen for path, seen in look(place).items() if ".composia" not in path}
        assert {**now, "hard links": before["hard links"]} == before
        service.perform(ExchangeBack(service=service.ref, of_task=task))
        assert (place / "new").read_text() == "new"
        assert place.stat().st_mode & 0o7777 == 0o700
    finally:
        service.compose("down")
        os.system(f"umount {place}")


def test_a_flipped_byte_anywhere_in_the_data_is_found_before_the_exchange(
    service: NodeService, before: object
) -> None:
    (uploads(service) / "big").write_bytes(os.urandom(400_000))
    packs = set((repository_folder(service.lab) / "repo/data").rglob("*"))
    saved = service.save("both", SAVE)
    new = set((repository_folder(service.lab) / "repo/data").rglob("*")) - packs
    pack = max((path for path in new if path.is_file()), key=lambda path: path.stat().st_size)
    content = pack.read_bytes()
    now = look(uploads(service))
    for at in (10, 150_000, 300_000):
        pack.chmod(0o600)
        pack.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(Failure):
            service.perform(service.fetching(saved, BACK))
    pack.write_bytes(content)
    (uploads(service) / "big").unlink()
    now.pop("big")
    assert {**look(uploads(service)), ".": now["."]} == now


def test_a_copy_that_differs_from_the_manifest_is_not_put_in_place(
    service: NodeService, before: object
) -> None:
    saved = service.save("both", SAVE)
    (uploads(service) / "folder 2").chmod(0o701)
    other = service.save("both", SAVE)
    mixed = saved.model_copy(update={"snapshot_id": other.snapshot_id})
    with pytest.raises(Failure, match=r"folder 2 \(mode\)"):
        service.perform(service.fetching(mixed, BACK))


def test_a_link_that_leads_out_of_the_folder_is_refused(
    service: NodeService, wanted: Wanted, before: object, tmp_path: Path
) -> None:
    live = uploads(service).parent
    live.rename(live.with_name("moved"))
    live.symlink_to(tmp_path)
    try:
        with pytest.raises(Failure, match="leads out of"):
            service.perform(service.fetching(wanted, FILES))
    finally:
        live.unlink()
        live.with_name("moved").rename(live)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_before_anything_is_fetched(
    service: NodeService, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.strategies.contents.SPARE", 1 << 60)
    with pytest.raises(Failure, match="not enough room"):
        service.perform(service.fetching(wanted, FILES))


def test_a_later_restore_has_to_be_taken_back_first(
    service: NodeService, wanted: Wanted, before: object
) -> None:
    first = service.restore(wanted, FILES)
    second = service.restore(wanted, FILES)
    with pytest.raises(Conflict, match=second):
        service.perform(ExchangeBack(service=service.ref, of_task=first))


def test_what_was_replaced_goes_after_a_day_and_live_data_never(
    service: NodeService, before: object
) -> None:
    def expire(after: timedelta) -> list[str]:
        async def do(site: Site) -> list[str]:
            return await kept.expire(site.aside, site.docker, datetime.now(UTC) + after)

        gone: list[str] = service.use(do)
        return gone

    assert not expire(timedelta(hours=23))
    assert service.lies_aside()
    assert expire(timedelta(hours=25))
    assert expire(timedelta(days=8))
    assert not service.lies_aside()
    assert look(uploads(service)) == before


def test_a_snapshot_is_listed_and_read_out(service: NodeService, wanted: Wanted) -> None:
    one = {"service": service.ref, "snapshot_id": wanted.snapshot_id}
    listed = read(service, ListSnapshot(**one, path="files/data/uploads"))
    entries = {found["path"]: found for found in map(json.loads, listed.splitlines())}
    assert entries["files/data/uploads/folder 0"]["type"] == "dir"
    content = (uploads(service) / "folder 0/file0").read_bytes()
    path = "files/data/uploads/folder 0/file0"
    assert read(service, ReadSnapshot(**one, path=path, type="file")) == content
    packed = read(service, ReadSnapshot(**one, path="files/data/uploads", type="dir"))
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        linked = [tar.getmember(f"uploads/{name}") for name in ("hard link", "folder 0/file0")]
        assert [one.islnk() for one in linked].count(True) == 1
        assert tar.getmember("uploads").uid == 4242
    assert not [name for name in service.aside.iterdir() if name.name.startswith("reading-")]


def test_logs_are_read_of_the_own_project_only(service: NodeService) -> None:
    logged = read(service, ContainerLogs(service=service.ref, container="web"))
    assert set(logged.splitlines()) == {b"up"}
    assert b"odd-web-1 | up" in read(service, ContainerLogs(service=service.ref))
    service.docker("run", "-d", "--name", "stranger", "busybox:lab", "echo", "secret")
    with pytest.raises(Exception, match="no container stranger"):
        read(service, ContainerLogs(service=service.ref, container="stranger"))


def test_a_volume_that_only_a_service_behind_a_profile_has(node: Lab) -> None:
    tool = '    image: busybox:lab\n    profiles: [tools]\n    volumes: ["kept:/kept"]\n'
    service = NodeService(node, "profiled", f"services:\n  tool:\n{tool}volumes: {{kept: }}\n")
    service.compose("--profile", "tools", "create")
    (service.volume("profiled_kept") / "file").write_text("kept")
    save, back = FilesCopy(include=("kept",)), FilesCopyBack(include=("kept",))
    wanted = service.save("kept", save)
    service.compose("--profile", "tools", "down", "-v")

    service.restore(wanted, back)
    assert (service.volume("profiled_kept") / "file").read_text() == "kept"
    service.compose("--profile", "tools", "create")
    assert (service.volume("profiled_kept") / "file").read_text() == "kept"
    service.compose("--profile", "tools", "down", "-v")


def test_what_is_excluded_comes_along_where_a_disk_is_mounted(node: Lab) -> None:
    web = WEB.replace("./data/uploads:/srv", "./data:/srv")
    service = NodeService(node, "on-a-disk", web)
    data = service.folder / "data"
    with disk(data):
        (data / "temp").mkdir()
        (data / "temp/file").write_text("of no backup")
        (data / "file").write_text("first")
        service.compose("up", "-d")
        wanted = service.save("data", FilesCopy(include=("./data",), exclude=("./data/temp",)))
        (data / "file").write_text("second")

        task = service.restore(wanted, FilesCopyBack(include=("./data",)))
        assert (data / "file").read_text() == "first"
        assert (data / "temp/file").read_text() == "of no backup"

        service.perform(ExchangeBack(service=service.ref, of_task=task))
        assert (data / "file").read_text() == "second"
        assert (data / "temp/file").read_text() == "of no backup"
        service.compose("down", "-v")


STRICT = """services:
  strict:
    image: busybox:lab
    init: true
    command: sleep 1000000
    volumes:
      - type: bind
        source: ./data/wanted
        target: /wanted
        bind: {create_host_path: false}
"""


def test_what_came_up_on_data_that_goes_back_sees_the_old_again(
    node: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = NodeService(node, "goes-back", STRICT)
    data = service.folder / "data"
    data.mkdir()
    (data / "file").write_text("saved")
    wanted = service.save("data", FilesCopy(include=("./data",)))
    (data / "file").write_text("old")
    # Without it the container does not start: on what was saved.
    (data / "wanted").write_text("")
    service.compose("up", "-d")
    note = KeptNotes.note

    async def noted(notes: KeptNotes, name: str, **facts: Any) -> None:
        if name == "exchanged":
            service.docker(
                "run", "-d", "--init", "--restart=always", "--name=newcomer", f"-v={data}:/srv",
                "busybox:lab", "sleep", "1000000",
            )  # fmt: skip
        await note(notes, name, **facts)

    monkeypatch.setattr(KeptNotes, "note", noted)
    with pytest.raises(Failure, match="what was there before is back, and it runs again"):
        service.restore(wanted, FilesCopyBack(include=("./data",)))
    assert list(service.running()) == ["strict"]
    assert service.docker("exec", "newcomer", "cat", "/srv/file") == "old"
    policy = "{{.HostConfig.RestartPolicy.Name}}"
    assert service.docker("inspect", "-f", policy, "newcomer") == "always"
    service.docker("rm", "-f", "newcomer")
