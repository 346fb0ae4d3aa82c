"""The repository is made once, in an empty place, and recognised ever after."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Conflict, Failure
from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.repository import (
    CheckRepository,
    DescribeRepository,
    ForgetSnapshot,
    OpenRepository,
    TagOfOurs,
)
from composia.strategies.base import Site
from composia.tools.rustic import Labels, Part
from tests.twins.engine import MemoryEngine
from tests.twins.site import Twins

INFRA = ServiceRef(
    name="infra-backup",
    folder="infra-backup",
    project="infra-backup",
    compose_files=("docker-compose.yaml",),
    revision="0" * 40,
)
OURS, OTHER = "a" * 64, "b" * 64


class Repository(MemoryEngine):
    """A repository in memory that may be there, or not, or be another."""

    def __init__(self, found: str | None = None, folder: Path | None = None) -> None:
        super().__init__()
        self.found = found
        self.folder = folder
        self.made = 0
        self.checked: list[bool] = []

    async def repository_id(self, *, far: bool = False) -> str | None:
        await asyncio.sleep(0)
        return self.found

    async def init(self) -> str:
        self.made += 1
        await asyncio.sleep(0)
        self.found = OURS
        return OURS

    async def check(self, *, read_data: bool = False, part: Part | None = None) -> None:
        self.checked.append(read_data)

    async def repository_folder(self) -> Path | None:
        return self.folder


def a_repository(found: str | None = None, folder: Path | None = None) -> Repository:
    return Repository(found, folder)  # type: ignore[abstract]  # the rest is not asked for here


def site(tmp_path: Path, engine: Repository) -> Site:
    return replace(Twins(tmp_path / "folder").site, repository=engine)


def known(repository_id: str | None) -> RepositoryRef:
    return RepositoryRef(
        service=INFRA, compose_service="rustic", profile="default", repository_id=repository_id
    )


def opening(recorded: str | None) -> OpenRepository:
    return OpenRepository(service=INFRA, repository=known(recorded))


async def test_it_is_made_where_none_was_ever_recorded_and_the_place_is_empty(
    tmp_path: Path,
) -> None:
    opened = await opening(None).perform(site(tmp_path, a_repository()))

    assert (opened.repository_id, opened.made) == (OURS, True)


async def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    engine = a_repository()
    there = site(tmp_path, engine)

    opened = await asyncio.gather(*(opening(None).perform(there) for _ in range(3)))

    assert engine.made == 1
    assert sorted(one.made for one in opened) == [False, False, True]


@pytest.mark.parametrize("recorded", [None, OURS])
async def test_one_that_is_there_is_opened_and_never_made(
    tmp_path: Path, recorded: str | None
) -> None:
    engine = a_repository(OURS)

    opened = await opening(recorded).perform(site(tmp_path, engine))

    assert (opened.repository_id, opened.made, engine.made) == (OURS, False, 0)


async def test_an_empty_place_where_one_was_known_is_an_unmounted_disk(tmp_path: Path) -> None:
    engine = a_repository()

    with pytest.raises(Failure, match="the repository is gone") as caught:
        await opening(OURS).perform(site(tmp_path, engine))

    assert "mounted" in (caught.value.hint or "")
    assert engine.made == 0


async def test_another_repository_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="another repository: bbbbbbbbbbbb"):
        await opening(OURS).perform(site(tmp_path, a_repository(OTHER)))


async def test_a_node_without_the_repository_says_so(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="does not hold the repository"):
        await opening(None).perform(replace(site(tmp_path, a_repository()), repository=None))


async def test_it_is_described_with_its_snapshots_and_its_size(tmp_path: Path) -> None:
    repository = tmp_path / "repo"
    (repository / "data").mkdir(parents=True)
    (repository / "data" / "pack").write_bytes(b"12345")
    engine = a_repository(OURS, repository)
    engine._keep(Labels(node="main", service="my-app", item="uploads", task="1"), 1)

    found = await DescribeRepository(service=INFRA, repository=known(OURS)).perform(
        site(tmp_path, engine)
    )

    assert (found.repository_id, found.size, len(found.snapshots)) == (OURS, 5, 1)


async def test_the_size_of_one_elsewhere_is_not_known(tmp_path: Path) -> None:
    operation = DescribeRepository(service=INFRA, repository=known(None))

    assert (await operation.perform(site(tmp_path, a_repository(OURS)))).size is None


async def test_none_yet_cannot_be_described(tmp_path: Path) -> None:
    operation = DescribeRepository(service=INFRA)

    with pytest.raises(Failure, match="no repository yet") as caught:
        await operation.perform(site(tmp_path, a_repository()))

    # A disk that is not mounted looks so to a controller whose database is lost.
    assert str(caught.value.hint).startswith("Is the right disk mounted")
    assert "composia repo init" in str(caught.value.hint)


@pytest.mark.parametrize("read_data", [False, True])
async def test_it_is_checked_as_deep_as_was_asked(tmp_path: Path, read_data: bool) -> None:
    engine = a_repository(OURS)
    operation = CheckRepository(service=INFRA, repository=known(OURS), read_data=read_data)

    await operation.perform(site(tmp_path, engine))

    assert engine.checked == [read_data]


async def test_another_repository_is_not_checked(tmp_path: Path) -> None:
    engine = a_repository(OTHER)

    with pytest.raises(Failure):
        await CheckRepository(service=INFRA, repository=known(OURS)).perform(site(tmp_path, engine))

    assert engine.checked == []


async def test_a_snapshot_is_forgotten_and_one_that_is_gone_is_no_matter(tmp_path: Path) -> None:
    engine = a_repository(OURS)
    kept = engine._keep(Labels(node="main", service="my-app", item="uploads", task="1"), 1)
    operation = ForgetSnapshot(service=INFRA, repository=known(OURS), snapshot_id=kept.id)

    await operation.perform(site(tmp_path, engine))
    await operation.perform(site(tmp_path, engine))

    assert engine.kept == {}


@pytest.mark.parametrize(
    ("there", "told"), [(OTHER, "another repository"), (None, "the repository is gone")]
)
async def test_a_snapshot_is_not_taken_for_gone_where_the_repository_is_not_ours(
    tmp_path: Path, there: str | None, told: str
) -> None:
    operation = ForgetSnapshot(service=INFRA, repository=known(OURS), snapshot_id="c" * 64)

    with pytest.raises(Failure, match=told):
        await operation.perform(site(tmp_path, a_repository(there)))


@pytest.mark.parametrize(
    "other", [{"node": "edge"}, {"service": "shop"}, {"item": "db"}, {"task": "2"}]
)
async def test_a_snapshot_that_is_not_what_its_record_says_stays(
    tmp_path: Path, other: dict[str, str]
) -> None:
    engine = a_repository(OURS)
    labels = {"node": "main", "service": "my-app", "item": "uploads", "task": "1"}
    kept = engine._keep(Labels(**labels), 1)
    of = TagOfOurs(snapshot_id=kept.id, **(labels | other))
    operation = ForgetSnapshot(service=INFRA, repository=known(OURS), snapshot_id=kept.id, of=of)

    with pytest.raises(Conflict, match="not what the record says"):
        await operation.perform(site(tmp_path, engine))

    assert set(engine.kept) == {kept.id}
