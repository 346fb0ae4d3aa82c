"""The children of a mount point trade places while something else writes there: no mixture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from composia.errors import Conflict, Failure
from composia.model.service import ServiceRef
from composia.operations import exchanging, kept, replacing
from composia.operations.arriving import RestoreData
from composia.operations.exchanging import Exchange
from composia.operations.hold import NotPutBack, held
from composia.operations.kept import Exchanging, Replaced
from composia.operations.replacing import Facts, Replacing
from composia.operations.restore import DataExchanged, ExchangeBack, ExchangeData, FetchData, Ready
from composia.operations.turns import turn_of
from composia.strategies.aside import Aside
from composia.strategies.base import Swap
from composia.tools.containers import ContainerMount
from composia.tools.exchange import Move
from tests.twins.site import Twins
from tests.twins.slow import Slow, cancelled_in_its_stop, cancelled_twice_while
from tests.waiting import until

SERVICE = ServiceRef(
    name="my-app", folder="my-app", project="app", compose_files=("c.yaml",), revision="r1"
)


class Disk:
    """A live folder whose children trade places with those of a folder in it."""

    def __init__(self, tmp_path: Path) -> None:
        self.twins = Twins(tmp_path / "app")
        self.aside = Aside(self.twins.site.aside, "01TASK")
        self.live = self.twins.folder / "data"
        self.staged = self.live / ".composia-01TASK"
        self.staged.mkdir(parents=True)
        for name in ("a.db", "b.log", "z.conf"):
            (self.live / name).write_text(f"old {name}")
        for name in ("b.log", "new", "z.conf"):
            (self.staged / name).write_text(f"new {name}")
        self.before = self.seen()
        self.after = {one.name: one.read_text() for one in self.staged.iterdir()}
        self.twins.docker.add("web", folder=self.twins.folder, mounts=[self.live], policy="always")
        self.swap = Swap(
            live=self.live,
            staged=self.staged,
            below=self.twins.folder,
            known_as="./data",
            atomic=False,
        )

    def moves_at_once(self) -> None:
        """As where it is no mount point: an empty folder lies ready."""
        staged = self.aside.folder / "data"
        staged.mkdir(parents=True)
        self.swap = self.swap.model_copy(update={"staged": staged, "atomic": True})

    def seen(self) -> dict[str, str]:
        return {one.name: one.read_text() for one in self.live.iterdir() if one.is_file()}

    def has_new_data(self) -> bool:
        return self.seen() == self.after

    def starts_only_on_the_old(self) -> None:
        """One of two containers does not come up on anything but the old data, all of it."""
        self.twins.docker.add("db", folder=self.twins.folder, mounts=[self.live])
        start = self.twins.docker.start

        async def starts(containers: Collection[str]) -> None:
            self.twins.docker.does_not_start = set() if self.seen() == self.before else {"web"}
            await start(containers)

        self.twins.docker.start = starts  # type: ignore[method-assign]  # it looks at the disk

    def is_as_before(self) -> bool:
        docker = self.twins.docker
        return (
            self.seen() == self.before
            and docker.running() == docker.there.keys()
            and set(docker.policies().values()) == {"always"}
            and self.aside.read(kept.EXCHANGING, Exchanging) is None
            and self.aside.read(kept.REPLACED, Replaced) is None
        )

    def restoring(self) -> asyncio.Task[DataExchanged]:
        """The operation itself, at work."""
        self.aside.write(kept.STAGED, Ready(swaps=(self.swap,)))
        return asyncio.create_task(ExchangeData(service=SERVICE).perform(self.twins.site))

    async def killed_before_the_start(self) -> dict[str, Any]:
        """The notes of an agent that died when all was exchanged, and nothing started again."""
        one, site = exchanging.planned(self.swap), self.twins.site
        web = ("id-web",)
        facts = Facts(exchanges=(one,), was=None, seeing=web, ran=web, began=0)
        async with held(site, web):
            self.aside.write(kept.EXCHANGING, Exchanging(exchanges=(one,), was=None))
            one.make()
            self.aside.write(kept.REPLACED, self._replaced(one))
            noted = dict(self.twins.notes.noted)
        self.twins.docker.change("web", state="exited", restart_policy="no")
        return {**noted, "exchanging": facts.model_dump(mode="json"), "exchanged": {}}

    def _replaced(self, one: Exchange) -> Replaced:
        at = datetime.now(UTC)
        return Replaced(
            task="01TASK", at=at, until=at + kept.KEPT, swaps=(self.swap,), kept=(one.kept,),
            downtime_seconds=0, started=True,
        )  # fmt: skip

    async def exchange(self) -> None:
        await Replacing(self.twins.site, self.aside, (self.swap,), None).perform()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


@pytest.fixture
def after(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], None]], None]:
    """Have something done once the child of this name has moved."""

    def arm(name: str, act: Callable[[], None]) -> None:
        make = Move.make

        def made(move: Move) -> None:
            make(move)
            if move.live.path.name == name:
                act()

        monkeypatch.setattr(Move, "make", made)

    return arm


After = Callable[[str, Callable[[], None]], None]


async def test_what_something_else_has_made_anew_is_put_aside_and_all_of_the_old_is_back(
    disk: Disk, after: After
) -> None:
    def something_starts_it() -> None:
        for name in ("a.db", "b.log"):
            (disk.live / "other").write_text("newcomer")
            (disk.live / "other").rename(disk.live / name)
        disk.twins.docker.starts_by_itself("web")

    after("z.conf", something_starts_it)
    with pytest.raises(Failure, match="started while data of my-app was exchanged"):
        await disk.exchange()
    assert disk.seen() == disk.before
    assert (disk.staged / "a.db").read_text() == "newcomer"
    assert f"it lies at {disk.staged / 'a.db'} now" in " ".join(disk.twins.notes.lines)
    assert disk.aside.read(kept.EXCHANGING, Exchanging) is None


def what_was_live_is_taken_away(disk: Disk) -> None:
    something_replaces_what_lies_aside(disk)
    raise Failure("the disk is full")


def something_replaces_what_lies_aside(disk: Disk) -> None:
    # Before the other goes: its inode may be given out again.
    (disk.staged / "other").write_text("somebody else's")
    (disk.staged / "other").rename(disk.staged / "b.log")


async def test_where_something_cannot_be_put_back_the_rest_is_and_nothing_starts(
    disk: Disk, after: After
) -> None:
    after("new", lambda: what_was_live_is_taken_away(disk))
    with pytest.raises(NotPutBack, match=r"b\.log"):
        await disk.exchange()
    assert disk.seen() == disk.before | {"b.log": "new b.log"}
    assert disk.twins.docker.running() == set()
    # An engine that restarts does not start it either; who starts it by hand has it come up again.
    assert disk.twins.docker.policies() == {"web": "unless-stopped"}


async def test_a_retry_neither_fetches_nor_exchanges_over_what_is_left(
    disk: Disk, after: After
) -> None:
    after("new", lambda: what_was_live_is_taken_away(disk))
    with pytest.raises(NotPutBack):
        await disk.exchange()
    for operation in (FetchData(service=SERVICE, items=()), ExchangeData(service=SERVICE)):
        with pytest.raises(Conflict, match="could not put all of it back"):
            await operation.perform(disk.twins.site)
    assert (disk.staged / "b.log").read_text() == "somebody else's"


async def test_after_a_crash_nothing_starts_on_a_mixture_either(disk: Disk) -> None:
    twins, one = disk.twins, exchanging.planned(disk.swap)
    async with held(twins.site, ["id-web"]):
        one.make()
        noted = dict(twins.notes.noted)
    twins.docker.change("web", state="exited", restart_policy="no")
    facts = Facts(exchanges=(one,), was=None, seeing=(), ran=(), began=0)
    noted["exchanging"] = facts.model_dump(mode="json")
    something_replaces_what_lies_aside(disk)
    with pytest.raises(NotPutBack):
        await replacing.put_right(twins.site, disk.aside, noted)
    assert twins.docker.running() == set()
    assert disk.seen() == disk.before | {"b.log": "new b.log"}


async def test_what_does_not_start_on_the_new_data_runs_on_the_old_again(disk: Disk) -> None:
    disk.starts_only_on_the_old()
    with pytest.raises(Failure, match=r"did not start on .* is back, and it runs again") as told:
        await disk.restoring()
    assert "deploy" not in str(told.value.hint)
    assert disk.is_as_before()


async def test_who_only_reads_and_runs_on_is_named(disk: Disk) -> None:
    mount = ContainerMount(
        type="bind", name=None, source=str(disk.live / "sub"), destination="/x", writable=False
    )
    disk.twins.docker.add("reader", project="other", mounts=[mount])
    disk.twins.docker.add("stranger", project="other", mounts=[disk.live.parent / "else"])
    await disk.restoring()
    said = [line for line in disk.twins.notes.lines if "only reads what is replaced" in line]
    assert [line.split(" ")[0] for line in said] == ["reader"]


async def test_an_exchange_waits_for_who_has_stopped_what_sees_the_data(disk: Disk) -> None:
    async with turn_of(await disk.twins.docker.containers(), disk.twins.site):
        task = disk.restoring()
        await until(lambda: any("Waiting for web" in one for one in disk.twins.notes.lines))
        assert disk.twins.docker.done == []
    await task
    assert disk.has_new_data()


async def test_an_exchange_waits_for_what_is_made_while_it_waits(disk: Disk) -> None:
    async with AsyncExitStack() as second:
        async with turn_of(await disk.twins.docker.containers(), disk.twins.site):
            task = disk.restoring()
            await until(lambda: any("Waiting for web" in one for one in disk.twins.notes.lines))
            disk.twins.docker.add("db", mounts=[disk.live])
            db = [one for one in await disk.twins.docker.containers() if one.name == "db"]
            await second.enter_async_context(turn_of(db, disk.twins.site))
        waits = "Waiting for db, which something else has stopped"
        await until(lambda: waits in disk.twins.notes.lines or task.done())
        assert disk.twins.docker.done == []
    await task
    assert disk.has_new_data()


async def test_a_way_back_comes_to_its_end_however_often_it_is_cancelled(disk: Disk) -> None:
    disk.starts_only_on_the_old()
    # Once for the exchange, and once more to go back.
    slow = Slow(disk.twins.docker, "stop", after=1)
    task = disk.restoring()
    await cancelled_twice_while(slow, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert disk.is_as_before()


async def test_an_exchange_that_is_cancelled_while_the_service_stops_brings_it_back(
    disk: Disk,
) -> None:
    await cancelled_in_its_stop(disk.twins, disk.restoring())
    assert disk.is_as_before()


async def test_a_mixture_that_a_way_back_leaves_is_not_taken_for_what_was_put_in_place(
    disk: Disk,
) -> None:
    disk.starts_only_on_the_old()
    slow = Slow(disk.twins.docker, "stop", after=1)
    task = disk.restoring()
    await slow.has_begun()
    something_replaces_what_lies_aside(disk)
    slow.go_on.set()
    with pytest.raises(NotPutBack, match=r"b\.log"):
        await task
    for operation in (ExchangeData(service=SERVICE), RestoreData(service=SERVICE)):
        with pytest.raises(Conflict, match="could not put all of it back"):
            await operation.perform(disk.twins.site)
    assert disk.twins.docker.running() == set()


async def test_what_is_undone_right_after_it_was_noted_as_done_is_noted_as_undone(
    disk: Disk,
) -> None:
    slow = Slow(disk.twins.notes, "note", after=3)
    task = disk.restoring()
    await slow.has_begun()
    task.cancel()
    slow.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    noted = ["held", "stopping", "exchanging", "going_back", "released"]
    assert disk.twins.notes.names == noted
    assert disk.is_as_before()


async def test_nothing_is_put_in_place_where_what_was_fetched_has_vanished(disk: Disk) -> None:
    disk.moves_at_once()
    disk.swap.staged.rmdir()
    with pytest.raises(Failure, match=r"take the place of ./data is not at"):
        await disk.restoring()
    assert disk.is_as_before()


async def test_where_nothing_was_there_is_nothing_after_the_way_back(disk: Disk) -> None:
    disk.moves_at_once()
    disk.live.rename(disk.live.with_name("elsewhere"))
    await disk.restoring()
    assert disk.live.exists()
    site = replace(disk.twins.site, task="02BACK")
    await ExchangeBack(service=SERVICE, of_task="01TASK").perform(site)
    assert not disk.live.exists()
    assert disk.swap.staged.exists()
    assert disk.twins.docker.running() == {"web"}


async def test_what_was_written_since_the_restore_is_kept_as_long_after_the_way_back(
    disk: Disk,
) -> None:
    await disk.restoring()
    done = disk.aside.read(kept.REPLACED, Replaced)
    assert done
    soon = datetime.now(UTC) + timedelta(minutes=1)
    disk.aside.write(kept.REPLACED, done.model_copy(update={"until": soon}))
    (disk.live / "new").write_text("written since")

    site = replace(disk.twins.site, task="02BACK")
    await ExchangeBack(service=SERVICE, of_task="01TASK").perform(site)

    assert await kept.expire(site.aside, site.docker, soon + timedelta(hours=23)) == []
    assert (disk.staged / "new").read_text() == "written since"


async def test_after_a_crash_with_all_exchanged_it_starts_on_the_new_data(disk: Disk) -> None:
    notes = await disk.killed_before_the_start()
    await replacing.put_right(disk.twins.site, disk.aside, notes)
    assert disk.has_new_data()
    assert disk.twins.docker.running() == {"web"}
    assert disk.aside.read(kept.EXCHANGING, Exchanging) is None
    replaced = disk.aside.read(kept.REPLACED, Replaced)
    assert replaced
    assert replaced.downtime_seconds > 0


async def test_after_a_crash_what_does_not_start_on_the_new_data_runs_on_the_old(
    disk: Disk,
) -> None:
    notes = await disk.killed_before_the_start()
    disk.starts_only_on_the_old()
    with pytest.raises(Failure, match=r"did not start on .* is back, and it runs again"):
        await replacing.put_right(disk.twins.site, disk.aside, notes)
    assert disk.is_as_before()


@pytest.mark.parametrize("undone", range(5))
async def test_a_crash_on_the_way_back_starts_nothing_before_all_of_it_is_back(
    disk: Disk, undone: int
) -> None:
    notes = await disk.killed_before_the_start()
    # One that ran, too, and was removed since.
    notes["exchanging"]["ran"].append("id-gone")
    [exchange] = Facts.model_validate(notes["exchanging"]).exchanges
    for move in exchange.moves[:undone]:
        move.undo()
    disk.starts_only_on_the_old()
    going_back: dict[str, Any] = {"undoing": {}, "going_back": {}}
    await replacing.put_right(disk.twins.site, disk.aside, {**notes, **going_back})
    assert disk.is_as_before()


@pytest.fixture
def at_undo(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What ran each time when something was moved back."""
    ran, undo = list[set[str]](), Move.undo

    def undone(move: Move) -> Path | None:
        ran.append(disk.twins.docker.running())
        return undo(move)

    monkeypatch.setattr(Move, "undo", undone)
    return ran


def a_newcomer(disk: Disk, **fields: Any) -> None:
    """Another service's deploy makes a container that works with the same data."""
    disk.twins.docker.add("c2", project="b", mounts=[disk.live], policy="unless-stopped", **fields)


def comes_with_the_start(disk: Disk) -> None:
    """The same as soon as anything is started."""
    start = disk.twins.docker.start

    async def starts(containers: Collection[str]) -> None:
        if "c2" not in disk.twins.docker.there:
            a_newcomer(disk)
        await start(containers)

    disk.twins.docker.start = starts  # type: ignore[method-assign]  # it adds one first


async def test_what_came_up_on_the_new_data_is_stopped_while_the_old_comes_back(
    disk: Disk, at_undo: list[set[str]]
) -> None:
    disk.starts_only_on_the_old()
    comes_with_the_start(disk)
    with pytest.raises(Failure, match="is back, and it runs again"):
        await disk.restoring()
    assert at_undo == [set()] * 4
    assert disk.seen() == disk.before
    assert disk.twins.docker.running() == {"web", "db", "c2"}
    assert disk.twins.docker.policies()["c2"] == "unless-stopped"
    assert disk.twins.docker.signals.count("c2") == 1


async def test_what_came_up_in_the_middle_is_stopped_while_all_of_it_is_undone(
    disk: Disk, after: After, at_undo: list[set[str]]
) -> None:
    after("z.conf", lambda: a_newcomer(disk))
    with pytest.raises(Failure, match=r"^c2 started while data of my-app was exchanged"):
        await disk.exchange()
    assert at_undo == [set()] * 4
    assert disk.seen() == disk.before
    assert disk.twins.docker.running() == {"web", "c2"}
    assert disk.twins.docker.policies() == {"web": "always", "c2": "unless-stopped"}
    # After a crash it would start again with the others.
    assert [one["name"] for one in disk.twins.notes.noted["held"]["containers"]] == ["c2", "web"]


async def test_what_a_stop_ends_for_good_ends_before_the_old_comes_back(
    disk: Disk, after: After, at_undo: list[set[str]]
) -> None:
    after("z.conf", lambda: a_newcomer(disk, one_off=True))
    with pytest.raises(Failure, match="c2 started"):
        await disk.exchange()
    assert at_undo == [set()] * 4
    assert disk.twins.docker.running() == {"web"}


async def test_what_does_not_stop_keeps_no_old_data_from_coming_back_and_is_named(
    disk: Disk, after: After
) -> None:
    disk.twins.docker.does_not_stop = {"c2"}
    after("z.conf", lambda: a_newcomer(disk))
    with pytest.raises(Failure, match="c2 started"):
        await disk.exchange()
    assert disk.seen() == disk.before
    [said] = [line for line in disk.twins.notes.lines if "restart it" in line]
    assert said.startswith("c2 ")


async def test_the_old_comes_back_when_nobody_else_has_stopped_what_came_up(
    disk: Disk, after: After, at_undo: list[set[str]]
) -> None:
    after("z.conf", lambda: a_newcomer(disk))
    a_newcomer(disk)
    c2 = disk.twins.docker.there.pop("c2")
    async with turn_of([c2], disk.twins.site):
        task = disk.restoring()
        waits = "Waiting for c2, which something else has stopped"
        await until(lambda: waits in disk.twins.notes.lines or task.done())
        assert at_undo == []
    with pytest.raises(Failure, match="c2 started"):
        await task
    assert at_undo == [set()] * 4


async def test_after_a_crash_what_came_up_meanwhile_is_stopped_while_all_of_it_is_undone(
    disk: Disk, at_undo: list[set[str]]
) -> None:
    notes = await disk.killed_before_the_start()
    del notes["exchanged"]
    a_newcomer(disk)
    disk.twins.docker.starts_by_itself("web")
    await replacing.put_right(disk.twins.site, disk.aside, notes)
    assert at_undo == [set()] * 4
    assert disk.seen() == disk.before
    assert disk.twins.docker.running() == {"web", "c2"}
    assert disk.twins.docker.policies() == {"web": "always", "c2": "unless-stopped"}


async def test_after_a_crash_when_all_was_back_and_runs_nothing_is_stopped_for_it(
    disk: Disk,
) -> None:
    notes = await disk.killed_before_the_start()
    for move in Facts.model_validate(notes["exchanging"]).exchanges[0].moves:
        move.undo()
    disk.twins.docker.starts_by_itself("web")
    disk.twins.docker.signals.clear()
    notes |= {"going_back": {}, "released": {"hold": notes["held"]["hold"]}}
    await replacing.put_right(disk.twins.site, disk.aside, notes)
    assert disk.twins.docker.signals == []
    assert disk.seen() == disk.before


async def test_after_a_crash_what_came_up_on_the_new_data_is_stopped_for_the_way_back(
    disk: Disk, at_undo: list[set[str]]
) -> None:
    notes = await disk.killed_before_the_start()
    disk.starts_only_on_the_old()
    a_newcomer(disk)
    with pytest.raises(Failure, match="is back, and it runs again"):
        await replacing.put_right(disk.twins.site, disk.aside, notes)
    assert at_undo == [set()] * 4
    assert disk.twins.docker.running() == {"web", "db", "c2"}


def journal_is_full(disk: Disk, since: str) -> None:
    """From the first note of this name on the agent can write down no more."""
    note, full = disk.twins.notes.note, list[str]()

    async def noted(name: str, **facts: Any) -> None:
        if full or name == since:
            full.append(name)
            raise Failure("the agent's journal cannot be written: No space left on device")
        await note(name, **facts)

    disk.twins.notes.note = noted  # type: ignore[method-assign]  # its disk is full


async def test_where_a_full_journal_lets_nothing_go_back_it_is_told_that_the_new_is_live(
    disk: Disk,
) -> None:
    journal_is_full(disk, "released")
    with pytest.raises(Failure, match=r"No space left .* left with the data that was put in"):
        await disk.restoring()
    assert disk.has_new_data()
    assert disk.twins.docker.running() == {"web"}
    # Who looks into it, or brings back what was replaced, finds all of it.
    replaced = disk.aside.read(kept.REPLACED, Replaced)
    assert replaced
    assert replaced.known_as == ("./data",)


@pytest.mark.parametrize("since", ["undoing", "going_back"])
async def test_where_a_full_journal_ends_a_way_back_nothing_is_taken_for_a_mixture(
    disk: Disk, since: str
) -> None:
    disk.starts_only_on_the_old()
    journal_is_full(disk, since)
    with pytest.raises(Failure, match="left with the data that was put in place"):
        await disk.restoring()
    assert disk.has_new_data()
    assert disk.aside.read(kept.EXCHANGING, Exchanging) is None


async def test_where_only_the_end_of_a_way_back_cannot_be_noted_the_old_runs_again(
    disk: Disk,
) -> None:
    disk.starts_only_on_the_old()
    journal_is_full(disk, "released")
    with pytest.raises(Failure, match=r"No space left .* what was there before is back"):
        await disk.restoring()
    assert disk.is_as_before()


async def test_after_a_crash_too_it_is_told_that_the_new_is_live(disk: Disk) -> None:
    notes = await disk.killed_before_the_start()
    journal_is_full(disk, "released")
    with pytest.raises(Failure, match="left with the data that was put in place"):
        await replacing.put_right(disk.twins.site, disk.aside, notes)
    assert disk.has_new_data()
    assert disk.twins.docker.running() == {"web"}
