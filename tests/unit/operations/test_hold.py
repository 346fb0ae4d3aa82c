"""Promise 6: a stop of ours holds until we start again."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from composia.errors import CommandFailed, Conflict, Failure
from composia.operations.held import in_order
from composia.operations.hold import NotStartedAgain, held, release
from tests.twins.site import Twins
from tests.twins.slow import (
    WAITING,
    Slow,
    cancelled_twice_while,
    died_in_its_stop,
    engine_goes_on_alone,
    lets_it_stop,
)
from tests.waiting import until


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    made = Twins(tmp_path / "my-app")
    made.docker.add("db", policy="unless-stopped")
    made.docker.add("web", policy="on-failure:5", depends_on="db:service_started:false")
    made.docker.add("once", state="exited", policy="no")
    return made


async def a_hold(twins: Twins, containers: Collection[str] | None = None) -> None:
    async with held(twins.site, containers):
        pass


async def test_policies_go_before_the_stop_and_dependents_stop_first(twins: Twins) -> None:
    async with held(twins.site):
        assert twins.docker.done == ["policy no db", "policy no web", "stop web", "stop db"]
        assert twins.docker.running() == set()


async def test_what_it_is_about_to_do_is_noted_first(twins: Twins) -> None:
    async def note(name: str, **facts: Any) -> None:
        done_by_then[name] = list(twins.docker.done)
        await noted(name, **facts)

    noted, done_by_then = twins.notes.note, dict[str, list[str]]()
    twins.notes.note = note  # type: ignore[method-assign]  # it looks around first
    async with held(twins.site):
        kept = twins.notes.noted["held"]["containers"]
    assert done_by_then["held"] == []
    assert [(one["name"], one["policy"]) for one in kept] == [
        ("db", "unless-stopped"),
        ("web", "on-failure:5"),
    ]
    assert twins.notes.names == ["held", "stopping", "stopping", "released"]


async def test_those_that_ran_start_again_with_their_policies_and_no_others(twins: Twins) -> None:
    await a_hold(twins)
    assert twins.docker.running() == {"db", "web"}
    assert twins.docker.policies() == {"db": "unless-stopped", "web": "on-failure:5", "once": "no"}
    assert [line for line in twins.docker.done if line.startswith("start")] == [
        "start db",
        "start web",
    ]


async def test_a_service_that_did_not_run_stays_stopped(tmp_path: Path) -> None:
    twins = Twins(tmp_path / "my-app")
    twins.docker.add("web", state="exited")
    await a_hold(twins)
    assert twins.docker.done == []
    assert twins.docker.running() == set()


async def test_only_the_containers_that_are_named_stop(twins: Twins) -> None:
    async with held(twins.site, ["id-web"]):
        assert twins.docker.running() == {"db"}


async def test_a_failure_under_the_hold_brings_the_service_back(twins: Twins) -> None:
    with pytest.raises(ZeroDivisionError):
        async with held(twins.site):
            raise ZeroDivisionError
    assert twins.docker.running() == {"db", "web"}


async def test_a_container_that_starts_meanwhile_breaks_the_hold(twins: Twins) -> None:
    with pytest.raises(Failure, match="web"):
        async with held(twins.site):
            twins.docker.starts_and_ends("web")
    assert twins.docker.running() == {"db", "web"}


async def test_a_container_that_appears_meanwhile_breaks_the_hold(twins: Twins) -> None:
    with pytest.raises(Failure, match="other"):
        async with held(twins.site):
            twins.docker.add("other")


async def test_a_container_that_is_removed_meanwhile_breaks_the_hold(twins: Twins) -> None:
    """`docker system prune` takes all that is stopped: then the service is down, and that is told.

    What else ran starts again.
    """
    with pytest.raises(NotStartedAgain, match="db: it was removed meanwhile") as caught:
        async with held(twins.site):
            del twins.docker.there["db"]
    assert "db of my-app did not stay as it was" in str(caught.value.__context__)
    assert "composia deploy" in (caught.value.hint or "")
    assert twins.docker.running() == {"web"}


async def test_a_container_that_is_made_anew_meanwhile_is_not_lost(twins: Twins) -> None:
    with pytest.raises(Failure, match="db of my-app did not stay as it was") as caught:
        async with held(twins.site):
            twins.docker.change("db", id="id-new", state="created")
    assert not isinstance(caught.value, NotStartedAgain)


async def test_our_own_container_of_the_repository_does_not_break_the_hold(twins: Twins) -> None:
    async with held(twins.site):
        twins.docker.add("composia-01task-1", one_off=True)


async def test_a_stop_that_fails_half_way_puts_everything_back(twins: Twins) -> None:
    twins.docker.does_not_stop = {"db"}
    with pytest.raises(Failure, match="db of my-app did not stop"):
        await a_hold(twins)
    assert twins.docker.running() == {"db", "web"}
    assert twins.docker.policies()["web"] == "on-failure:5"


async def test_a_paused_container_is_refused_before_anything_stops(twins: Twins) -> None:
    twins.docker.change("db", state="paused")
    with pytest.raises(Conflict, match="paused"):
        await a_hold(twins)
    assert twins.docker.done == []


async def test_a_container_of_compose_run_is_refused_before_anything_stops(twins: Twins) -> None:
    twins.docker.add("migration", one_off=True)
    with pytest.raises(Conflict, match="migration"):
        await a_hold(twins)
    assert twins.docker.done == []


async def test_a_container_that_its_stop_would_remove_is_refused_before(twins: Twins) -> None:
    twins.docker.change("web", goes_when_it_ends=True)
    with pytest.raises(Conflict, match="web was started with `--rm`"):
        await a_hold(twins)
    assert twins.docker.done == []


async def test_a_project_from_another_folder_is_not_touched(twins: Twins) -> None:
    twins.docker.add("theirs", folder=Path("/srv/elsewhere"))
    with pytest.raises(Conflict, match="/srv/elsewhere"):
        await a_hold(twins)
    assert twins.docker.done == []


async def test_one_that_does_not_start_keeps_no_other_down_and_is_named(twins: Twins) -> None:
    twins.docker.add("sidecar")
    twins.docker.does_not_start = {"db"}
    with pytest.raises(NotStartedAgain, match="db: docker start: db: port") as raised:
        await a_hold(twins)
    assert twins.docker.running() == {"sidecar", "web"}
    assert raised.value.hint


async def test_what_failed_before_is_the_context_of_what_did_not_start(twins: Twins) -> None:
    twins.docker.does_not_start = {"db"}
    with pytest.raises(NotStartedAgain) as raised:
        async with held(twins.site):
            raise ZeroDivisionError
    assert isinstance(raised.value.__context__, ZeroDivisionError)


async def test_an_engine_that_is_away_is_waited_for(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.stopping.AWAY_POLL", 0)
    with pytest.raises(Failure, match="does not answer"):
        async with held(twins.site):
            twins.docker.away = 5
    assert twins.docker.running() == {"db", "web"}


async def test_a_cancelled_task_starts_the_service_first(twins: Twins) -> None:
    entered = asyncio.Event()

    async def hold() -> None:
        async with held(twins.site):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await entered.wait()
    slow = Slow(twins.docker, "start")
    task.cancel()
    await cancelled_twice_while(slow, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert twins.docker.running() == {"db", "web"}
    assert "released" in twins.notes.noted


async def test_a_stop_that_was_asked_ends_before_anything_starts(twins: Twins) -> None:
    twins.docker.stops_slowly = {"web"}
    task = asyncio.create_task(a_hold(twins))
    await twins.docker.is_stopping.wait()
    await cancelled_twice(task)
    twins.docker.has_stopped("web")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert twins.docker.running() == {"db", "web"}
    assert "stop db" not in twins.docker.done
    assert twins.notes.lines.count(WAITING) == 1


async def test_a_stop_that_an_engine_goes_on_with_alone_is_waited_for(twins: Twins) -> None:
    engine_goes_on_alone(twins)
    with pytest.raises(CommandFailed, match="error during connect"):
        await lets_it_stop(twins, a_hold(twins))
    assert twins.docker.running() == {"db", "web"}


async def test_what_must_be_healthy_first_is_waited_for(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.hold.POLL", 0)
    labels = {**twins.docker.there["web"].labels}
    labels["com.docker.compose.depends_on"] = "db:service_healthy:true"
    twins.docker.change("web", labels=labels)
    looks = 0
    containers = twins.docker.containers

    async def ill_at_first(**wanted: Any) -> Any:
        nonlocal looks
        looks += "start db" in twins.docker.done
        twins.docker.change("db", health="healthy" if looks > 3 else "starting")
        return await containers(**wanted)

    monkeypatch.setattr(twins.docker, "containers", ill_at_first)
    await a_hold(twins)
    assert looks > 3
    assert twins.docker.done[-1] == "start web"


async def test_release_starts_what_a_dead_agent_had_stopped(twins: Twins) -> None:
    notes = await notes_of_a_dead_agent(twins)
    await release(twins.site, notes)
    assert twins.docker.running() == {"db", "web"}
    assert twins.docker.policies()["web"] == "on-failure:5"


async def test_release_finds_that_the_engine_has_started_them_already(twins: Twins) -> None:
    notes = await notes_of_a_dead_agent(twins)
    twins.docker.starts_by_itself("db")
    await release(twins.site, notes)
    assert twins.docker.running() == {"db", "web"}


async def test_release_leaves_what_was_made_anew(twins: Twins) -> None:
    notes = await notes_of_a_dead_agent(twins)
    del twins.docker.there["web"]
    twins.docker.add("web", state="created", policy="always")
    twins.docker.change("web", id="id-new")
    await release(twins.site, notes)
    assert twins.docker.there["web"].state == "created"
    assert "web was removed or made anew" in " ".join(twins.notes.lines)


async def test_release_leaves_a_service_alone_that_was_released(twins: Twins) -> None:
    await a_hold(twins)
    await twins.site.docker.stop(["id-web"])
    await release(twins.site, twins.notes.noted)
    assert twins.docker.running() == {"db"}


async def test_release_tries_again_to_start_what_did_not(twins: Twins) -> None:
    twins.docker.does_not_start = {"db"}
    with pytest.raises(NotStartedAgain):
        await a_hold(twins)
    twins.docker.does_not_start = set()
    await release(twins.site, twins.notes.noted)
    assert twins.docker.running() == {"db", "web"}


async def test_release_is_harmless_where_nothing_was_held(twins: Twins) -> None:
    await release(twins.site, {})
    assert twins.docker.done == []


async def test_labels_that_go_in_circles_are_started_all_the_same(tmp_path: Path) -> None:
    twins = Twins(tmp_path / "my-app")
    twins.docker.add("a", depends_on="b:service_started:false")
    twins.docker.add("b", depends_on="a:service_started:false")
    await a_hold(twins)
    assert twins.docker.running() == {"a", "b"}
    assert in_order([]) == []


async def test_release_waits_for_a_stop_that_a_dead_agent_had_asked(twins: Twins) -> None:
    notes = await died_in_its_stop(twins, a_hold(twins))
    await lets_it_stop(twins, release(twins.site, notes))
    assert twins.docker.running() == {"db", "web"}
    # A second signal ends many a program at once that was about to end well.
    assert twins.docker.signals == ["web"]


async def test_release_waits_for_no_stop_that_was_not_asked(twins: Twins) -> None:
    notes = await died_in_its_stop(twins, a_hold(twins))
    twins.docker.has_stopped("web")
    await release(twins.site, notes)
    assert WAITING not in twins.notes.lines
    assert twins.docker.running() == {"db", "web"}
    assert "stop db" not in twins.docker.done


async def test_release_waits_for_no_stop_of_an_earlier_hold(twins: Twins) -> None:
    await a_hold(twins)
    notes = twins.notes.noted
    notes["held"] = {**notes["held"], "hold": "another"}
    await release(twins.site, notes)
    assert not any(line.startswith("Waiting") for line in twins.notes.lines)


async def test_release_waits_for_nothing_that_somebody_has_started_anew(twins: Twins) -> None:
    notes = await died_in_its_stop(twins, a_hold(twins))
    twins.docker.has_stopped("web")
    twins.docker.starts_by_itself("web")
    await release(twins.site, notes)
    assert WAITING not in twins.notes.lines
    assert twins.docker.done.count("stop web") == 1


async def test_release_gives_up_a_stop_that_never_came_to_the_engine(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.stopping.TO_KILL", 0)
    notes = await died_in_its_stop(twins, a_hold(twins))
    twins.docker.change("web", stop_grace=0.0)
    await release(twins.site, notes)
    assert twins.docker.running() == {"db", "web"}
    assert twins.docker.done.count("stop web") == 1


async def test_release_waits_for_what_may_take_as_long_as_it_likes(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.operations.stopping.POLL", 0)
    monkeypatch.setattr("composia.operations.stopping.TO_KILL", 0)
    notes = await died_in_its_stop(twins, a_hold(twins))
    twins.docker.change("web", stop_grace=-1.0)
    task = asyncio.create_task(release(twins.site, notes))
    await until(lambda: WAITING in twins.notes.lines)
    await cancelled_twice(task)
    # Its notes stay: the next agent goes on to wait.
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "released" not in twins.notes.noted


async def test_nothing_is_waited_for_without_end(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody knows whether the engine was ever asked.
    monkeypatch.setattr("composia.operations.stopping.TO_KILL", 0)
    monkeypatch.setattr("composia.operations.stopping.ENDLESS", 0)
    notes = await died_in_its_stop(twins, a_hold(twins))
    twins.docker.change("web", stop_grace=-1.0)
    await release(twins.site, notes)
    assert "released" in twins.notes.noted


async def cancelled_twice(task: asyncio.Task[None]) -> None:
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)


async def notes_of_a_dead_agent(twins: Twins) -> dict[str, Any]:
    """The notes and the state that are left when the agent dies under a hold."""
    async with held(twins.site):
        notes = {"held": twins.notes.noted["held"]}
        there = dict(twins.docker.there)
    twins.docker.there = there
    return notes
