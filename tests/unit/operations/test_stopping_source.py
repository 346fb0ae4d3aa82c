"""Promise 18: a source is fenced before it stops, and proven stopped before that counts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from composia.errors import CommandFailed, Conflict, Failure, WireCut
from composia.model.service import ServiceRef
from composia.operations import answering, fence, left_behind
from composia.operations.arriving import ClearTarget, PrepareTarget, StartOnTarget
from composia.operations.cargo import Cargo
from composia.operations.carrying import Sent
from composia.operations.hold import NotStartedAgain
from composia.operations.leaving import (
    CLOCK_OF_CTIMES,
    ExportData,
    ResumeSource,
    RetireSource,
    StopSource,
    StopStale,
)
from composia.tools.volumes import VolumeKind
from tests.twins.site import Twins
from tests.twins.slow import (
    cancelled_in_its_stop,
    died_in_its_stop,
    engine_goes_on_alone,
    lets_it_stop,
)

SERVICE = ServiceRef(
    name="my-app",
    folder="my-app",
    project="my-app",
    compose_files=("docker-compose.yaml",),
    revision="0" * 40,
)
EXPORT = ExportData(service=SERVICE, wire="w", cargo=(), epoch=2)
STOP = StopSource(service=SERVICE, epoch=2)
RESUME = ResumeSource(service=SERVICE, epoch=2)


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    folder = tmp_path / "app"
    folder.mkdir()
    # What the agent remembers lies beside it: each test has its own.
    made = Twins(folder)
    made.docker.add("web", policy="always")
    return made


async def test_the_fence_stands_before_anything_stops(twins: Twins) -> None:
    async def policy(containers: Collection[str], policy: str) -> None:
        found = fence.read(twins.site.state)
        stood.append(found.side if found else None)
        await change(containers, policy)

    change, stood = twins.docker.set_restart_policy, list[str | None]()
    twins.docker.set_restart_policy = policy  # type: ignore[method-assign]  # it looks first
    await EXPORT.perform(twins.site)
    assert stood == ["source"]
    assert twins.docker.running() == set()


async def test_what_stayed_stopped_is_proven(twins: Twins) -> None:
    await EXPORT.perform(twins.site)
    await STOP.perform(twins.site)
    assert twins.docker.running() == set()


@pytest.mark.parametrize(
    "somebody",
    [
        lambda twins: twins.docker.starts_by_itself("web"),
        lambda twins: twins.docker.starts_and_ends("web"),
    ],
    ids=["runs", "has run"],
)
async def test_what_somebody_started_since_is_not(
    twins: Twins, somebody: Callable[[Twins], None]
) -> None:
    await EXPORT.perform(twins.site)
    somebody(twins)
    with pytest.raises(Failure, match="web"):
        await STOP.perform(twins.site)


async def test_without_its_fence_nothing_is_proven(twins: Twins) -> None:
    await EXPORT.perform(twins.site)
    fence.take_down(twins.site.state)
    with pytest.raises(Failure, match="not fenced on main by this move"):
        await STOP.perform(twins.site)


async def does_not_resume(twins: Twins) -> None:
    with pytest.raises(NotStartedAgain, match="web: docker start"):
        await RESUME.perform(twins.site)


async def test_what_an_undo_cannot_start_is_an_error_however_often_it_is_asked(
    twins: Twins,
) -> None:
    await EXPORT.perform(twins.site)
    with pytest.raises(Conflict):
        await fence.pass_by(twins.site, EXPORT.epoch)
    twins.docker.does_not_start = {"web"}
    await does_not_resume(twins)
    await does_not_resume(twins)
    twins.docker.does_not_start = set()
    await RESUME.perform(twins.site)
    assert twins.docker.running() == {"web"}
    assert fence.read(twins.site.state) is None


async def test_what_an_undo_cannot_start_a_person_may(twins: Twins) -> None:
    await EXPORT.perform(twins.site)
    twins.docker.does_not_start = {"web"}
    await does_not_resume(twins)
    await fence.pass_by(twins.site, EXPORT.epoch)


@pytest.mark.parametrize("broken", ["the export", "the stop", "the agent"])
async def test_an_undo_tells_of_what_did_not_start_before_it_too(
    twins: Twins, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    twins.docker.does_not_start = {"web"}
    if broken == "the agent":
        await EXPORT.perform(twins.site)
        with pytest.raises(NotStartedAgain):
            await EXPORT.put_right(twins.site, twins.notes.noted)
    else:
        twins.docker.add("db")
        twins.docker.does_not_stop = {"db"} if broken == "the stop" else set()
        if broken == "the export":
            monkeypatch.setattr(twins.notes, "note", unless_exported(twins.notes.note))
        with pytest.raises(NotStartedAgain):
            await EXPORT.perform(twins.site)
    await does_not_resume(twins)


def unless_exported(note: Any) -> Any:
    """Notes on a disk that is full by then."""

    async def noted(name: str, **facts: Any) -> None:
        if name == "exported":
            raise Failure("the disk is full")
        await note(name, **facts)

    return noted


async def test_what_had_exited_before_is_started_by_nobody_either(twins: Twins) -> None:
    twins.docker.add("job", state="exited", policy="unless-stopped")
    await EXPORT.perform(twins.site)
    assert set(twins.docker.policies().values()) == {"no"}
    await RESUME.perform(twins.site)
    assert twins.docker.policies() == {"web": "always", "job": "unless-stopped"}
    assert twins.docker.running() == {"web"}


async def test_what_did_not_go_along_is_no_part_of_what_goes_in_a_week(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> None:
        for name in list(twins.docker.there):
            del twins.docker.there[name]

    monkeypatch.setattr(twins.compose, "down", down)
    twins.volume("cache", twins.folder / "volumes/cache")
    left_out = ("./data/temp", "./other", "cache")
    cargo = Cargo(item="data", include=("./data", "./other", "cache"), exclude=left_out)
    await EXPORT.perform(twins.site)
    await RetireSource(service=SERVICE, epoch=2, cargo=(cargo,)).perform(twins.site)
    found = fence.read(twins.site.state)
    assert found
    assert found.side == "left"
    assert (found.paths_left, found.volumes_left) == ((f"{twins.folder}/data",), ())
    assert found.spared_left == (f"{twins.folder}/data/temp",)


async def test_what_could_not_be_removed_has_its_policies_again_on_the_way_back(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> None:
        raise CommandFailed("the engine is away")

    retire = RetireSource(service=SERVICE, epoch=2, cargo=())
    await EXPORT.perform(twins.site)
    monkeypatch.setattr(twins.compose, "down", fails)
    with pytest.raises(CommandFailed):
        await retire.perform(twins.site)
    back = replace(twins.site, task="01BACK")
    monkeypatch.setattr(twins.compose, "create", nothing)
    await PrepareTarget(service=SERVICE, epoch=3, images={}).perform(back)
    assert twins.docker.policies() == {"web": "no"}
    # The same containers: `up` makes none anew.
    monkeypatch.setattr(twins.compose, "up", nothing)
    monkeypatch.setattr(answering, "wait_until_it_answers", at_once)
    await StartOnTarget(service=SERVICE, epoch=3).perform(back)
    assert twins.docker.policies() == {"web": "always"}


async def test_a_source_whose_containers_were_removed_is_not_told_to_run_again(
    twins: Twins,
) -> None:
    await EXPORT.perform(twins.site)
    del twins.docker.there["web"]
    with pytest.raises(NotStartedAgain, match="web: it was removed meanwhile"):
        await RESUME.perform(twins.site)
    # A person may deploy it, and then it is there.
    found = fence.read(twins.site.state)
    assert found is not None
    assert found.open
    twins.docker.add("web")
    twins.docker.change("web", id="id-new")
    await RESUME.perform(twins.site)
    assert fence.read(twins.site.state) is None


async def nothing(**_: object) -> None:
    pass


async def at_once(*_: object) -> float:
    return 0.0


async def test_what_was_removed_is_held_no_more(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> None:
        twins.docker.there.clear()

    await EXPORT.perform(twins.site)
    monkeypatch.setattr(twins.compose, "down", down)
    await RetireSource(service=SERVICE, epoch=2, cargo=()).perform(twins.site)
    found = fence.read(twins.site.state)
    assert found
    assert (found.side, found.held) == ("left", None)


async def test_a_target_without_fence_or_files_is_proven_stopped_too(twins: Twins) -> None:
    """NoShell: no program of compose is started, for there may be no file of it."""
    await ClearTarget(service=SERVICE, epoch=2).perform(twins.site)
    assert twins.docker.running() == set()
    assert twins.docker.policies() == {"web": "no"}


STALE = StopStale(service=SERVICE, epoch=2, of_task="01TASK")


async def test_what_came_back_keeps_its_policies_for_when_it_is_wanted_again(
    twins: Twins,
) -> None:
    twins.docker.add("job", state="exited", policy="unless-stopped")
    found = await STALE.perform(twins.site)
    await STALE.perform(twins.site)
    assert set(found.ran) == {"web"}
    assert set(twins.docker.policies().values()) == {"no"}
    with pytest.raises(Conflict):
        await fence.pass_by(twins.site, STALE.epoch)
    await fence.pass_by(twins.site, STALE.epoch + 1)
    assert twins.docker.policies() == {"web": "always", "job": "unless-stopped"}


async def test_what_came_back_runs_again_when_its_rescue_is_undone(twins: Twins) -> None:
    await STALE.perform(twins.site)
    assert twins.docker.running() == set()
    await RESUME.perform(replace(twins.site, task="01OTHER"))
    assert twins.docker.running() == set()
    await RESUME.perform(twins.site)
    assert twins.docker.running() == {"web"}
    assert twins.docker.policies() == {"web": "always"}
    assert fence.read(twins.site.state) is None


async def test_what_a_move_has_made_where_it_came_to_nothing_is_kept_by_nobody(
    twins: Twins,
) -> None:
    fence.put_up(twins.site.state, fence.Fence(task="01TASK", side="target", epoch=2))
    await STALE.perform(twins.site)
    found = fence.read(twins.site.state)
    assert found
    assert (found.side, found.held) == ("left", None)


async def test_of_a_volume_that_binds_a_folder_that_folder_is_what_was_left(
    twins: Twins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down() -> None:
        twins.docker.there.clear()

    monkeypatch.setattr(twins.compose, "down", down)
    inside, outside = twins.folder / "data", Path("/srv/disk-of-nobody/media")
    for key, device in (("inside", inside), ("outside", outside)):
        twins.volume(key, tmp_path / "never", VolumeKind(type="none", device=str(device)))
    cargo = Cargo(item="data", include=("inside", "outside"))
    await EXPORT.perform(twins.site)
    await RetireSource(service=SERVICE, epoch=2, cargo=(cargo,)).perform(twins.site)
    found = fence.read(twins.site.state)
    assert found
    assert (found.paths_left, found.volumes_left) == ((str(inside), str(outside)), ())


async def test_an_export_that_is_cancelled_while_the_service_stops_brings_it_back(
    twins: Twins,
) -> None:
    await cancelled_in_its_stop(twins, EXPORT.perform(twins.site))
    assert twins.docker.running() == {"web"}
    assert twins.docker.policies() == {"web": "always"}
    assert fence.read(twins.site.state) is None


async def test_an_export_whose_agent_died_in_the_stop_waits_for_it(twins: Twins) -> None:
    notes = await died_in_its_stop(twins, EXPORT.perform(twins.site))
    await lets_it_stop(twins, EXPORT.put_right(twins.site, notes))
    assert twins.docker.running() == {"web"}
    assert fence.read(twins.site.state) is None


async def test_what_stops_for_good_has_stopped_when_that_is_cancelled(twins: Twins) -> None:
    await cancelled_in_its_stop(twins, STALE.perform(twins.site))
    assert twins.docker.running() == set()


async def test_what_stops_for_good_is_told_once_though_its_agent_dies(twins: Twins) -> None:
    started_at = twins.docker.there["web"].started_at
    notes = await died_in_its_stop(twins, STALE.perform(twins.site))
    await lets_it_stop(twins, STALE.put_right(twins.site, notes))
    found = await STALE.perform(twins.site)
    assert twins.docker.signals == ["web"]
    # It ran beside the other node, whatever has become of it by now.
    assert found.ran == {"web": started_at}


async def test_what_stops_for_good_is_waited_for_though_nobody_asks_any_more(twins: Twins) -> None:
    engine_goes_on_alone(twins)
    with pytest.raises(CommandFailed, match="error during connect"):
        await lets_it_stop(twins, STALE.perform(twins.site))
    assert twins.docker.signals == ["web"]


class SomebodyWrites:
    """The last round, and what somebody on the machine does while it sends."""

    def __init__(self, writes: Callable[[], object]) -> None:
        self._writes = writes

    def __call__(self, *_: Any) -> SomebodyWrites:
        return self

    async def __aenter__(self) -> SomebodyWrites:
        return self

    async def __aexit__(self, *_: Any) -> None:
        return

    def refuse_ended(self) -> None:
        return

    async def send(self) -> Sent:
        self._writes()
        return Sent(bytes=0, files=0, seconds=0.0)


class Ended(SomebodyWrites):
    """A last round whose target went away before anything stopped."""

    def refuse_ended(self) -> None:
        raise WireCut("the target is away")


async def test_nothing_stops_for_a_last_round_that_has_ended(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.leaving.LastSend", Ended(list))
    cargo = (Cargo(item="data", include=("./data",)),)
    with pytest.raises(WireCut):
        await EXPORT.model_copy(update={"cargo": cargo}).perform(twins.site)
    assert twins.docker.signals == []


@pytest.mark.parametrize("writes", [True, False], ids=["somebody writes", "nobody writes"])
async def test_what_is_written_behind_the_last_look_is_not_removed_in_a_week(
    twins: Twins, monkeypatch: pytest.MonkeyPatch, *, writes: bool
) -> None:
    async def down() -> None:
        twins.docker.there.clear()

    data = twins.folder / "data"
    data.mkdir()
    (data / "old").write_text("was sent")
    # No service stops within one tick of the clock.
    while time.clock_gettime_ns(CLOCK_OF_CTIMES) <= (data / "old").stat().st_ctime_ns + 1:
        pass
    last = SomebodyWrites(lambda: (data / "new").write_text("was not") if writes else None)
    monkeypatch.setattr("composia.operations.leaving.LastSend", last)
    monkeypatch.setattr(twins.compose, "down", down)
    cargo = (Cargo(item="data", include=("./data",)),)
    await EXPORT.model_copy(update={"cargo": cargo}).perform(twins.site)
    await RetireSource(service=SERVICE, epoch=2, cargo=cargo).perform(twins.site)

    @asynccontextmanager
    async def alone(service: str) -> AsyncIterator[None]:
        yield

    in_a_week = datetime.now(UTC) + timedelta(days=8)
    [ended] = await left_behind.expire(
        twins.site.state.parent, twins.folder.parent, twins.docker, in_a_week, alone
    )

    assert data.exists() == writes
    assert ended.changed == ((str(data),) if writes else ())
