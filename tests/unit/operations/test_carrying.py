"""Data comes to the other node as it was on the first, whatever happens on the way."""

from __future__ import annotations

import mmap
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from composia.errors import Conflict, Failure, Invalid, WireCut
from composia.operations import cargo, sending
from composia.operations.carrying import Cargo, compare_received, dump_of
from composia.operations.kept import expire
from composia.operations.surveying import SurveySource
from composia.strategies.aside import Aside
from composia.tools import manifest
from composia.tools.containers import ContainerMount
from composia.tools.delta import BLOCK
from composia.tools.manifest import Manifest
from composia.tools.volumes import VolumeKind
from tests.unit.operations.carried import TwoNodes, contents
from tests.workflow.office import ref

#: In nanoseconds.
HOUR = 3_600_000_000_000
LARGE = 24 * BLOCK + 5


@pytest.fixture
def nodes(tmp_path: Path) -> TwoNodes:
    return a_service(TwoNodes(tmp_path))


def a_service(nodes: TwoNodes) -> TwoNodes:
    data = nodes.data
    (data / "sub" / "empty").mkdir(parents=True)
    (data / "note").write_text("one")
    (data / "sub" / "large").write_bytes(os.urandom(LARGE))
    os.link(data / "note", data / "sub" / "also")
    (data / "link").symlink_to("sub/large")
    os.mkfifo(data / "fifo")
    os.setxattr(data / "note", "user.colour", b"\xff\x00red")
    os.chown(data / "sub", 1234, 4321)
    data.chmod(0o2750)
    os.utime(data, ns=(1, 1_600_000_000_123_456_789))
    return nodes


def has_arrived(nodes: TwoNodes) -> bool:
    there, here = manifest.take(nodes.data), manifest.take(nodes.staged)
    return not manifest.differences(there, here) and contents(nodes.data) == contents(nodes.staged)


async def test_everything_arrives_beside_the_live_data(nodes: TwoNodes) -> None:
    nodes.live.mkdir()
    (nodes.live / "old").write_text("live")

    sent, received = await nodes.last()

    assert has_arrived(nodes)
    assert contents(nodes.live) == {"old": b"live"}
    (swap,) = nodes.swaps()
    assert (swap.live, swap.staged, swap.known_as) == (nodes.live, nodes.staged, "./data")
    assert sent.bytes == received.bytes_received == LARGE + 3


@pytest.mark.parametrize("where", ["data", "data/sub", "."])
async def test_nothing_leaves_while_somebody_else_may_write_to_it(
    nodes: TwoNodes, where: str
) -> None:
    """Promise 17: what stops is the service, and not a file browser on the same folder."""
    browses = nodes.source.folder / where
    nodes.main.docker.add("browser", project="files", mounts=[browses])
    with pytest.raises(Conflict, match=r"browser is none of my-app and may write to \./data"):
        await nodes.send()
    seen = await SurveySource(service=ref(), cargo=nodes.cargo).perform(nodes.source)
    assert "browser" in seen.problems[0]


async def test_what_somebody_else_keeps_on_the_target_is_not_replaced(nodes: TwoNodes) -> None:
    """A move would put it aside for a day, and then it would be gone."""
    nodes.live.mkdir()
    nodes.edge.docker.add("browser", project="files", state="exited", mounts=[nodes.live])
    nodes.edge.docker.add("web", state="exited", mounts=[nodes.live])
    await nodes.pre_copy()
    (nodes.live / "theirs").write_text("precious")
    with pytest.raises(Conflict, match=r"browser is none of my-app and keeps data in \./data"):
        await nodes.pre_copy()
    reads = ContainerMount(
        type="bind", name=None, source=str(nodes.live), destination="/x", writable=False
    )
    nodes.edge.docker.change("browser", mounts=(reads,))
    await nodes.last()


async def test_who_cannot_write_to_what_leaves_may_go_on(nodes: TwoNodes) -> None:
    nodes.cargo = (Cargo(item="uploads", include=("./data",), exclude=("./data/sub",)),)
    docker, folder = nodes.main.docker, nodes.source.folder
    reads = ContainerMount(
        type="bind", name=None, source=str(nodes.data), destination="/x", writable=False
    )
    docker.add("reader", project="files", mounts=[reads])
    docker.add("backup", project="files", mounts=[folder.parent])
    docker.add("below", project="files", mounts=[nodes.data / "sub", folder / "other"])
    docker.add("stopped", project="files", state="exited", mounts=[nodes.data])
    docker.add("web", mounts=[nodes.data])
    seen = await SurveySource(service=ref(), cargo=nodes.cargo).perform(nodes.source)
    assert seen.problems == ()
    await nodes.last()


async def test_only_what_changed_is_sent_in_the_last_round(nodes: TwoNodes) -> None:
    await nodes.pre_copy()
    with (nodes.data / "sub" / "large").open("r+b") as file:
        file.seek(7 * BLOCK)
        file.write(b"changed")
    (nodes.data / "new").write_text("new")
    (nodes.data / "fifo").unlink()
    before = len(nodes.wires.sent)

    sent, _ = await nodes.last()

    assert has_arrived(nodes)
    # One block, and the small files that were made just before they were copied.
    assert sent.bytes <= BLOCK + 100
    assert sum(len(frame) for _, frame in nodes.wires.sent[before:]) < 2 * BLOCK


async def test_a_return_to_the_old_size_and_time_is_no_return_to_the_old_content(
    nodes: TwoNodes,
) -> None:
    await nodes.pre_copy()
    for path in (nodes.data / "note", nodes.data / "sub" / "large"):
        before = path.stat()
        with path.open("r+b") as file:
            file.write(b"two")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    await nodes.last()

    assert (nodes.staged / "note").read_text() == "two"
    assert has_arrived(nodes)


def long_ago(nodes: TwoNodes) -> None:
    """The round began long after everything that is there had been changed."""
    aside = Aside(nodes.source.aside, nodes.source.task)
    known = aside.read(sending.ROUNDS, sending.Copied)
    assert known
    later = {"since": known.since + HOUR, "since_boot": known.since_boot + HOUR}
    aside.write(sending.ROUNDS, known.model_copy(update=later))


async def test_a_folder_that_was_renamed_has_its_own_content(nodes: TwoNodes) -> None:
    for folder, version in (("html", "1.2.3"), ("html.new", "1.2.4")):
        (nodes.data / folder).mkdir()
        (nodes.data / folder / "version").write_text(version)
        os.utime(nodes.data / folder / "version", ns=(1, 1))
    await nodes.pre_copy()
    long_ago(nodes)
    (nodes.data / "html").rename(nodes.data / "html.old")
    (nodes.data / "html.new").rename(nodes.data / "html")

    await nodes.last()

    assert (nodes.staged / "html" / "version").read_text() == "1.2.4"
    assert has_arrived(nodes)


async def test_what_has_not_changed_is_not_read_again(nodes: TwoNodes) -> None:
    await nodes.pre_copy()
    long_ago(nodes)
    sent, _ = await nodes.last()
    assert (sent.bytes, sent.files) == (0, 0)


async def test_a_write_through_a_map_after_the_copy_is_not_lost(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nodes.data / "sub" / "large"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:

        def writes_and_looks(root: cargo.Root) -> Manifest:
            # After everything was flushed: from here on the page is dirty.
            mapped[:5] = b"first"
            return cargo.look(root)

        with monkeypatch.context() as patch:
            patch.setattr("composia.operations.sending.look", writes_and_looks)
            await nodes.pre_copy()
        # Unless the kernel has flushed it meanwhile, neither mtime nor ctime move.
        mapped[:5] = b"later"

        await nodes.last()

    assert (nodes.staged / "sub" / "large").read_bytes()[:5] == b"later"
    assert has_arrived(nodes)


async def test_a_folder_becomes_a_file_and_a_file_a_folder(nodes: TwoNodes) -> None:
    await nodes.pre_copy()
    shutil.rmtree(nodes.data / "sub")
    (nodes.data / "sub").write_text("a file now")
    (nodes.data / "note").unlink()
    (nodes.data / "note" / "deep").mkdir(parents=True)

    await nodes.last()

    assert has_arrived(nodes)


async def test_names_of_one_file_are_parted_and_joined(nodes: TwoNodes) -> None:
    data = nodes.data
    os.link(data / "sub" / "large", data / "second")
    await nodes.pre_copy()
    (data / "second").unlink()
    shutil.copy(data / "sub" / "large", data / "second")
    with (data / "second").open("r+b") as file:
        file.write(b"apart")
    os.link(data / "second", data / "third")
    (data / "sub" / "also").unlink()
    (data / "sub" / "also").write_text("by itself")

    await nodes.last()

    assert has_arrived(nodes)


async def test_what_vanishes_while_the_service_runs_is_left_for_the_next_round(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks_and_loses(root: cargo.Root) -> Manifest:
        seen = cargo.look(root)
        for path in (nodes.data / "note", nodes.data / "sub" / "large"):
            path.unlink(missing_ok=True)
        return seen

    monkeypatch.setattr("composia.operations.sending.look", looks_and_loses)
    rounds, _ = await nodes.pre_copy()
    monkeypatch.undo()

    await nodes.last()

    assert rounds.rounds[0].vanished == 2
    assert has_arrived(nodes)


async def test_what_changes_after_the_stop_ends_the_move(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looks_and_writes(root: cargo.Root) -> Manifest:
        seen = cargo.look(root)
        (nodes.data / "note").write_text("still writing")
        return seen

    monkeypatch.setattr("composia.operations.sending.look", looks_and_writes)

    with pytest.raises(Failure, match="note changed while everything was stopped"):
        await nodes.last()


async def test_a_large_file_appears_with_its_holes(nodes: TwoNodes) -> None:
    with (nodes.data / "sparse").open("wb") as file:
        file.truncate(1024**4)
        file.seek(3 * BLOCK)
        file.write(b"island")

    sent, _ = await nodes.last()

    assert manifest.differences(manifest.take(nodes.data), manifest.take(nodes.staged)) == ()
    assert (nodes.staged / "sparse").stat().st_blocks < 1024
    with (nodes.staged / "sparse").open("rb") as file:
        file.seek(3 * BLOCK)
        assert file.read(6) == b"island"
    assert sent.bytes < LARGE + 3 * BLOCK


async def test_a_single_file_moves_too(tmp_path: Path) -> None:
    nodes = TwoNodes(tmp_path)
    nodes.data.write_bytes(os.urandom(LARGE))
    await nodes.pre_copy()
    nodes.data.write_bytes(b"smaller")

    await nodes.last()

    assert nodes.staged.read_bytes() == b"smaller"
    assert nodes.swaps()[0].staged == nodes.staged


async def test_what_is_excluded_does_not_come_along(nodes: TwoNodes) -> None:
    nodes.cargo = (Cargo(item="uploads", include=("./data",), exclude=("./data/sub",)),)

    await nodes.last()

    assert sorted(os.listdir(nodes.staged)) == ["fifo", "link", "note"]
    assert [str(path) for path in nodes.swaps()[0].carry] == ["sub"]


async def test_a_volume_lands_in_a_volume_and_its_root_comes_along(nodes: TwoNodes) -> None:
    nodes.main.volume("cache", nodes.data)
    live = nodes.edge.docker.volumes_at = nodes.target.aside.parent / "volumes"
    (live / "app_cache" / "_data").mkdir(parents=True)
    nodes.edge.volume("cache", live / "app_cache" / "_data")
    (live / "app_cache" / "_data" / "from the image").write_text("live")
    nodes.cargo = (Cargo(item="uploads", include=("cache",)),)

    await nodes.pre_copy()
    (nodes.data / "new").write_text("new")
    await nodes.last()

    (swap,) = nodes.swaps()
    assert (swap.known_as, swap.volume, swap.staging_volume) == (
        "cache",
        "app_cache",
        "composia-01TASK-uploads-0-cache",
    )
    assert swap.staged == live / "composia-01TASK-uploads-0-cache" / "_data"
    assert not manifest.differences(manifest.take(nodes.data), manifest.take(swap.staged))
    assert contents(swap.staged) == contents(nodes.data)
    assert contents(swap.live) == {"from the image": b"live"}


async def test_what_lies_ready_is_removed_when_its_task_has_long_ended(nodes: TwoNodes) -> None:
    await nodes.last()
    soon, later = (datetime.now(UTC) + timedelta(hours=hours) for hours in (23, 25))

    assert await expire(nodes.target.aside, nodes.edge.docker, soon) == []
    assert await expire(nodes.target.aside, nodes.edge.docker, later) == ["01TASK"]
    assert not nodes.staged.exists()
    assert await expire(nodes.source.aside, nodes.main.docker, later) == ["01TASK"]


async def test_what_is_named_twice_is_exchanged_once(nodes: TwoNodes) -> None:
    (nodes.source.folder / "other").mkdir()
    include, exclude = ("./data", "./data/sub", "./other"), ("./other",)
    nodes.cargo = (Cargo(item="uploads", include=include, exclude=exclude),)

    await nodes.last()

    assert [swap.known_as for swap in nodes.swaps()] == ["./data"]
    assert has_arrived(nodes)


async def test_a_dump_goes_in_the_last_round_and_is_exchanged_with_nothing(
    nodes: TwoNodes,
) -> None:
    nodes.cargo = (*nodes.cargo, Cargo(item="database", dump=True))
    await nodes.pre_copy()
    dump_of(nodes.source, "database").write_bytes(os.urandom(LARGE))

    await nodes.last()

    arrived = dump_of(nodes.target, "database")
    assert arrived.read_bytes() == dump_of(nodes.source, "database").read_bytes()
    assert [swap.known_as for swap in nodes.swaps()] == ["./data"]


@pytest.mark.parametrize("cut_after", [0, 1, 3, 5, 8, 12, 16, 20, 24])
async def test_a_cut_connection_goes_on_where_it_was(tmp_path: Path, cut_after: int) -> None:
    nodes = a_service(TwoNodes(tmp_path, cut_after))
    nodes.data.joinpath("more").write_bytes(os.urandom(LARGE))

    await nodes.last()

    assert has_arrived(nodes)
    assert nodes.wires.joined == 2
    data_frames = sum(len(frame) for node, frame in nodes.wires.sent if node == "main")
    # What had come was compared, not sent again; a piece or two were under way.
    assert data_frames < 2 * LARGE + 20 * BLOCK


async def test_the_other_node_that_never_comes_ends_it(nodes: TwoNodes) -> None:
    nodes.wires.patience = 0.05

    with pytest.raises(WireCut):
        await nodes.send()


async def test_what_goes_wrong_on_one_node_is_told_on_the_other(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_size: int, _at: Path) -> None:
        raise Failure("not enough room", hint="Free some.")

    monkeypatch.setattr("composia.strategies.contents.make_room", no_room)

    with pytest.raises(Failure, match="not enough room"):
        await nodes.last()


async def test_data_that_is_not_as_on_the_source_is_named(nodes: TwoNodes) -> None:
    await nodes.last()
    (nodes.staged / "note").write_text("spoilt")
    (nodes.staged / "sub" / "empty").rmdir()

    with pytest.raises(Failure, match=r"./data/note \(.*mtime.*\), ./data/sub \(mtime\)"):
        await compare_received(nodes.target)


async def test_nothing_is_compared_before_the_last_round(nodes: TwoNodes) -> None:
    await nodes.pre_copy()

    with pytest.raises(Failure, match="has not received all of its data"):
        await compare_received(nodes.target)


async def test_a_forgotten_start_of_the_rounds_means_that_everything_is_compared(
    nodes: TwoNodes,
) -> None:
    await nodes.pre_copy()
    (nodes.source.aside / nodes.source.task / sending.ROUNDS).unlink()
    path = nodes.staged / "sub" / "large"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"not what was sent")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    await nodes.last()

    assert has_arrived(nodes)


async def test_a_copy_that_a_power_cut_may_have_spoilt_is_begun_anew(
    nodes: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    await nodes.pre_copy()
    kept = nodes.staged.parent / "landed.json"
    kept.write_text(kept.read_text().replace('"settled": true', '"settled": false'))
    (nodes.staged / "sub" / "large").write_bytes(b"half of it")
    monkeypatch.setattr("composia.operations.landing.boot_id", lambda: "another start")

    await nodes.last()

    assert has_arrived(nodes)
    assert "begun anew" in " ".join(nodes.edge.notes.lines)


async def test_data_that_was_put_in_place_is_not_received_again(nodes: TwoNodes) -> None:
    await nodes.last()
    (nodes.staged.parent / "replaced.json").write_text(
        '{"task": "01TASK", "at": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z",'
        ' "swaps": [], "kept": [], "downtime_seconds": 0, "started": true}'
    )

    with pytest.raises(Conflict):
        await nodes.last()


@pytest.mark.parametrize("node", ["main", "edge"])
async def test_a_volume_that_binds_what_another_item_has_is_refused_on_either_node(
    nodes: TwoNodes, tmp_path: Path, node: str
) -> None:
    for name, twins in (("main", nodes.main), ("edge", nodes.edge)):
        device = twins.folder / "data/sub" if name == node else twins.folder / "elsewhere"
        device.mkdir(parents=True, exist_ok=True)
        (device / "file").touch()
        twins.volume("media", tmp_path / "never", VolumeKind(type="none", device=str(device)))
    nodes.cargo = (*nodes.cargo, Cargo(item="media", include=("media",)))
    with pytest.raises(Invalid, match="overlap"):
        await nodes.pre_copy()


async def test_items_that_overlap_are_refused(nodes: TwoNodes) -> None:
    nodes.cargo = (*nodes.cargo, Cargo(item="part", include=("./data/sub",)))

    with pytest.raises(Invalid, match="overlap"):
        await nodes.last()
