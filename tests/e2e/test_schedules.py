"""Backups that nobody starts: on a clock of the controller's own, with agents that die."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from tests.e2e import services
from tests.e2e.world import World, until
from tests.lab.clock import Clock

EVERY_MINUTE = 'schedule: "* * * * *"'


def test_every_minute_has_its_backup_whoever_was_away_at_it(world: World) -> None:
    metas = {"here": a_service(world, "here", "main"), "there": a_service(world, "there", "edge")}
    world.lab.kill("agent:edge")
    clock = Clock(world.lab.state)
    with_clock(world, clock, second=54)
    files = {f"{name}/composia-meta.yaml": every_minute(meta) for name, meta in metas.items()}
    world.commit(dict(files))

    # The first minute: one node works, the other is away.
    until(lambda: len(scheduled(world, "here")) == 1, "the first backup", lambda: seen(world))
    first = shown(world, "here")["last"]
    waiting = shown(world, "there")["waiting"]
    # The second minute passes without a controller.
    world.lab.kill("controller")
    clock.set(at_second(61, clock.seconds))
    world.lab.start("agent:edge")
    world.lab.start("controller", clock=clock)

    # What one minute brought is read before the next can come.
    until(lambda: len(scheduled(world, "here")) >= 2, "what was due meanwhile")
    second = scheduled(world, "here")[-2]
    task = world.wait(second["task_id"])
    last = shown(world, "here")["last"]
    both = {one["task_id"] for one in world.backups(service="here")[:2]}
    until(lambda: len(scheduled(world, "there")) >= 1, "the backup of the node that is back")
    assert [(one["node"], one["for"]) for one in waiting] == [("edge", "node edge is offline")]
    assert (task["source"], task["created_by"]) == ("schedule", "schedule")
    assert (last["task"], last["status"]) == (task["id"], "succeeded")
    assert moment(last) - moment(first) == timedelta(minutes=1), "caught up, and once"
    # Both items of the service: one task, so that it is stopped once at most.
    assert both == {task["id"]}
    assert {one["kind"] for one in world.backups()} == {"scheduled"}


def with_clock(world: World, clock: Clock, second: int) -> None:
    """Start the controller anew, at that second of a minute."""
    world.lab.kill("controller")
    clock.set(at_second(second))
    world.lab.start("controller", clock=clock)


def at_second(second: int, wrong_by: int = 0) -> int:
    """By how many seconds a clock must go wrong, not to go back, to be at that of its minute."""
    now = int(time.time()) + wrong_by
    return wrong_by + (second - now % 60 if second > now % 60 else 60 + second - now % 60)


def a_service(world: World, name: str, node: str) -> str:
    meta = services.files_meta(name, nodes=node)
    world.service(name, services.files_compose(), meta)
    world.ok(f"/services/{name}/deploy")
    (world.folder(name, node) / "data/uploads/x").write_text("x")
    (world.volume(f"{name}_cache", node) / "x").write_text("x")
    return meta


def every_minute(meta: str) -> str:
    often = f"{{name: uploads, {EVERY_MINUTE}}}, {{name: cache, {EVERY_MINUTE}}}"
    return meta.replace("{name: uploads}, {name: cache}", often)


def scheduled(world: World, service: str) -> list[dict[str, Any]]:
    """What was saved of its uploads by itself, the newest first."""
    found = world.backups(service=service, data_item="uploads")
    return [one for one in found if one["status"] == "success"]


def shown(world: World, service: str) -> dict[str, Any]:
    items: list[dict[str, Any]] = world.get("/schedules", service=service).json()["items"]
    return next(one for one in items if one["data_items"] == ["uploads"])


def seen(world: World) -> str:
    return f"{world.backups()} {world.get('/schedules').text}"


def moment(last: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(last["time"])
