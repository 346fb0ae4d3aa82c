"""Forgetting, pruning and adopting, on a real repository: what was kept can be restored."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from composia.errors import Conflict, Failure
from composia.model.backup import Backup
from composia.model.meta import Keep
from composia.model.retention import verdicts
from composia.model.service import RepositoryRef
from composia.operations.repository import CompareRepository, TagOfOurs
from composia.operations.tidying import ForgetSnapshots, PruneRepository
from composia.strategies import dump
from composia.strategies.base import Site, Wanted
from composia.tools.rustic import Labels, SnapshotInfo
from composia.tools.rustic_engine import RusticEngine
from composia.workflows.adopt import SavedAs, adopted
from tests.contract.repository import Place, nothing, small_disk
from tests.contract.test_engine import KEY
from tests.twins.office import NOW, backup
from tests.twins.site import Twins
from tests.workflow.office import ref

HALF = 2_000_000


@pytest.fixture
async def world(place: Place, engine: RusticEngine, tmp_path: Path) -> World:
    found = await engine.repository_id()
    return World(place, engine, tmp_path, str(found))


class World:
    """A repository, what was saved in it, and the node's operations on it."""

    def __init__(self, place: Place, engine: RusticEngine, folder: Path, id_: str) -> None:
        self.place = place
        self.engine = engine
        self.site: Site = replace(Twins(folder / "site").site, repository=engine)
        self.repository = RepositoryRef(
            service=ref("infra-backup"),
            compose_service="rustic",
            profile="default",
            repository_id=id_,
        )
        self.kept: dict[str, bytes] = {}

    async def save(self, task: str = "01A", size: int = 10) -> str:
        """A snapshot of fresh bytes; its id."""
        content = os.urandom(size)
        root = self.place.tree({"file": content})
        labels = Labels(node="main", service="my-app", item="uploads", task=task)
        saved = await self.engine.save({KEY: root}, labels, exclude=(), on_progress=nothing)
        self.kept[saved.snapshot.id] = content
        return saved.snapshot.id

    async def wasteful(self) -> tuple[str, list[str]]:
        """A snapshot that needs half of its packs, after the one with the other half went."""
        halves = {f"{side}/{n}": os.urandom(HALF // 10) for side in "ab" for n in range(10)}
        gone = await self._save_tree(halves)
        root = self.place.folder / "data"
        for n in range(10):
            (root / f"a/{n}").unlink()
        kept = await self._save_tree({})
        self.kept[kept] = halves["b/3"]
        await self.engine.forget([gone])
        return kept, [kept]

    async def _save_tree(self, files: dict[str, bytes]) -> str:
        root = self.place.tree(files)
        labels = Labels(node="main", service="my-app", item="uploads", task="01A")
        saved = await self.engine.save({KEY: root}, labels, exclude=(), on_progress=nothing)
        return saved.snapshot.id

    def forgetting(self, *ids: str, task: str = "01A") -> ForgetSnapshots:
        tagged = tuple(TagOfOurs(snapshot_id=one, task=task) for one in ids)
        return ForgetSnapshots(
            service=self.repository.service, repository=self.repository, snapshots=tagged
        )

    def pruning(self, *ids: str) -> PruneRepository:
        return PruneRepository(
            service=self.repository.service, repository=self.repository, snapshot_ids=ids
        )

    def comparing(self, *ids: str, describe: bool = False) -> CompareRepository:
        return CompareRepository(
            service=self.repository.service,
            repository=self.repository,
            snapshot_ids=ids,
            describe=describe,
        )

    async def listed(self) -> set[str]:
        return {one.id for one in await self.engine.snapshots()}

    def file_of(self, snapshot: str) -> Path:
        """The snapshot's own file in the repository."""
        return self.place.repo / "snapshots" / snapshot

    async def restores(self, snapshot: str, path: str = "file") -> bool:
        """Whether it comes back byte for byte."""
        async with self.engine.read_file(snapshot, f"{KEY}/{path}") as pieces:
            return b"".join([piece async for piece in pieces]) == self.kept[snapshot]


# Forgetting.


async def test_what_a_policy_lets_go_goes_and_exactly_the_rest_stays(world: World) -> None:
    records: list[Backup] = []
    for days in (40, 39, 2, 1, 0):
        id_, time = await world.save(f"01A{days}"), NOW - timedelta(days=days)
        # Ids grow with the time, as those of records do.
        record = backup(f"B{100 - days:03}", snapshot_id=id_, time=time, task_id=f"01A{days}")
        records.append(record)
    keep = Keep(daily=2, monthly=12)
    judged = verdicts(records, keep, zone=ZoneInfo("Europe/Berlin"), now=NOW)
    stay = {one.backup_id for one in judged if one.keeps}
    going = [record for record in records if record.id not in stay]

    await ForgetSnapshots(
        service=world.repository.service,
        repository=world.repository,
        snapshots=tuple(
            TagOfOurs(snapshot_id=str(one.snapshot_id), task=str(one.task_id)) for one in going
        ),
    ).perform(world.site)

    assert stay == {"B100", "B099", "B061"}
    kept = {str(one.snapshot_id) for one in records if one.id in stay}
    assert await world.listed() == kept
    assert await world.restores(str(records[1].snapshot_id))


async def test_an_unknown_id_and_another_tasks_keep_nothing_else_from_going(world: World) -> None:
    doomed, theirs = await world.save(), await world.save(task="01B")
    done = await world.forgetting("0" * 64, doomed, theirs).perform(world.site)
    assert (set(done.gone), done.foreign) == ({"0" * 64, doomed}, (theirs,))
    assert done.problem is None
    assert await world.listed() == {theirs}


async def test_a_full_repository_can_still_be_forgotten_from(place: Place, tmp_path: Path) -> None:
    with small_disk(place.repo):
        engine = place.engine()
        world = World(place, engine, tmp_path, await place.init(engine))
        doomed, kept = await world.save(), await world.save()
        fill = place.repo / "fill"
        with pytest.raises(OSError, match="No space"):
            fill.write_bytes(bytes(4_000_000))

        done = await world.forgetting(doomed).perform(world.site)

        assert (done.gone, done.problem) == ((doomed,), None)
        await engine.check()
        assert await world.restores(kept)


# Pruning.


async def test_what_is_not_needed_is_marked_first_and_stays_for_a_day(world: World) -> None:
    doomed, kept = await world.save(size=HALF), await world.save(size=HALF)
    await world.engine.forget([doomed])

    done = await world.pruning(kept).perform(world.site)

    assert done.marked >= HALF * 0.99
    assert done.freed == 0
    assert done.size_after
    assert done.size_after >= 2 * HALF
    again = await world.pruning(kept).perform(world.site)
    assert (again.freed, again.waiting >= HALF * 0.99) == (0, True)
    assert await world.restores(kept)


async def test_a_snapshot_that_comes_back_within_the_day_is_whole_again(world: World) -> None:
    lost, kept = await world.save(size=HALF), await world.save()
    aside = world.place.folder / "aside"
    world.file_of(lost).rename(aside)
    # As somebody does by hand: ours would have refused.
    await world.engine.prune(on_progress=nothing)
    aside.rename(world.file_of(lost))

    await world.pruning(lost, kept).perform(world.site)

    await world.engine.check(read_data=True)
    assert await world.restores(lost)


async def test_with_a_snapshot_of_ours_removed_by_hand_nothing_is_marked(world: World) -> None:
    lost, kept = await world.save(size=HALF), await world.save()
    aside = world.place.folder / "aside"
    world.file_of(lost).rename(aside)

    compared = await world.comparing(lost, kept).perform(world.site)
    with pytest.raises(Conflict, match=lost[:12]):
        await world.pruning(lost, kept).perform(world.site)

    assert compared.missing == (lost,)
    aside.rename(world.file_of(lost))
    assert await world.restores(lost)


@pytest.mark.parametrize("moment", ["begins", "ends"])
async def test_a_prune_that_is_killed_harms_nothing(world: World, moment: str) -> None:
    kept, _ = await world.wasteful()

    def kill(done: int, total: int | None) -> None:
        if moment == "begins" or done == total:
            raise Failure("killed")

    with pytest.raises(Failure, match="killed"):
        await world.engine.prune(on_progress=kill)

    assert await world.restores(kept, "b/3")
    done = await world.pruning(kept).perform(world.site)
    assert done.marked + done.waiting > 0
    await world.engine.check(read_data=True)
    assert await world.restores(kept, "b/3")


async def test_a_disk_that_is_not_mounted_is_neither_tidied_nor_made(world: World) -> None:
    kept = await world.save()
    with small_disk(world.place.repo):
        for operation in (world.forgetting(kept), world.pruning(kept), world.comparing(kept)):
            with pytest.raises(Failure, match="the repository is gone") as caught:
                await operation.perform(world.site)
            assert "mounted" in str(caught.value.hint)
        assert list(world.place.repo.iterdir()) == []
    assert await world.restores(kept)


async def test_snapshots_that_cannot_be_listed_are_no_reason_to_prune(place: Place) -> None:
    nobody = 65534
    place.service["user"] = str(nobody)
    os.chown(place.repo, nobody, nobody)
    engine = place.engine()
    world = World(place, engine, place.folder, await place.init(engine))
    root = place.tree({"file": b"1"})
    labels = Labels(node="main", service="my-app", item="uploads", task="01A")
    saved = await engine.save({KEY: root}, labels, exclude=(), on_progress=nothing)
    world.kept[saved.snapshot.id] = b"1"
    folder = place.repo / "snapshots"
    os.chown(folder, 0, 0)
    folder.chmod(0o700)

    for operation in (world.pruning(), world.forgetting(saved.snapshot.id)):
        with pytest.raises(Failure):
            await operation.perform(world.site)

    os.chown(folder, nobody, nobody)
    assert await world.restores(saved.snapshot.id)


# Adopting.


async def test_a_snapshot_says_enough_of_itself_for_a_record(world: World) -> None:
    id_ = await world.save("01JABCDEFGHJKMNPQRSTVWXYZ0", size=50)

    record = _adopted(await _described(world, id_))

    assert record.task_id == "01JABCDEFGHJKMNPQRSTVWXYZ0"
    assert (record.service, record.data_item, record.node) == ("my-app", "uploads", "main")
    assert (record.snapshot_id, record.size, record.files) == (id_, 50, 1)
    assert record.strategy == "files.tar_after_stop"
    assert record.added > 0
    assert record.duration > 0
    assert record.time.tzinfo


async def test_a_truncated_dump_is_adopted_unproven_and_never_read_as_whole(world: World) -> None:
    labels = Labels(node="main", service="my-app", item="database", task="01A")
    async with world.engine.save_stream(dump.NAME, labels) as stream:
        await stream.write(b"--\n-- PostgreSQL database cluster dump\n--\nCREATE ROLE a;\n")
        saved = await stream.finish()

    record = _adopted(await _described(world, saved.id))

    assert (record.status, record.strategy) == ("unproven", "database.pgdumpall")
    wanted = Wanted(
        item="database", backup_id=record.id, snapshot_id=saved.id, saved_by=str(record.strategy)
    )
    with pytest.raises(Failure, match="not whole: its last line is missing"):
        async for _ in dump.chunks(wanted, world.site):
            pass


async def _described(world: World, id_: str) -> SnapshotInfo:
    compared = await world.comparing(describe=True).perform(world.site)
    return next(one for one in compared.described if one.id == id_)


def _adopted(found: SnapshotInfo) -> Backup:
    cold = SavedAs(strategy="files.tar_after_stop")
    record = adopted(found, {"my-app/uploads": cold}, set())
    assert record
    return record
