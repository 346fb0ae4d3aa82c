"""What a service has left behind is removed when its time is over, and nothing else."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from composia.operations import fence, left_behind
from composia.operations.cargo import Cargo
from composia.operations.fence import Fence, Left
from tests.twins.docker import MemoryDocker, a_volume

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: Nanoseconds: the kernel's clock is coarse.
SOON = 20_000_000
CARGO = (Cargo(item="data", include=("./data",)),)


class Node:
    """A node that `my-app` has left, with what it left there."""

    def __init__(self, folder: Path) -> None:
        self.instances, self.repo_dir = folder / "instances", folder / "services"
        self.data = self.repo_dir / "my-app/data"
        self.data.mkdir(parents=True)
        (self.instances / "my-app").mkdir(parents=True)
        (folder / "volume/_data").mkdir(parents=True)
        self.docker = MemoryDocker()
        self.docker.volumes["my-app_db"] = a_volume("my-app_db", folder / "volume/_data")
        (folder / "volume/_data/row").write_text("as it was")
        (self.data / "temp").mkdir()
        for name in ("old", "temp/cache"):
            (self.data / name).write_text("as it was")
        #: What an operation does that is waited for.
        self.others: Callable[[], None] | None = None
        self.keep()

    def keep(self, *paths: Path, spared: tuple[str, ...] = ()) -> None:
        left = Fence(
            task="01TASK",
            side="left",
            epoch=1,
            kept_until=NOW,
            volumes_left=("my-app_db",),
            paths_left=tuple(map(str, paths or (self.data,))),
            spared_left=spared,
            left=Left(task="01TASK", at=time.time_ns() + SOON, cargo=CARGO),
        )
        fence.put_up(self.instances / "my-app", left)

    async def expire(self, now: datetime) -> list[str]:
        return [one.service for one in await self.expired(now)]

    async def expired(self, now: datetime) -> list[left_behind.Expired]:
        there = self.instances, self.repo_dir, self.docker
        return await left_behind.expire(*there, now, self.alone)

    @asynccontextmanager
    async def alone(self, service: str) -> AsyncIterator[None]:
        """The service's turn, which others have had before."""
        if self.others:
            self.others()
        yield

    def since(self, path: Path) -> None:
        """Somebody writes it now, which is later than the data was left."""
        found = fence.read(self.instances / "my-app")
        assert found
        assert found.left
        while not path.exists() or path.stat().st_ctime_ns <= found.left.at:
            path.write_text("since")

    @property
    def is_there(self) -> tuple[bool, bool]:
        return self.data.exists(), "my-app_db" in self.docker.volumes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def test_a_return_that_has_begun_is_waited_for_and_keeps_its_fence(node: Node) -> None:
    def returns() -> None:
        fence.put_up(node.instances / "my-app", coming)

    coming = Fence(task="01RETURN", side="target", epoch=2, kept_until=NOW)
    node.others = returns
    assert await node.expire(NOW + timedelta(seconds=1)) == []
    assert fence.read(node.instances / "my-app") == coming
    assert node.is_there == (True, True)


async def test_what_was_left_stays_until_its_time_is_over(node: Node) -> None:
    assert await node.expire(NOW - timedelta(seconds=1)) == []
    assert node.is_there == (True, True)


async def test_then_it_is_removed_and_the_fence_stays(node: Node) -> None:
    assert await node.expire(NOW + timedelta(seconds=1)) == ["my-app"]
    assert node.is_there == (False, False)
    found = fence.read(node.instances / "my-app")
    assert found
    assert (found.side, found.kept_until, found.paths_left) == ("left", None, ())


async def test_what_a_container_mounts_again_is_not_removed(node: Node) -> None:
    node.docker.add("other", folder=node.data.parent, mounts=[node.data / "sub"])
    assert await node.expire(NOW + timedelta(days=30)) == []
    assert node.is_there == (True, True)


async def test_nothing_outside_of_the_services_folder_is_removed(
    node: Node, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    node.keep(elsewhere, node.repo_dir)
    [ended] = await node.expired(NOW + timedelta(days=1))
    assert elsewhere.exists()
    assert node.repo_dir.exists()
    assert ended.elsewhere == (str(elsewhere), str(node.repo_dir))


async def test_what_stays_anyway_may_be_used_by_others(node: Node, tmp_path: Path) -> None:
    node.keep(node.data, tmp_path / "disk/media")
    node.docker.add("player", project="other", mounts=[tmp_path / "disk/media"])
    assert await node.expire(NOW + timedelta(days=1)) == ["my-app"]
    assert node.is_there == (False, False)


async def test_a_service_that_is_back_loses_nothing(node: Node) -> None:
    state = node.instances / "my-app"
    found = fence.read(state)
    assert found
    fence.put_up(state, found.model_copy(update={"side": "target", "open": True}))
    assert await node.expire(NOW + timedelta(days=30)) == []
    assert node.is_there == (True, True)


async def test_what_was_excluded_stays(node: Node) -> None:
    node.keep(spared=(f"{node.data}/temp", f"{node.data}/never-there"))
    node.since(node.data / "temp/cache")
    [ended] = await node.expired(NOW + timedelta(days=1))
    assert ended.changed == ()
    left = [path.relative_to(node.data) for path in sorted(node.data.rglob("*"))]
    assert left == [Path("temp"), Path("temp/cache")]


async def test_a_place_that_was_changed_since_stays_and_is_named(node: Node) -> None:
    node.since(node.data / "mine")
    [ended] = await node.expired(NOW + timedelta(days=1))
    assert ended.changed == (str(node.data),)
    assert (node.data / "old").read_text() == "as it was"
    assert node.is_there == (True, False)
    assert await node.expire(NOW + timedelta(days=30)) == []


async def test_a_volume_that_was_changed_since_stays_and_is_named(node: Node) -> None:
    node.since(node.docker.volumes["my-app_db"].mountpoint / "row")
    [ended] = await node.expired(NOW + timedelta(days=1))
    assert ended.changed == ("my-app_db",)
    assert node.is_there == (False, True)


async def test_a_link_is_not_followed_to_what_is_spared(node: Node, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "temp").mkdir(parents=True)
    (elsewhere / "other").write_text("not ours")
    (node.data / "link").symlink_to(elsewhere)
    node.keep(spared=(f"{node.data}/link/temp",))
    await node.expire(NOW + timedelta(days=1))
    assert (elsewhere / "other").exists()
