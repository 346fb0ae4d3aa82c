"""One move with one misfortune: who dies, when, and what must hold afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.e2e.world import PATIENCE, World, until
from tests.e2e.writing import NODES, App, wanted

#: The steps of a move with a site: by name, and the nodes that work in each.
STEPS = {
    "0_check": NODES,
    "0_back_up": ("main",),
    "0_prepare": ("edge",),
    "0_bring_certificates": NODES,
    "0_pre_copy": NODES,
    "1_export_data": NODES,
    "2_stop_source": ("main",),
    "3_reload_caddy": ("main",),
    "4_restore_data": ("edge",),
    "5_start_on_target": ("edge",),
    "6_reload_caddy": NODES,
    "7_update_dns": (),
    "8_write_back": (),
    "9_retire_source": ("main",),
}
VICTIMS = (
    "controller", "agent:main", "agent:edge", "docker:main", "docker:edge", "machine:main",
    "machine:edge", "link:main", "link:edge",
)  # fmt: skip
#: Whom the controller itself needs in a step.
OTHERS = {"7_update_dns": ("link:dns",), "8_write_back": ("link:git",)}
MOMENTS = ("before", "middle", "after")
#: A step that is over before anybody could have looked.
GLANCE = 0.02


@dataclass(frozen=True)
class Case:
    """A cell of the matrix."""

    step: str
    victim: str
    moment: str

    def __str__(self) -> str:
        return f"{self.step}-{self.victim}-{self.moment}"


def every() -> list[Case]:
    """The whole matrix."""
    return [Case(s, v, m) for s in STEPS for v in victims_of(s) for m in MOMENTS]


def victims_of(step: str) -> tuple[str, ...]:
    """Who may die in a step, or be cut off."""
    return (*VICTIMS, *OTHERS.get(step, ()))


def some() -> list[Case]:
    """Every step once, every victim, every moment; and what went wrong once."""
    steps = list(STEPS)
    return [
        *(
            Case(step, VICTIMS[at % len(VICTIMS)], MOMENTS[at % len(MOMENTS)])
            for at, step in enumerate(steps)
        ),
        Case("1_export_data", "agent:edge", "after"),
        Case("7_update_dns", "link:dns", "before"),
        Case("8_write_back", "link:git", "middle"),
    ]


def table(outcomes: Mapping[str, str]) -> Iterator[str]:
    """What came of the cases, by their names; moments in their order, `-` where it did not run."""
    marks = {"passed": "ok", "failed": "FAILED", "error": "ERROR"}
    yield f"{'step':20}{'who':16}{'before':10}{'middle':10}{'after':10}"
    for step in STEPS:
        for victim in victims_of(step):
            found = [outcomes.get(str(Case(step, victim, moment)), "") for moment in MOMENTS]
            if any(found):
                cells = "".join(f"{marks.get(one, '-'):10}" for one in found)
                yield f"{step:20}{victim:16}{cells}"


class Both:
    """Watches whether the service ever answers on both nodes at once."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seen: list[float] = []

    def __enter__(self) -> Both:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(GLANCE):
            # Whoever answered first must do so still: between the two a second may pass.
            if all(self._app.answers(node) for node in (*NODES, NODES[0])):
                self.seen.append(time.monotonic())


def moved(world: World, app: App, case: Case, restart: str = "always") -> dict[str, Any]:
    """Move the service with the misfortune, heal, and wait until it is settled; the task.

    Asserts what must hold whatever has happened.
    """
    app.deploy_with_site(restart=restart)
    until(lambda: app.answers("main"), "the service")
    with Both(app) as both, app.client() as client:
        client.wait_for(20)
        task = _struck(world, app, case)
        ended = world.wait(task)
        first = dict(ended)
        if "rollback" in ended["actions"]:
            assert app.active() == ["edge"], ended
            ended = world.wait(world.start(f"/tasks/{task}/{_way_out(case)}"))
            assert ended["status"] == "succeeded", ended
        node = ended["nodes"][1 if ended["status"] == "succeeded" else 0]
        until(lambda: app.active() == [node], f"the service on {node}", lambda: str(first))
        until(
            lambda: app.shown() == [node], f"{node} on the page", lambda: _seen(world, app, first)
        )
        # Who has the old address is forwarded; where all was undone, nobody has got the new one.
        for at in NODES if node == "edge" else ("main",):
            until(partial(app.serves, at), f"the site at {at}", lambda: str(first))
        client.wait_for(20)

    assert both.seen == [], f"active on both nodes: {case}"
    assert app.lost(client, node) == [], f"lost writes: {case}"
    assert client.kept[-1].address == app.address(node)
    assert world.lab.dns.addresses(app.host) == {world.lab.nodes[node].address}
    assert world.policy(app.container(node), node) == restart.strip('"')
    return first


def _way_out(case: Case) -> str:
    """Of a move that is open: both are tried."""
    return "rollback" if case.moment == "middle" else "retry"


def _seen(world: World, app: App, task: dict[str, Any]) -> str:
    nodes = {node: world.get(f"/nodes/{node}").text for node in NODES}
    return f"{task} {world.get(app.path).text} {nodes}"


def _struck(world: World, app: App, case: Case) -> str:
    kind, _, node = case.victim.partition(":")
    world.lab.clear_failures()
    if case.victim in OTHERS.get(case.step, ()):
        return _cut_off(world, app, node, case)
    if kind == "controller" or (kind == "agent" and node in STEPS[case.step]):
        return _killed_at_a_failure_point(world, app, case)
    task = world.start(f"{app.path}/migrate", wanted())
    _wait_for_the_moment(world, task, case)
    _strike(world, kind, node)
    _heal(world, kind, node)
    return task


def _cut_off(world: World, app: App, other: str, case: Case) -> str:
    """The controller reaches it no more, until the task has ended."""
    if case.moment == "before":
        world.lab.cut(other, "controller")
    task = world.start(f"{app.path}/migrate", wanted())
    _wait_for_the_moment(world, task, case)
    world.lab.cut(other, "controller")
    world.wait(task)
    world.lab.join(other, "controller")
    return task


def _killed_at_a_failure_point(world: World, app: App, case: Case) -> str:
    # The controller's own steps have no middle.
    middle = "before" if not STEPS[case.step] and case.moment == "middle" else case.moment
    world.lab.fail(f"{case.step}:{middle}", f"kill-{case.victim}")
    task = world.start(f"{app.path}/migrate", wanted())
    until(lambda: world.lab.pid(case.victim) is None, f"the end of {case.victim}")
    world.lab.start(case.victim)
    return task


def _wait_for_the_moment(world: World, task: str, case: Case) -> None:
    over: Callable[[Any], bool] = {
        "before": lambda step: True,
        "middle": lambda step: True,
        "after": lambda step: step["finished_at"] is not None,
    }[case.moment]
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = world.task(task)
        steps = [step for step in found["steps"] if step["name"] == case.step]
        if any(over(step) for step in steps) or found["finished_at"]:
            break
        time.sleep(GLANCE)
    if case.moment == "middle":
        time.sleep(0.1)


def _strike(world: World, kind: str, node: str) -> None:
    match kind:
        case "link":
            world.lab.cut(node, "controller")
            # Shorter, and nobody would know of it.
            until(lambda: not world.get(f"/nodes/{node}").json()["online"], f"{node} offline")
        case "machine":
            world.lab.reboot(node)
        case _:
            world.lab.kill(f"{kind}:{node}")


def _heal(world: World, kind: str, node: str) -> None:
    match kind:
        case "link":
            world.lab.join(node, "controller")
        case "machine":
            return
        case _:
            world.lab.start(f"{kind}:{node}")
