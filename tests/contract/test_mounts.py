"""What is mounted in a service's data is neither carried off nor emptied; with real mounts."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from composia.errors import Conflict, Damaged, Failure
from composia.operations import exchanging, kept, replacing
from composia.operations.hold import NotPutBack, held
from composia.operations.kept import Replaced
from composia.operations.replacing import Facts, Replacing
from composia.operations.restore import FetchData, ItemToRestore
from composia.strategies import put_back
from composia.strategies.aside import Aside
from composia.strategies.base import Swap, Wanted
from composia.strategies.files_copy import FilesCopyBack
from composia.tools import manifest, mounts
from composia.tools.docker import Docker
from composia.tools.paths import parse_include
from composia.tools.volumes import VolumeKind
from tests.contract.repository import small_disk
from tests.twins.site import Twins
from tests.unit.operations.carried import TwoNodes
from tests.unit.operations.test_left_behind import NOW, Node
from tests.workflow.office import ref

WANTED = Wanted(item="data", backup_id="01B", snapshot_id="5" * 64, saved_by="files.copy")


@contextmanager
def a_disk(at: Path, precious: Path) -> Iterator[Path]:
    """A folder with a file in it, mounted there; it is to be whole afterwards."""
    precious.mkdir()
    (precious / "film").write_text("precious")
    at.mkdir(parents=True)
    subprocess.run(["mount", "--bind", precious, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", at], check=True)
    assert (precious / "film").read_text() == "precious"


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    (tmp_path / "my-app/data").mkdir(parents=True)
    return Twins(tmp_path / "my-app")


@pytest.fixture
def data(twins: Twins) -> Path:
    return twins.folder / "data"


@pytest.fixture
def disk(data: Path, tmp_path: Path) -> Iterator[Path]:
    """Mounted in the data, at a name as mountinfo has to escape it."""
    with a_disk(data / "media/my\nfi lms\\", tmp_path / "precious") as found:
        yield found


def test_what_is_mounted_in_a_folder_is_found(data: Path, disk: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "my-app")
    assert mounts.below(data) == mounts.below(tmp_path / "link/data") == (disk,)
    assert mounts.is_mount_point(tmp_path / "link/data/media" / disk.name)
    assert mounts.below(disk) == mounts.below(data.with_name("dat")) == ()


@pytest.mark.parametrize("at", [True, False], ids=["at", "in"])
def test_nothing_is_removed_from_a_mount_on(data: Path, disk: Path, at: bool) -> None:
    path = disk if at else data
    (data / "other").touch()
    with pytest.raises(Conflict, match=r"something is mounted at .*data/media/my") as caught:
        mounts.remove(path)
    mounts.try_to_remove(path)
    assert caught.value.hint
    assert (data / "other").exists()


async def test_a_restore_is_refused_before_any_of_its_items_is_fetched(
    twins: Twins, disk: Path, data: Path
) -> None:
    async def read(backup_id: str) -> bytes | None:
        return manifest.join({"files/data": manifest.take(data)}).write()

    (data / "other").mkdir()
    site = replace(twins.site, read_manifest=read)
    other, media = (
        ItemToRestore(wanted=WANTED, strategy=FilesCopyBack(include=(path,)))
        for path in ("./data/other", "./data/media")
    )
    # Nothing comes out of the twin of a repository.
    with pytest.raises(Conflict, match=r"^\./data/media cannot be put in place: .*mounted in it"):
        await FetchData(service=ref(), items=(other, media)).perform(site)
    with pytest.raises(Damaged, match="did not come back"):
        await FetchData(service=ref(), items=(other,)).perform(site)


async def test_a_move_is_refused_before_anything_is_received(tmp_path: Path) -> None:
    nodes = TwoNodes(tmp_path)
    nodes.data.mkdir()
    with (
        a_disk(nodes.live / "media", tmp_path / "precious"),
        pytest.raises(Conflict, match=r"^\./data cannot be put in place"),
    ):
        await nodes.pre_copy()


def a_swap(twins: Twins, staged: Path) -> Swap:
    staged.mkdir(parents=True)
    return Swap(live=twins.folder / "data", staged=staged, below=twins.folder, known_as="./data")


async def test_nothing_stops_for_an_exchange_that_would_carry_a_mount_off(
    twins: Twins, tmp_path: Path, disk: Path
) -> None:
    twins.docker.add("web", folder=twins.folder, mounts=[twins.folder / "data"])
    swap = a_swap(twins, tmp_path / "aside/data")
    aside = Aside(twins.site.aside, "01TASK")
    with pytest.raises(Conflict, match="would be carried off"):
        await Replacing(twins.site, aside, (swap,), None).perform()
    assert twins.docker.done == []
    with pytest.raises(Conflict, match="would be carried off"):
        exchanging.planned(swap)
    assert disk.is_dir()


async def test_what_was_replaced_stays_while_something_is_mounted_in_it_and_the_rest_goes(
    twins: Twins, tmp_path: Path
) -> None:
    now, root = datetime.now(UTC), twins.site.aside
    for task in ("carried", "later"):
        aside = Aside(root, task)
        swap = a_swap(twins, aside.beside(twins.folder / "data", "item"))
        of = exchanging.planned(swap)
        made = Replaced(
            task=task, at=now, until=now, swaps=(swap,), kept=(of.kept,),
            downtime_seconds=0, started=False,
        )  # fmt: skip
        aside.write(kept.REPLACED, made)
    with a_disk(root / "carried/item-data/media", tmp_path / "precious"):
        with pytest.raises(Conflict, match="carried/item-data was not removed"):
            await kept.expire(root, twins.docker, now + timedelta(hours=1))
        assert sorted(path.name for path in root.iterdir()) == ["carried"]
    assert await kept.expire(root, twins.docker, now + timedelta(hours=1)) == ["carried"]


async def test_what_a_service_left_stays_while_something_is_mounted_in_it(tmp_path: Path) -> None:
    node = Node(tmp_path)
    with a_disk(node.data / "media", tmp_path / "precious"):
        # The disk was there when it left, however long it takes here to mount one.
        node.keep()
        with pytest.raises(Conflict, match="data was not removed"):
            await node.expire(NOW + timedelta(days=1))
    assert await node.expire(NOW + timedelta(days=1)) == ["my-app"]


@pytest.fixture
async def volume(docker: Docker) -> AsyncIterator[str]:
    name = f"composia-mounts-{os.getpid()}"
    yield name
    await docker.remove_volume(name)


async def test_a_volume_with_a_mount_in_it_is_not_removed(
    docker: Docker, volume: str, tmp_path: Path
) -> None:
    made = await docker.create_volume(volume, {})
    with a_disk(made.mountpoint / "media", tmp_path / "precious"):
        with pytest.raises(Conflict, match="something is mounted at"):
            await docker.remove_volume(volume)
        assert await docker.volume(volume)


async def test_a_volume_that_is_a_disk_of_its_own_is_staged_on_that_disk(
    twins: Twins, tmp_path: Path
) -> None:
    for name in ("plain", "own"):
        (tmp_path / "volumes" / name / "_data").mkdir(parents=True)
        twins.volume(name, tmp_path / "volumes" / name / "_data")
    twins.docker.volumes_at = tmp_path / "volumes"
    with small_disk(tmp_path / "volumes/own/_data") as disk:
        plain, own = [
            await put_back.target(parse_include(name), twins.site) for name in ("plain", "own")
        ]
        place, made = await put_back.beside(plain, "item-0", twins.site)
        assert made in twins.docker.volumes
        place, made = await put_back.beside(own, "item-1", twins.site)
        assert (place.parent, made) == (disk, None)
        (place / "sub").mkdir(parents=True)
        (disk / "old").touch()
        swap = Swap(live=disk, staged=place, below=own.below, known_as="own", atomic=False)
        exchanging.planned(swap).make()
        assert sorted(os.listdir(disk)) == sorted([place.name, "sub"])
        assert os.listdir(place) == ["old"]


async def test_nothing_is_put_in_place_below_a_volume_that_is_still_mounted(
    twins: Twins, tmp_path: Path
) -> None:
    shown = tmp_path / "volumes/app_media/_data"
    swap = a_swap(twins, tmp_path / "staged").model_copy(update={"volume": "app_media"})
    (swap.live / "word").write_text("old")
    twins.volume("media", shown, VolumeKind(type="none", device=str(swap.live)))
    twins.docker.add("web", folder=twins.folder, mounts=[swap.live])
    aside = Aside(twins.site.aside, "01TASK")
    with a_disk(shown, tmp_path / "precious"):
        with pytest.raises(Failure, match="still has volume app_media mounted") as caught:
            await Replacing(twins.site, aside, (swap,), None).perform()
        assert f"umount {shown}" in (caught.value.hint or "")
        assert twins.docker.running() == {"web"}
        assert (swap.live / "word").exists()
    await Replacing(twins.site, aside, (swap,), None).perform()
    assert not (swap.live / "word").exists()


@pytest.mark.parametrize(
    "name", ["a" * 255, "ä" * 127, "b" + "ä" * 127, os.fsdecode(b"\xff" * 255)]
)
def test_the_longest_names_have_a_place_beside(tmp_path: Path, name: str) -> None:
    live = tmp_path / "app" / name
    live.mkdir(parents=True)
    places = {Aside(tmp_path / ".composia", task).beside(live, "item-0") for task in ("1", "2")}
    with small_disk(tmp_path / "app"):
        live.mkdir()
        places.add(Aside(tmp_path / ".composia", "3").beside(live, "item-0"))
        other = live.with_name(live.name[:-1] + "c")
        places.add(Aside(tmp_path / ".composia", "3").beside(other, "item-0"))
        for place in places:
            place.mkdir()
            assert os.fsencode(place.name).startswith((b"item-0-", b".composia-3-item-0-"))
    assert len(places) == 4


class HalfRestored:
    """Two files on a disk, of which one is exchanged when the agent is killed."""

    def __init__(self, twins: Twins) -> None:
        self.twins = twins
        self.disk = twins.folder / "data"
        self.aside = Aside(twins.site.aside, "01TASK")
        twins.docker.add("web", folder=twins.folder, mounts=[self.disk])
        self.notes: dict[str, Any] = {}

    def fill(self) -> None:
        (self.disk / ".composia-01TASK").mkdir()
        for folder, word in ((self.disk, "old"), (self.disk / ".composia-01TASK", "new")):
            for name in ("a", "b"):
                (folder / name).write_text(word)

    def seen(self) -> list[str]:
        return [(self.disk / name).read_text() for name in ("a", "b")]

    async def is_killed(self) -> None:
        swap = Swap(
            live=self.disk,
            staged=self.disk / ".composia-01TASK",
            below=self.twins.folder,
            known_as="./data",
            atomic=False,
        )
        exchange, web = exchanging.planned(swap), ("id-web",)
        facts = Facts(exchanges=(exchange,), was=None, seeing=web, ran=web, began=0)
        async with held(self.twins.site, web):
            exchange.moves[0].make()
            noted = dict(self.twins.notes.noted)
        self.twins.docker.change("web", state="exited", restart_policy="no")
        self.notes = {**noted, "exchanging": facts.model_dump(mode="json")}

    async def is_put_right(self) -> None:
        await replacing.put_right(self.twins.site, self.aside, self.notes)


@pytest.fixture
def half(twins: Twins) -> HalfRestored:
    return HalfRestored(twins)


async def test_a_disk_that_has_another_number_after_a_reboot_gets_its_data_back(
    half: HalfRestored, tmp_path: Path
) -> None:
    with two_devices(tmp_path / "image") as (first, second):
        with mounted(first, half.disk):
            half.fill()
            await half.is_killed()
            before = half.disk.stat().st_dev
            assert half.seen() == ["new", "old"]
        with mounted(second, half.disk):
            assert half.disk.stat().st_dev != before
            await half.is_put_right()
            assert half.seen() == ["old", "old"]
    assert half.twins.docker.running() == {"web"}


@pytest.mark.parametrize("another", [True, False], ids=["another", "none"])
async def test_what_is_there_instead_of_a_disk_is_not_taken_for_its_data(
    half: HalfRestored, another: bool
) -> None:
    with small_disk(half.disk):
        half.fill()
        await half.is_killed()
        numbers = [(half.disk / name).stat().st_ino for name in ("a", "b")]
    with small_disk(half.disk) if another else nullcontext():
        if another:
            # As they are numbered there, each of them is where it was exchanged to.
            half.fill()
            (half.disk / "a").rename(half.disk / "c")
            (half.disk / ".composia-01TASK/a").rename(half.disk / "a")
            (half.disk / "c").rename(half.disk / ".composia-01TASK/a")
            assert [(half.disk / name).stat().st_ino for name in ("a", "b")] == numbers
        before = sorted(half.disk.rglob("*"))
        with pytest.raises(NotPutBack, match="nothing is at"):
            await half.is_put_right()
        assert sorted(half.disk.rglob("*")) == before
        assert not another or half.seen() == ["new", "old"]
    assert half.twins.docker.running() == set()


@contextmanager
def two_devices(image: Path) -> Iterator[list[str]]:
    """One file system, known under two numbers."""
    with image.open("wb") as file:
        file.truncate(8_000_000)
    subprocess.run(["mkfs.ext4", "-qF", image], check=True)
    attach = ["losetup", "--find", "--show", str(image)]
    devices: list[str] = []
    try:
        for _ in range(2):
            made = subprocess.run(attach, check=True, capture_output=True, text=True)
            devices.append(made.stdout.strip())
        yield devices
    finally:
        for device in devices:
            subprocess.run(["losetup", "--detach", device], check=True)


@contextmanager
def mounted(device: str, at: Path) -> Iterator[None]:
    subprocess.run(["mount", device, at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)
