"""Promises 17 and 20 with applications of other people, under load, by their own clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.applications import Application, Git, Redis, bring_images, ends
from tests.e2e.world import World
from tests.e2e.writing import wanted


@pytest.fixture
def applications(world: World, tmp_path: Path) -> Iterator[Sequence[Application]]:
    """Redis and a Git server, deployed."""
    bring_images(world, tmp_path)
    both = (Redis(world), Git(world, tmp_path))
    for one in both:
        one.deploy()
    # The first backup makes the repository, and has it alone.
    world.ok("/services/cache/backup")
    yield both
    ends(both)


def test_promise_17_redis_and_git_move_there_and_back_with_every_write(
    world: World, applications: Sequence[Application]
) -> None:
    cache, git = applications
    with cache, git:
        for source, target in (("main", "edge"), ("edge", "main")):
            for one in applications:
                one.wait_for(20)
            moves = [
                world.start(f"/services/{one.name}/migrate", wanted(source, target))
                for one in applications
            ]
            failed = [end["error"] for task in moves if (end := world.wait(task))["error"]]
            assert failed == []
        # What they had left on main is where their data started from.
        assert all("starting from what" in world.log(task) for task in moves)
        for one in applications:
            one.wait_for(20)

    for one in applications:
        assert set(one.kept) <= one.found("main")
        assert len(one.kept) >= 60
