"""What a service has left behind is removed when its time is over, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from composia.operations import fence, leaving
from composia.operations.fence import Fence
from tests.twins.docker import MemoryDocker, a_volume

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


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
        self.keep()

    def keep(self, *paths: Path, until: datetime = NOW) -> None:
        left = Fence(
            task="01TASK",
            side="left",
            epoch=1,
            kept_until=until,
            volumes_left=("my-app_db",),
            paths_left=tuple(map(str, paths or (self.data,))),
        )
        fence.put_up(self.instances / "my-app", left)

    async def expire(self, now: datetime) -> list[str]:
        return await leaving.expire(self.instances, self.repo_dir, self.docker, now)

    @property
    def is_there(self) -> tuple[bool, bool]:
        return self.data.exists(), "my-app_db" in self.docker.volumes


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


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
    await node.expire(NOW + timedelta(days=1))
    assert elsewhere.exists()
    assert node.repo_dir.exists()


async def test_a_service_that_is_back_loses_nothing(node: Node) -> None:
    state = node.instances / "my-app"
    found = fence.read(state)
    assert found
    fence.put_up(state, found.model_copy(update={"side": "target", "open": True}))
    assert await node.expire(NOW + timedelta(days=30)) == []
    assert node.is_there == (True, True)
