"""Volumes that bind a folder of the node: Docker shows their data only while they are used."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from composia.operations.restore import ExchangeBack
from composia.strategies.files_copy import FilesCopy, FilesCopyBack
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport
from tests.e2e.disks import disk
from tests.e2e.node import NodeService
from tests.e2e.test_imports_on_the_node import a_database, rows, sql
from tests.e2e.trees import fill, look
from tests.lab import Lab

WEB = """services:
  web:
    image: busybox:lab
    init: true
    restart: always
    command: sleep 1000000
    volumes: ["media:/media", "plain:/plain"]
volumes:
  plain:
  media: {{driver_opts: {{type: none, o: "{flags}", device: "{device}"}}}}
"""
SAVE = FilesCopy(include=("media",))
SAVE_STOPPED = FilesTarAfterStop(strategy="files.tar_after_stop", include=("media", "plain"))
BACK = FilesCopyBack(include=("media",))


@pytest.fixture(scope="module")
def node(node: Lab) -> Iterator[Lab]:
    """Afterwards nothing is left of the folders that volumes bind, either."""
    yield node
    shutil.rmtree(bound(node), ignore_errors=True)


def bound(node: Lab) -> Path:
    """Folders that have nothing to do with Docker's or the agent's."""
    return node.nodes["main"].folder / "bound"


def device(service: NodeService) -> Path:
    return bound(service.lab) / service.name / "media"


def a_service(node: Lab, name: str, flags: str = "bind") -> NodeService:
    """Up, and filled."""
    folder = bound(node) / name / "media"
    service = NodeService(node, name, WEB.format(device=folder, flags=flags))
    folder.mkdir(parents=True)
    service.compose("up", "-d")
    fill(folder)
    (folder / "word").write_text("first")
    return service


def use(service: NodeService) -> None:
    """As if somebody had used it since."""
    (device(service) / "word").write_text("second")
    (device(service) / "new").write_text("new")
    shutil.rmtree(device(service) / "folder 1", ignore_errors=True)


def seen(service: NodeService) -> str:
    """What the service itself sees."""
    return service.docker("exec", service.running()["web"], "cat", "/media/word")


def test_it_comes_back_for_a_service_that_runs_and_what_it_replaced_too(node: Lab) -> None:
    service = a_service(node, "bound-runs", flags="rbind,rw")
    before, ran = look(device(service)), service.running()
    wanted = service.save("media", SAVE)
    use(service)
    used = look(device(service))

    task = service.restore(wanted, BACK)
    assert (look(device(service)), seen(service)) == (before, "first")
    assert service.running() == ran
    service.perform(ExchangeBack(service=service.ref, of_task=task))
    assert (look(device(service)), seen(service)) == (used, "second")
    assert sorted(path.name for path in device(service).parent.iterdir()) == ["media"]


def test_it_is_saved_whole_while_the_service_is_stopped_and_comes_back_from_nothing(
    node: Lab,
) -> None:
    service = a_service(node, "bound-stops")
    before, ran = look(device(service)), service.running()
    (service.volume("bound-stops_plain") / "x").write_text("plain")
    # Nothing is mounted where Docker would show it while it is saved.
    wanted = service.save("all", SAVE_STOPPED)
    assert service.running() == ran
    service.compose("stop")
    shutil.rmtree(device(service).parent)

    service.restore(wanted, FilesCopyBack(include=("media", "plain")))
    assert look(device(service)) == before
    assert service.running() == {}
    service.compose("start")
    assert seen(service) == "first"


def test_one_file_comes_back_and_a_copy_to_look_at(node: Lab) -> None:
    service = a_service(node, "bound-part")
    wanted = service.save("media", SAVE)
    use(service)
    part = wanted.model_copy(update={"path": "volumes/media/word"})
    service.restore(part, BACK, path="volumes/media/word")
    assert seen(service) == "first"
    assert (device(service) / "new").exists()

    use(service)
    copy = service.perform(service.fetching(wanted, BACK, to="scratch"))
    assert (Path(copy.folder) / "media/volumes/media/word").read_text() == "first"
    assert seen(service) == "second"


def test_on_a_node_that_never_ran_it_the_folder_is_made(node: Lab) -> None:
    service = a_service(node, "bound-fresh")
    before = look(device(service))
    wanted = service.save("media", SAVE)
    service.compose("down", "-v")
    shutil.rmtree(device(service).parent)

    service.restore(wanted, BACK)
    assert look(device(service)) == before
    service.compose("up", "-d")
    assert seen(service) == "first"


def test_whoever_reads_the_same_volume_stops_too_for_else_it_would_stay_the_old_one(
    node: Lab,
) -> None:
    service = a_service(node, "bound-shared")
    words = ["run", "-d", "--init", "--name", "reader", "-v", "bound-shared_media:/m:ro"]
    service.docker(*words, "busybox:lab", "sleep", "1000000")
    wanted = service.save("media", SAVE)
    use(service)

    service.restore(wanted, BACK)
    assert seen(service) == "first"
    assert service.docker("exec", "reader", "cat", "/m/word") == "first"


def test_a_folder_that_is_a_disk_of_its_own_gets_its_files_back_on_that_disk(node: Lab) -> None:
    folder = bound(node) / "bound-disk/media"
    with disk(folder):
        shutil.rmtree(folder / "media", ignore_errors=True)
        service = NodeService(node, "bound-disk", WEB.format(device=folder, flags="bind"))
        service.compose("up", "-d")
        (folder / "word").write_text("first")
        wanted = service.save("media", SAVE)
        (folder / "word").write_text("second")
        (folder / "new").write_text("new")

        task = service.restore(wanted, BACK)
        assert (seen(service), (folder / "new").exists()) == ("first", False)
        service.perform(ExchangeBack(service=service.ref, of_task=task))
        assert (seen(service), (folder / "new").exists()) == ("second", True)
        service.compose("down", "-v")


def test_an_exchange_killed_after_any_note_leaves_the_service_on_old_or_new(node: Lab) -> None:
    service = a_service(node, "bound-killed")
    wanted = service.save("media", SAVE)
    use(service)
    ran, states = service.running(), []
    for after in itertools.count(1):
        task = service.new_task()
        service.perform(service.fetching(wanted, BACK), task)
        died = service.perform_and_die(service.exchanging(), task, after)
        if died:
            service.put_right(service.exchanging(), task)
        states.append(seen(service))
        assert states[-1] == (device(service) / "word").read_text()
        assert service.running() == ran
        service.perform(service.exchanging(), task)
        assert seen(service) == "first"
        service.perform(ExchangeBack(service=service.ref, of_task=task))
        assert seen(service) == "second"
        if not died:
            break
    assert states == sorted(states, reverse=True)
    assert set(states) == {"first", "second"}


def test_a_dump_is_imported_beside_the_folder_and_where_that_is_gone(node: Lab) -> None:
    folder = bound(node) / "bound-database/pg"
    folder.mkdir(parents=True)
    options = f'{{type: none, o: bind, device: "{folder}"}}'
    volumes = f"volumes: {{pg: {{driver_opts: {options}}}}}"
    service = a_database(node, "bound-database", port="5439", volumes=volumes)
    wanted = service.save("database", PgDumpAll(service="db"))
    sql(service, "INSERT INTO t VALUES ('second')", "app")

    task = service.restore(wanted, PgImport(service="db"))
    assert rows(service) == "first"
    service.perform(ExchangeBack(service=service.ref, of_task=task))
    assert rows(service) == "first,second"
    service.compose("down", "-v")
    shutil.rmtree(folder)
    service.restore(wanted, PgImport(service="db"))
    service.compose("up", "-d")
    assert rows(service) == "first"
    assert (folder / "PG_VERSION").is_file()
