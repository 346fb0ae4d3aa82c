from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from composia.errors import Conflict
from composia.operations import exchanging, kept
from composia.operations.kept import Exchanging, Replaced, Scratch
from composia.operations.restore import Ready
from composia.strategies.aside import Aside
from composia.strategies.base import Swap
from tests.twins.docker import MemoryDocker
from tests.unit.other_numbers import after_a_reboot, of_another_disk

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def replaced(tmp_path: Path, task: str, at: datetime = NOW) -> Replaced:
    """As after a restore of ./data."""
    live = tmp_path / "app/data"
    live.mkdir(parents=True, exist_ok=True)
    aside = Aside(tmp_path / ".composia", task)
    staged = aside.beside(live, "item")
    staged.mkdir()
    (staged / "file").write_text(task)
    swap = Swap(live=live, staged=staged, below=tmp_path / "app", known_as="./data")
    exchange = exchanging.planned(swap)
    exchange.make()
    made = Replaced(
        task=task, at=at, until=at + kept.KEPT, swaps=(swap,), kept=(exchange.kept,),
        downtime_seconds=0, started=False,
    )  # fmt: skip
    aside.write(kept.REPLACED, made)
    return made


def test_what_was_replaced_can_be_had_back(tmp_path: Path) -> None:
    made = replaced(tmp_path, "one")
    assert kept.to_bring_back(tmp_path / ".composia", "one", NOW) == made


@pytest.mark.parametrize("later", [timedelta(hours=24), timedelta(days=9)])
def test_not_after_its_time(tmp_path: Path, later: timedelta) -> None:
    replaced(tmp_path, "one")
    with pytest.raises(Conflict, match="not kept any more"):
        kept.to_bring_back(tmp_path / ".composia", "one", NOW + later)


def test_not_what_somebody_has_taken_away(tmp_path: Path) -> None:
    made = replaced(tmp_path, "one")
    made.swaps[0].staged.rename(tmp_path / "taken_away")
    with pytest.raises(Conflict, match=r"does not lie aside any more: nothing is at .*data"):
        kept.to_bring_back(tmp_path / ".composia", "one", NOW)
    assert (tmp_path / "app/data/file").read_text() == "one"


def test_not_a_task_that_replaced_nothing(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="not kept any more"):
        kept.to_bring_back(tmp_path / ".composia", "one", NOW)


def test_not_before_what_came_later(tmp_path: Path) -> None:
    replaced(tmp_path, "one")
    replaced(tmp_path, "two", NOW + timedelta(minutes=1))
    with pytest.raises(Conflict, match=r"task two has restored \./data since"):
        kept.to_bring_back(tmp_path / ".composia", "one", NOW)


def test_what_a_later_one_has_carried_off_is_not_taken_for_gone(tmp_path: Path) -> None:
    first = replaced(tmp_path, "one")
    replaced(tmp_path, "two", NOW + timedelta(minutes=1))
    first.swaps[0].staged.rename(tmp_path / "within_what_two_replaced")
    with pytest.raises(Conflict, match=r"task two has restored \./data since"):
        kept.to_bring_back(tmp_path / ".composia", "one", NOW)


async def test_it_goes_after_a_day_and_what_is_live_stays(tmp_path: Path) -> None:
    made = replaced(tmp_path, "one")
    aside, docker = tmp_path / ".composia", MemoryDocker()
    assert await kept.expire(aside, docker, NOW + timedelta(hours=23)) == []
    assert made.swaps[0].staged.is_dir()
    assert await kept.expire(aside, docker, NOW + timedelta(hours=25)) == ["one"]
    assert not made.swaps[0].staged.exists()
    assert (tmp_path / "app/data/file").read_text() == "one"


async def test_what_somebody_has_put_there_instead_is_not_removed(tmp_path: Path) -> None:
    made = replaced(tmp_path, "one")
    staged = made.swaps[0].staged
    staged.rename(staged.with_name("moved"))
    staged.mkdir()
    gone = await kept.expire(tmp_path / ".composia", MemoryDocker(), NOW + timedelta(days=2))
    assert gone == []
    assert staged.is_dir()


async def test_it_goes_after_a_reboot_that_has_numbered_the_devices_anew(tmp_path: Path) -> None:
    made = replaced(tmp_path, "one")
    aside = tmp_path / ".composia"
    noted = aside / "one" / kept.REPLACED
    noted.write_text(after_a_reboot(noted.read_text()))
    assert await kept.expire(aside, MemoryDocker(), NOW + timedelta(hours=25)) == ["one"]
    assert not made.swaps[0].staged.exists()


async def test_what_has_its_number_on_another_disk_is_not_removed(tmp_path: Path) -> None:
    made = replaced(tmp_path, "one")
    aside = tmp_path / ".composia"
    noted = aside / "one" / kept.REPLACED
    noted.write_text(of_another_disk(noted.read_text()))
    assert await kept.expire(aside, MemoryDocker(), NOW + timedelta(hours=25)) == []
    assert made.swaps[0].staged.is_dir()


async def test_an_exchange_that_is_not_settled_is_never_removed(tmp_path: Path) -> None:
    replaced(tmp_path, "one")
    aside = Aside(tmp_path / ".composia", "one")
    aside.write(kept.EXCHANGING, Exchanging(exchanges=(), was=None))
    gone = await kept.expire(tmp_path / ".composia", MemoryDocker(), NOW + timedelta(days=2))
    assert gone == []


async def test_what_was_fetched_to_scratch_stays_a_week(tmp_path: Path) -> None:
    aside, folder = tmp_path / ".composia", tmp_path / ".composia/scratch/one"
    folder.mkdir(parents=True)
    now = datetime.now(UTC)
    scratch = Scratch(folder=folder, until=now + kept.SCRATCH_KEPT)
    Aside(aside, "one").write(kept.SCRATCH, scratch)
    assert await kept.expire(aside, MemoryDocker(), now + timedelta(days=6)) == []
    assert folder.is_dir()
    assert await kept.expire(aside, MemoryDocker(), now + timedelta(days=8)) == ["one"]
    assert not folder.exists()


async def test_what_was_never_exchanged_goes_after_a_day(tmp_path: Path) -> None:
    aside, now = tmp_path / ".composia", datetime.now(UTC)
    staged = Aside(aside, "one").beside(tmp_path / "app/data", "item")
    staged.mkdir()
    assert await kept.expire(aside, MemoryDocker(), now + timedelta(hours=23)) == []
    assert await kept.expire(aside, MemoryDocker(), now + timedelta(hours=25)) == ["one"]
    assert not staged.exists()


async def test_what_a_task_at_work_has_fetched_stays_however_long_it_takes(tmp_path: Path) -> None:
    aside, later = tmp_path / ".composia", datetime.now(UTC) + timedelta(days=3)
    for task in ("slow", "ended"):
        Aside(aside, task).beside(tmp_path / "app/data", "item").mkdir()
    assert await kept.expire(aside, MemoryDocker(), later, at_work=lambda: {"slow"}) == ["ended"]
    assert (aside / "slow/item-data").is_dir()


async def test_what_begins_while_old_things_are_looked_at_keeps_what_it_has_fetched(
    tmp_path: Path,
) -> None:
    aside, later = tmp_path / ".composia", datetime.now(UTC) + timedelta(days=3)
    Aside(aside, "slow").beside(tmp_path / "app/data", "item").mkdir()
    at_work = iter([set[str](), {"slow"}])
    assert await kept.expire(aside, MemoryDocker(), later, at_work=lambda: next(at_work)) == []
    assert (aside / "slow/item-data").is_dir()


async def test_what_is_being_removed_does_not_lie_ready_any_more(tmp_path: Path) -> None:
    async def remove(name: str) -> None:
        lies_ready.append(mine.read(kept.STAGED, Ready))

    aside, later = tmp_path / ".composia", datetime.now(UTC) + timedelta(days=3)
    docker, mine = MemoryDocker(), Aside(aside, "old")
    docker.volumes_at = tmp_path / "volumes"
    lies_ready: list[Ready | None] = []
    await mine.volume(docker, "item", "cache")
    mine.write(kept.STAGED, Ready(swaps=()))
    docker.remove_volume = remove  # type: ignore[method-assign]  # it looks at the disk
    assert await kept.expire(aside, docker, later) == ["old"]
    assert lies_ready == [None]


async def test_others_go_on_while_what_lies_aside_is_removed(tmp_path: Path) -> None:
    aside = Aside(tmp_path / ".composia", "one")
    aside.beside(tmp_path / "app/data", "item").mkdir()
    other = asyncio.create_task(asyncio.sleep(0))
    await aside.discard(MemoryDocker())
    assert other.done()
    assert not aside.folder.exists()
