from __future__ import annotations

import os
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.operations import exchanging
from composia.operations.exchanging import Exchange
from composia.operations.hold import NotPutBack
from composia.strategies.base import Swap
from composia.tools.containers import ContainerMount
from tests.twins.site import Twins


def a_swap(tmp_path: Path, **more: object) -> Swap:
    live, staged = tmp_path / "app/data", tmp_path / "aside/data"
    for folder, content in ((live, "old"), (staged, "new")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(content)
    fields = {"live": live, "staged": staged, "below": tmp_path / "app", "known_as": "./data"}
    return Swap.model_validate({**fields, **more})


def content(swap: Swap) -> str:
    return (swap.live / "file").read_text()


def test_what_is_carried_comes_along_and_goes_back(tmp_path: Path) -> None:
    swap = a_swap(tmp_path, carry=(Path("temp/deep"),))
    (swap.live / "temp/deep").mkdir(parents=True)
    (swap.live / "temp").chmod(0o711)
    os.utime(swap.staged, ns=(10**18,) * 2)
    exchange = exchanging.planned(swap)

    exchange.make()
    assert content(swap) == "new"
    assert (swap.live / "temp/deep").is_dir()
    assert (swap.live / "temp").stat().st_mode & 0o777 == 0o711

    exchanging.undo([exchange])
    assert content(swap) == "old"
    assert (swap.live / "temp/deep").is_dir()


def test_nothing_is_put_in_place_of_what_is_live(tmp_path: Path) -> None:
    swap = a_swap(tmp_path)
    swap.staged.rename(tmp_path / "taken_away")
    with pytest.raises(Failure, match=r"take the place of ./data is not at .*aside/data any more"):
        exchanging.planned(swap)
    exchanging.planned(swap, may_be_nothing=True).make()
    assert not swap.live.exists()


def test_what_the_backup_has_itself_is_not_carried(tmp_path: Path) -> None:
    swap = a_swap(tmp_path, carry=(Path("file"),))
    exchanging.planned(swap).make()
    assert content(swap) == "new"


@pytest.mark.parametrize("to", ["outside", "nowhere", "file"])
def test_nothing_is_carried_through_a_link_of_the_backup(tmp_path: Path, to: str) -> None:
    swap = a_swap(tmp_path, carry=(Path("a/b/keep"),))
    (swap.live / "a/b/keep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (swap.staged / "a").symlink_to(tmp_path / to)

    with pytest.raises(Failure, match=r"./data/a/b/keep is in no backup .* ./data/a is no folder"):
        exchanging.planned(swap)

    assert list((tmp_path / "outside").iterdir()) == []
    assert content(swap) == "old"


def test_what_lies_behind_a_link_of_the_live_data_is_not_carried(tmp_path: Path) -> None:
    swap = a_swap(tmp_path, carry=(Path("now/temp"), Path("now/a/temp")))
    (swap.live / "one/temp").mkdir(parents=True)
    (swap.live / "now").symlink_to("one")
    exchanging.planned(swap).make()
    assert content(swap) == "new"
    assert not (swap.live / "now").exists()


def test_a_link_put_in_the_way_meanwhile_is_not_followed(tmp_path: Path) -> None:
    swap = a_swap(tmp_path, carry=(Path("a/b/keep"),))
    (swap.live / "a/b/keep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    exchange = exchanging.planned(swap)
    (swap.staged / "a").symlink_to(tmp_path / "outside")

    with pytest.raises(Failure, match="a is no folder of its own"):
        exchange.make()

    assert list((tmp_path / "outside").iterdir()) == []


def test_a_folder_that_cannot_move_changes_its_content_and_its_look(tmp_path: Path) -> None:
    live = tmp_path / "app/data"
    swap = a_swap(tmp_path)
    inside = live / ".composia-task"
    swap.staged.rename(inside)
    swap = swap.model_copy(update={"staged": inside, "atomic": False})
    inside.chmod(0o750)
    live.chmod(0o701)
    exchange = exchanging.planned(swap)

    exchange.make()
    assert (content(swap), live.stat().st_mode & 0o777) == ("new", 0o750)

    exchanging.undo([exchange])
    assert (content(swap), live.stat().st_mode & 0o777) == ("old", 0o701)


def on_a_disk(tmp_path: Path, carry: str) -> Swap:
    """A folder that cannot move, with something in it that no backup has."""
    live = tmp_path / "app/data"
    swap = a_swap(tmp_path, carry=(Path(carry),))
    inside = live / ".composia-task"
    swap.staged.rename(inside)
    os.utime(inside, ns=(10**18,) * 2)
    (live / carry).mkdir(parents=True)
    (live / carry / "kept").write_text("of no backup")
    return swap.model_copy(update={"staged": inside, "atomic": False})


@pytest.mark.parametrize("carry", ["cache", "a/cache", "a/b/cache"])
def test_what_is_carried_comes_along_where_only_children_move(tmp_path: Path, carry: str) -> None:
    swap = on_a_disk(tmp_path, carry)
    exchange = exchanging.planned(swap)

    exchange.make()
    assert content(swap) == "new"
    assert (swap.live / carry / "kept").read_text() == "of no backup"
    assert not (swap.staged / carry).exists()
    assert swap.live.stat().st_mtime_ns == 10**18

    exchanging.undo([exchange])
    assert content(swap) == "old"
    assert (swap.live / carry / "kept").read_text() == "of no backup"


def test_what_is_carried_comes_back_by_the_same_exchange(tmp_path: Path) -> None:
    swap = on_a_disk(tmp_path, "cache")
    for found in ("new", "old"):
        exchanging.planned(swap).make()
        assert content(swap) == found
        assert (swap.live / "cache/kept").read_text() == "of no backup"


def test_what_an_earlier_restore_keeps_in_a_disk_stays_there(tmp_path: Path) -> None:
    swap = on_a_disk(tmp_path, "cache")
    earlier = swap.live / ".composia-earlier"
    earlier.mkdir()
    exchanging.planned(swap).make()
    assert earlier.is_dir()


@pytest.mark.parametrize("made", range(3))
def test_undo_finds_out_by_itself_how_much_was_done(tmp_path: Path, made: int) -> None:
    swaps = [a_swap(tmp_path / str(number)) for number in range(2)]
    exchanges = [exchanging.planned(swap) for swap in swaps]
    for exchange in exchanges[:made]:
        exchange.make()
    noted = tuple(Exchange.model_validate(one.model_dump(mode="json")) for one in exchanges)

    exchanging.undo(noted)
    exchanging.undo(noted)

    assert [content(swap) for swap in swaps] == ["old", "old"]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("made", [True, False])
def test_where_its_disk_is_missing_nothing_is_taken_for_undone(
    tmp_path: Path, atomic: bool, made: bool
) -> None:
    disk, unmounted = tmp_path / "app/disk", tmp_path / "unmounted"
    live, staged = disk / "data" if atomic else disk, disk / ".composia-task"
    staged.mkdir(parents=True)
    (staged / "file").write_text("new")
    swap = Swap(live=live, staged=staged, below=tmp_path / "app", known_as="./disk", atomic=atomic)
    exchange = exchanging.planned(swap)
    if made:
        exchange.make()

    disk.rename(unmounted)
    disk.mkdir()
    with pytest.raises(NotPutBack, match="nothing is at"):
        exchanging.undo([exchange])
    assert list(disk.iterdir()) == []

    disk.rmdir()
    unmounted.rename(disk)
    exchanging.undo([exchange])
    assert not (live / "file").exists()
    assert (staged / "file").read_text() == "new"


async def test_whoever_reads_a_volume_that_binds_a_folder_stops_too(tmp_path: Path) -> None:
    def uses(source: Path, name: str, *, shared: bool) -> list[ContainerMount]:
        mount = ContainerMount(
            type="volume",
            name=name,
            source=str(source),
            destination="/x",
            writable=False,
            shared=shared,
        )
        return [mount]

    twins = Twins(tmp_path / "app")
    plain, bound = (
        a_swap(tmp_path / name).model_copy(update={"volume": f"app_{name}"})
        for name in ("plain", "bound")
    )
    for name, swap, shared in (("plain", plain, False), ("bound", bound, True)):
        reads = uses(swap.live, f"app_{name}", shared=shared)
        twins.docker.add(f"reads-{name}", project="other", mounts=reads)
    # Another volume is mounted by itself: whoever only reads that sees the old data for a while.
    other = uses(bound.live, "theirs", shared=True)
    twins.docker.add("reads-another", project="other", mounts=other)
    found = await exchanging.mounting(twins.site, [plain, bound])
    assert [one.name for one in found] == ["reads-bound"]


async def test_containers_that_see_the_data_are_found(tmp_path: Path) -> None:
    twins = Twins(tmp_path / "app")
    swap = a_swap(tmp_path)
    twins.docker.add("exact", mounts=[swap.live])
    twins.docker.add("above", mounts=[swap.live.parent])
    twins.docker.add("below", mounts=[swap.live / "file"])
    twins.docker.add("beside", mounts=[swap.live.parent / "other"])
    twins.docker.add("stranger", project="other", mounts=[swap.live])
    twins.docker.add("backup-program", project="other", mounts=[tmp_path])
    found = await exchanging.mounting(twins.site, [swap])
    assert {one.name for one in found} == {"exact", "above", "below", "stranger"}


def test_there_is_nothing_to_lose_in_a_fresh_file_system_or_where_nothing_is(
    tmp_path: Path,
) -> None:
    swap = a_swap(tmp_path)
    assert exchanging.has_data(swap)
    (swap.live / "file").unlink()
    (swap.live / "lost+found").mkdir()
    (swap.live / ".composia-01TASK-data").mkdir()
    assert not exchanging.has_data(swap)
    assert not exchanging.has_data(swap.model_copy(update={"live": tmp_path / "gone"}))


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "./data"),
        ({"known_as": "/srv/database"}, None),
        ({"known_as": "pgdata", "volume": "app_pgdata"}, "pgdata"),
        ({"known_as": "pgdata/part", "volume": "app_pgdata"}, "pgdata"),
        ({"known_as": "4f1c", "volume": "4f1c"}, None),
    ],
)
async def test_what_is_replaced_is_named_as_include_names_it(
    tmp_path: Path, fields: dict[str, str], name: str | None
) -> None:
    twins = Twins(tmp_path / "app")
    twins.volume("pgdata", tmp_path / "volume")
    swap = a_swap(tmp_path, **fields)
    assert await exchanging.savable(swap, twins.site) == name
