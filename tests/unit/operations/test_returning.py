"""A service that returns starts from what it left, and from nothing that is not surely the same."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from composia.operations import returning
from composia.operations.cargo import look, roots
from composia.operations.carrying import Cargo, compare_received
from composia.operations.fence import Left
from composia.tools import manifest
from composia.tools.shell import LocalShell
from tests.unit.operations.carried import ITEM, TwoNodes, contents

#: Larger than what is sent along when it was made just before it was copied.
BIG = 3_000_000
#: In nanoseconds.
HOUR = 3_600_000_000_000


@pytest.fixture
async def away(tmp_path: Path) -> TwoNodes:
    """A service that has gone from main to edge, long enough ago."""
    nodes = TwoNodes(tmp_path)
    (nodes.data / "sub").mkdir(parents=True)
    for name in ("one", "two", "sub/three"):
        (nodes.data / name).write_bytes(os.urandom(BIG))
    await nodes.pre_copy()
    await nodes.last()
    landed = await compare_received(nodes.target)
    returning.remember(time.time_ns() + 3_000_000_000, landed, nodes.target)
    nodes.staged.rename(nodes.live)
    return turned_round(nodes)


def turned_round(nodes: TwoNodes) -> TwoNodes:
    main, edge = nodes.source, nodes.target
    main.compose.shell = LocalShell()
    nodes.source, nodes.target = (replace(one, task="02BACK") for one in (edge, main))
    return nodes


async def comes_back(nodes: TwoNodes, left: Left) -> int:
    """Bring it back to main; the bytes that were sent."""
    await returning.start_from(left, nodes.cargo, nodes.target)
    before = sum(len(frame) for _, frame in nodes.wires.sent)
    await nodes.pre_copy()
    await nodes.last()
    differences = manifest.differences(manifest.take(nodes.data), manifest.take(nodes.staged))
    assert not differences
    assert contents(nodes.data) == contents(nodes.staged)
    return sum(len(frame) for _, frame in nodes.wires.sent) - before


async def arrived(away: TwoNodes, since: int) -> None:
    """What is on edge is as it came from main, and it came then."""
    there = {root.key: look(root) for root in await roots(away.cargo, away.source, dumps=False)}
    returning.remember(since, there, replace(away.source, task="01TASK"))


def left_now(*cargo: Cargo) -> Left:
    return Left(task="01TASK", at=time.time_ns(), cargo=cargo or (ITEM,))


def changed_unseen(path: Path) -> None:
    """Other content of the same size and time."""
    before = path.stat()
    with path.open("r+b") as file:
        file.write(b"changed")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_only_what_changed_meanwhile_is_sent(away: TwoNodes) -> None:
    assert await comes_back(away, left_now()) < 100_000


async def test_a_folder_that_was_renamed_meanwhile_comes_along(away: TwoNodes) -> None:
    sub, other = away.data / "sub", away.data / "other"
    shutil.copytree(sub, other)
    changed_unseen(other / "three")
    status = (sub / "three").stat()
    os.utime(other / "three", ns=(status.st_atime_ns, status.st_mtime_ns))
    left = left_now()
    await arrived(away, time.time_ns() + HOUR)
    sub.rename(away.data / "old")
    other.rename(sub)
    await returning.start_from(left, away.cargo, away.target)
    # In the first round: the next one doubts whatever was changed a moment ago.
    await away.pre_copy()
    assert (away.staged / "sub" / "three").read_bytes()[:7] == b"changed"


async def test_what_was_left_stays_as_it_is(away: TwoNodes) -> None:
    before = contents(away.live)
    (away.data / "new").write_text("new")
    await comes_back(away, left_now())
    assert contents(away.live) == before


async def test_content_that_changed_under_its_old_size_and_time_comes_along(
    away: TwoNodes,
) -> None:
    path, left = away.data / "one", left_now()
    # By the clock: the fixture has put the moment of the arrival into the future.
    await arrived(away, time.time_ns())
    changed_unseen(path)
    await comes_back(away, left)
    assert (away.staged / "one").read_bytes()[:7] == b"changed"


async def test_what_somebody_changed_where_it_was_left_is_not_used(away: TwoNodes) -> None:
    left, path = left_now(), away.live / "one"
    while path.stat().st_ctime_ns <= left.at:
        changed_unseen(path)
    assert await comes_back(away, left) > 3 * BIG


async def test_what_the_move_had_not_sent_is_not_used(away: TwoNodes) -> None:
    other = ITEM.model_copy(update={"exclude": ("./data/sub",)})
    assert await comes_back(away, left_now(other)) > 3 * BIG


async def test_a_copy_that_was_cut_off_is_not_trusted(away: TwoNodes) -> None:
    away.staged.parent.mkdir(parents=True)
    away.staged.mkdir()
    half = away.staged / "one"
    half.write_bytes(bytes(BIG))
    status = (away.data / "one").stat()
    os.utime(half, ns=(status.st_atime_ns, status.st_mtime_ns))
    await comes_back(away, left_now())


async def test_what_another_move_left_is_not_the_same(away: TwoNodes) -> None:
    changed_unseen(away.data / "one")
    await comes_back(away, left_now().model_copy(update={"task": "00OTHER"}))


async def test_a_disk_without_room_is_no_failure(
    away: TwoNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.strategies.contents.SPARE", 1 << 60)
    await returning.start_from(left_now(), away.cargo, away.target)
    assert not away.staged.exists()
