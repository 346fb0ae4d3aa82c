"""What may be included, where it lies, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.strategies import sources
from composia.strategies.sources import Source, known_as, resolve
from tests.twins.site import Twins


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    folder = tmp_path / "my-app"
    (folder / "data/uploads").mkdir(parents=True)
    (folder / "data/uploads/file").write_text("x")
    made = Twins(folder)
    made.volume("cache", tmp_path / "volumes/app_cache/_data")
    return made


async def found(twins: Twins, *include: str, exclude: tuple[str, ...] = ()) -> tuple[Source, ...]:
    return await resolve(twins.site, include, exclude)


async def test_a_path_and_a_volume_have_stable_keys(twins: Twins, tmp_path: Path) -> None:
    assert await found(twins, "./data/uploads", "cache") == (
        Source(
            key="files/data/uploads",
            path=tmp_path / "my-app/data/uploads",
            known_as="./data/uploads",
        ),
        Source(
            key="volumes/cache",
            path=tmp_path / "volumes/app_cache/_data",
            known_as="cache",
            volume="app_cache",
        ),
    )


async def test_what_lies_in_another_include_is_saved_once(twins: Twins) -> None:
    keys = [one.key for one in await found(twins, "./data/uploads", "data/", "data/uploads")]
    assert keys == ["files/data"]


async def test_excludes_go_with_the_source_they_lie_in(twins: Twins) -> None:
    (twins.folder / "other").mkdir()
    one, other = await found(
        twins, "./data/uploads", "./other", exclude=("./data/uploads/temp", "./elsewhere")
    )
    assert one.exclude == ("files/data/uploads/temp",)
    assert other.exclude == ()


async def test_a_volume_may_be_excluded_whole(twins: Twins) -> None:
    keys = [one.key for one in await found(twins, "./data", "cache", exclude=("cache",))]
    assert keys == ["files/data"]


async def test_an_item_of_which_everything_is_excluded_fails(twins: Twins) -> None:
    with pytest.raises(Failure, match="all of `include` is excluded"):
        await found(twins, "./data/uploads", exclude=("./data",))


@pytest.mark.parametrize("name", ["./gone", "./data/uploads/file/below", "./data/gone/deep"])
async def test_a_missing_path_is_named(twins: Twins, name: str) -> None:
    with pytest.raises(Failure, match="does not exist on main") as raised:
        await found(twins, name)
    assert name in raised.value.message
    assert raised.value.hint


async def test_a_volume_that_the_compose_file_does_not_name_is_told_so(twins: Twins) -> None:
    with pytest.raises(Failure, match="`uploads` is no volume") as raised:
        await found(twins, "uploads")
    assert "./uploads" in str(raised.value.hint)


async def test_a_volume_that_was_never_made_is_named(twins: Twins) -> None:
    twins.docker.volumes.clear()
    with pytest.raises(Failure, match=r"`cache` \(app_cache\).*does not exist"):
        await found(twins, "cache")


@pytest.mark.parametrize("name", ["./away", "./away/hosts"])
async def test_a_link_that_leads_out_of_the_folder_is_refused(twins: Twins, name: str) -> None:
    (twins.folder / "away").symlink_to("/etc")
    with pytest.raises(Failure, match="leads out of the service's folder"):
        await found(twins, name)


async def test_a_source_that_is_a_link_is_refused_with_what_it_points_to(twins: Twins) -> None:
    (twins.folder / "link").symlink_to("data/uploads")
    with pytest.raises(Failure, match="is a symbolic link") as raised:
        await found(twins, "./link")
    assert "./data/uploads" in str(raised.value.hint)


@pytest.mark.parametrize("name", ["./link/uploads", "./link/nothing"])
async def test_a_link_on_the_way_is_refused_too(twins: Twins, name: str) -> None:
    (twins.folder / "link").symlink_to("data")
    with pytest.raises(Failure, match="lies behind a symbolic link") as raised:
        await found(twins, name)
    assert name.replace("link", "data") in str(raised.value.hint)


async def test_what_is_neither_file_nor_folder_is_refused(twins: Twins) -> None:
    os.mkfifo(twins.folder / "fifo")
    with pytest.raises(Failure, match="neither a file nor a folder"):
        await found(twins, "./fifo")


async def test_a_single_file_is_a_source(twins: Twins) -> None:
    (source,) = await found(twins, "./data/uploads/file")
    assert source.key == "files/data/uploads/file"


async def test_what_we_stage_ourselves_is_left_out(twins: Twins) -> None:
    (twins.folder / "data/.composia-01-0-uploads").mkdir()
    found_ = await found(twins, "./data", exclude=("./data/tmp",))
    seen = await sources.look(found_)
    assert sources.excluded(found_, seen) == ["files/data/.composia-01-0-uploads", "files/data/tmp"]


@pytest.mark.parametrize(
    ("key", "name"),
    [("files/data/x", "./data/x"), ("volumes/cache/x", "cache/x"), ("volumes/cache", "cache")],
)
def test_keys_are_told_as_people_write_them(key: str, name: str) -> None:
    assert known_as(key) == name
