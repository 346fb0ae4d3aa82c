"""Volumes that bind a folder of the node: where their data is, and which folders are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from composia.errors import Failure, Invalid
from composia.operations import exchanging
from composia.strategies import put_back, sources, volumes
from composia.strategies.base import Swap
from composia.strategies.sources import Source
from composia.tools.paths import parse_include
from composia.tools.volumes import VolumeKind
from tests.twins.site import Twins

NFS = VolumeKind(type="nfs")


def bind(device: Path | str) -> VolumeKind:
    return VolumeKind(type="none", device=str(device))


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    (tmp_path / "services/my-app/data").mkdir(parents=True)
    (tmp_path / "services/other/data").mkdir(parents=True)
    (tmp_path / "engine/volumes/app_media/_data").mkdir(parents=True)
    (tmp_path / "srv/media").mkdir(parents=True)
    (tmp_path / "srv/media/film").write_text("x")
    made = Twins(tmp_path / "services/my-app")
    (tmp_path / "services/.state").mkdir()
    made.docker.docker_root = tmp_path / "engine"
    made.docker.volumes_at = tmp_path / "engine/volumes"
    return made


def binds(twins: Twins, device: Path | str, key: str = "media") -> None:
    """A volume that binds it; where Docker shows it, it is empty."""
    folder = twins.docker.docker_root / f"volumes/app_{key}/_data"
    folder.mkdir(parents=True, exist_ok=True)
    twins.volume(key, folder, bind(device))


async def saved_from(twins: Twins, *include: str) -> tuple[Source, ...]:
    return await sources.resolve(twins.site, include or ("media",), ())


async def put_to(twins: Twins, name: str = "media") -> put_back.Target:
    return await put_back.target(parse_include(name), twins.site)


async def test_it_is_saved_from_its_folder_and_not_from_where_docker_shows_it(
    twins: Twins, tmp_path: Path
) -> None:
    binds(twins, tmp_path / "srv/media")
    (found,) = await saved_from(twins)
    assert (found.key, found.path, found.known_as, found.volume, found.bound) == (
        "volumes/media", tmp_path / "srv/media", "media", "app_media", True,
    )  # fmt: skip


async def test_it_is_put_back_beside_its_folder_and_not_in_a_volume(
    twins: Twins, tmp_path: Path
) -> None:
    binds(twins, tmp_path / "srv/media")
    target = await put_to(twins)
    assert (target.path, target.below) == (tmp_path / "srv/media", tmp_path / "srv")
    place, volume = await put_back.beside(target, "item-0", twins.site)
    assert volume is None
    assert place.parent == twins.site.aside / "01TASK"
    assert target.part("volumes/media/a/b").path == tmp_path / "srv/media/a/b"


async def test_a_folder_behind_a_link_is_the_one_that_docker_follows_it_to(
    twins: Twins, tmp_path: Path
) -> None:
    (tmp_path / "disk").symlink_to("srv")
    binds(twins, tmp_path / "disk/media")
    (found,) = await saved_from(twins)
    assert found.path == (await put_to(twins)).path == tmp_path / "srv/media"


async def test_a_folder_inside_that_of_the_service_is_trusted_no_further_than_that(
    twins: Twins,
) -> None:
    binds(twins, twins.folder / "data")
    assert (await put_to(twins)).below == twins.folder
    (found,) = await saved_from(twins)
    assert found.path == twins.folder / "data"


async def test_one_that_was_never_made_goes_where_the_compose_file_says(
    twins: Twins, tmp_path: Path
) -> None:
    device = tmp_path / "new/disk/media"
    twins.declare("media", bind(device))
    target = await put_to(twins)
    assert (target.path, target.below, target.volume) == (device, tmp_path, "app_media")
    assert await volumes.missing(twins.site) == (device,)
    volumes.make(device)
    assert device.is_dir()
    assert await volumes.missing(twins.site) == ()


async def test_what_the_engine_has_goes_before_what_the_compose_file_says(
    twins: Twins, tmp_path: Path
) -> None:
    binds(twins, tmp_path / "srv/media")
    twins.declare("media", bind(tmp_path / "elsewhere"))
    assert (await put_to(twins)).path == tmp_path / "srv/media"
    assert await volumes.missing(twins.site) == ()


async def test_a_folder_that_is_not_there_is_no_empty_one(twins: Twins, tmp_path: Path) -> None:
    binds(twins, tmp_path / "srv/unplugged")
    with pytest.raises(Failure, match=r"`media` .*binds .*/srv/unplugged, which does not exist"):
        await saved_from(twins)


@pytest.mark.parametrize("there", [True, False], ids=["made", "declared"])
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (NFS, "driver local with type nfs"),
        (VolumeKind(driver="rclone"), "driver rclone"),
        (VolumeKind(type=""), "driver local with options of its own"),
    ],
)
async def test_any_other_volume_is_refused_by_name_with_what_to_do(
    twins: Twins, tmp_path: Path, kind: VolumeKind, told: str, there: bool
) -> None:
    twins.volume("media", tmp_path / "engine/volumes/app_media/_data", kind)
    twins.volume("cache", tmp_path / "engine/volumes/app_cache/_data")
    if not there:
        del twins.docker.volumes["app_media"]
    calls = [put_to(twins), *([saved_from(twins)] if there else [])]
    for refused in calls:
        with pytest.raises(Failure, match=f"volume .*app_media.* of my-app is of {told}") as caught:
            await refused
        assert "unprotected" in (caught.value.hint or "")
        assert "leave_behind" in (caught.value.hint or "")
    # It stands in the way of nothing else.
    assert [one.key for one in await saved_from(twins, "cache", "./data")] == [
        "volumes/cache",
        "files/data",
    ]
    assert await volumes.missing(twins.site) == ()


def a_file(at: Path) -> str:
    (at / "file").touch()
    return f"{at}/file"


def a_link(at: Path) -> str:
    (at / "link").symlink_to(at / "srv/media")
    return f"{at}/link"


def a_link_to_nothing(at: Path) -> str:
    (at / "dangling").symlink_to(at / "nowhere")
    return f"{at}/dangling"


def a_circle(at: Path) -> str:
    (at / "circle").symlink_to(at / "circle")
    return f"{at}/circle"


HOSTILE: Mapping[str, tuple[Callable[[Path], str], str]] = {
    "relative": (lambda at: "srv/media", "no absolute path"),
    "root": (lambda at: "/", "belongs to the system"),
    "root, spelled": (lambda at: f"{at}{'/..' * 30}", "belongs to the system"),
    "etc": (lambda at: "/etc", "belongs to the system"),
    "in proc": (lambda at: "/proc/1/root", "belongs to the system|cannot be looked at"),
    "too long": (lambda at: f"{at}/{'x' * 300}", "cannot be looked at: File name too long"),
    "a circle": (a_circle, "is a symbolic link"),
    "missing in sys": (lambda at: "/sys/new", "belongs to the system"),
    "file": (a_file, "is no folder"),
    "below a file": (lambda at: f"{a_file(at)}/sub", "is no folder"),
    "link": (a_link, "is a symbolic link to .*/srv/media"),
    "dangling link": (a_link_to_nothing, "is a symbolic link"),
    "docker": (lambda at: f"{at}/engine", "Docker's own folder"),
    "in docker": (lambda at: f"{at}/engine/volumes/app_other/_data", "Docker's own folder"),
    "above all": (lambda at: f"{at}", "Docker's own folder"),
    "all services": (lambda at: f"{at}/services", "folder of services"),
    "the service": (lambda at: f"{at}/services/my-app", "folder of services"),
    "another service": (lambda at: f"{at}/services/other/data", "folder of services"),
    "by a way round": (lambda at: f"{at}/services/my-app/../other/data", "folder of services"),
    "what lies aside": (lambda at: f"{at}/services/.composia", "folder of services"),
    "the agent's state": (lambda at: f"{at}/services/.state/journal", "folder of services"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_folder_that_is_nobodys_to_work_on_is_refused(
    twins: Twins, tmp_path: Path, name: str
) -> None:
    device, told = HOSTILE[name]
    written = device(tmp_path)
    binds(twins, written)
    for refused in (saved_from(twins), put_to(twins)):
        with pytest.raises(Failure, match=told) as caught:
            await refused
        assert f"binds {written}, which" in caught.value.message
        assert caught.value.hint


async def test_the_agents_state_is_refused_wherever_it_is(twins: Twins, tmp_path: Path) -> None:
    state = tmp_path / "state"
    site = twins.site
    object.__setattr__(site, "state", state / "instances/my-app")
    binds(twins, state / "instances/other")
    with pytest.raises(Failure, match="the agent's own files"):
        await saved_from(twins)


async def test_none_that_is_refused_is_made(twins: Twins) -> None:
    twins.declare("media", bind(twins.site.repo_dir / "other/new"))
    with pytest.raises(Failure, match="folder of services"):
        await volumes.missing(twins.site)


@pytest.mark.parametrize("device", ["data", "data/sub"])
async def test_one_place_by_two_names_is_refused(twins: Twins, device: str) -> None:
    (twins.folder / "data/sub").mkdir()
    binds(twins, twins.folder / device)
    with pytest.raises(Failure, match=r"`media` and `./data` of my-app overlap"):
        await saved_from(twins, "media", "./data")
    binds(twins, twins.folder / "data/sub", "more")
    with pytest.raises(Failure, match=r"`media` and `more` of my-app overlap"):
        await saved_from(twins, "media", "more")


def test_what_is_one_place_by_two_names_is_not_put_in_place(tmp_path: Path) -> None:
    def swap(live: Path) -> Swap:
        return Swap(live=live, staged=tmp_path / "x", below=tmp_path, known_as=live.name)

    with pytest.raises(Invalid, match="a and b overlap"):
        exchanging.refuse_overlap([swap(tmp_path / "a"), swap(tmp_path / "a/b")])
