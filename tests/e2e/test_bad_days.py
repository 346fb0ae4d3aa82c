"""Kill, cut, reboot: the task ends, the service runs, the data is the old or the new."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import services
from tests.e2e.disks import HeldBack
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until
from tests.lab.clock import Clock

BACKUP_STEPS = ("open_repository", "save_data", "record_backups")
RESTORE_STEPS = ("open_repository", "fetch_data", "exchange_data")
MOMENTS = ("before", "middle", "after")
CLOCKS = ("controller", "agent:main")
SEALED = [("fetch_data", moment) for moment in MOMENTS] + [
    ("exchange_data", moment) for moment in (*MOMENTS, "held", "exchanging_1", "exchanged")
]


@pytest.fixture(scope="module")
def uploads(world: World) -> Path:
    """A service with two cold items, deployed and filled once for the module."""
    meta = services.files_meta("days", strategy="files.tar_after_stop")
    world.service("days", services.files_compose("always"), meta)
    world.ok("/services/days/deploy")
    found = world.folder("days") / "data/uploads"
    fill(found)
    (world.volume("days_cache") / "x").write_text("x")
    world.ok("/services/days/backup")
    return found


def runs(world: World) -> bool:
    """Whether the service runs as it did, with its policy."""
    container = world.container("days", "web")
    return (
        world.containers("days", running=True) == [container]
        and world.policy(container) == "always"
    )


def killed(world: World, process: str, points: Sequence[str], path: str) -> str:
    """Start a task that ends the process at each of the points, in turn; the task."""
    world.lab.clear_failures()
    for where in points:
        world.lab.fail(where, f"kill-{process}")
    task = world.start(path)
    for at in range(len(points)):
        until(lambda: world.lab.pid(process) is None, f"the end of {process}")
        # It carries its tasks on before it answers anybody: the next end may come sooner.
        world.lab.start(process, wait=at + 1 == len(points))
    return task


@pytest.mark.parametrize("step", BACKUP_STEPS)
def test_the_controller_killed_in_a_step_of_a_backup(
    world: World, uploads: Path, step: str
) -> None:
    # The controller's own steps have no middle.
    moments = ("before", "after") if step == "record_backups" else MOMENTS
    task = killed(
        world, "controller", [f"{step}:{one}" for one in moments], "/services/days/backup"
    )

    ended = world.wait(task)

    assert ended["status"] == "succeeded", ended
    assert len([one for one in world.backups(service="days") if one["task_id"] == task]) == 2
    assert runs(world)


@pytest.mark.parametrize("step", RESTORE_STEPS)
def test_the_controller_killed_in_a_step_of_a_restore(
    world: World, uploads: Path, step: str
) -> None:
    before = look(uploads)
    (uploads / "new").write_text("new")
    task = killed(
        world, "controller", [f"{step}:{one}" for one in MOMENTS], "/services/days/restore"
    )

    ended = world.wait(task)

    assert ended["status"] == "succeeded", ended
    assert look(uploads) == before
    assert runs(world)


@pytest.mark.parametrize("moment", [*MOMENTS, "held"])
def test_the_agent_killed_while_it_saves(world: World, uploads: Path, moment: str) -> None:
    task = killed(world, "agent:main", [f"save_data:{moment}"], "/services/days/backup")

    ended = world.wait(task)

    assert ended["status"] == "succeeded", ended
    until(lambda: runs(world), "the service")
    assert not ours(world)


@pytest.mark.parametrize(("step", "moment"), SEALED)
def test_the_agent_killed_while_it_restores(
    world: World, uploads: Path, step: str, moment: str
) -> None:
    before = look(uploads)
    (uploads / "new").write_text("new")
    changed = look(uploads)
    task = killed(world, "agent:main", [f"{step}:{moment}"], "/services/days/restore")

    ended = world.wait(task)

    assert look(uploads) == (before if ended["status"] == "succeeded" else changed), ended
    until(lambda: runs(world), "the service")
    assert not ours(world)
    if ended["status"] != "succeeded":
        world.ok("/services/days/restore")
    assert look(uploads) == before


@pytest.mark.parametrize("restart", ["no", "always", "unless-stopped", "on-failure"])
def test_a_machine_rebooted_while_it_saves_comes_up_as_it_was(world: World, restart: str) -> None:
    name = f"reboot-{restart}"
    meta = services.files_meta(name, "files.tar_after_stop")
    world.service(name, services.files_compose(f'"{restart}"'), meta)
    world.ok(f"/services/{name}/deploy")
    (world.folder(name) / "data/uploads/x").write_text("x")
    (world.volume(f"{name}_cache") / "x").write_text("x")
    container = world.container(name, "web")
    world.lab.fail("save_data:held", "kill-agent:main")
    task = world.start(f"/services/{name}/backup")
    until(lambda: world.lab.pid("agent:main") is None, "the agent's death")

    world.lab.reboot("main", agent_late=True)

    world.wait(task)
    until(lambda: world.containers(name, running=True) == [container], "the service")
    assert world.policy(container) == restart


def test_the_engine_killed_while_it_saves(world: World, uploads: Path) -> None:
    big = uploads / "big"
    big.write_text("x")
    with closing(HeldBack([big])) as held_back:
        task = world.start("/services/days/backup")
        until(held_back.is_wanted, "rustic")
        world.lab.kill("docker:main")
        # Until there is one again: it must not come to its end first.
        world.lab.start("docker:main")

    ended = world.wait(task)

    until(lambda: runs(world), "the service")
    until(lambda: not ours(world), "the end of our containers")
    big.unlink()
    assert ended["status"] == "failed", ended
    assert ended["error"]["message"].startswith("uploads on main: failed: "), ended
    records = {one["data_item"]: one for one in world.backups() if one["task_id"] == task}
    assert records.keys() == {"uploads", "cache"}
    assert records["uploads"]["status"] == "failed"
    for record in records.values():
        told = (record["snapshot_id"] is None, bool(record["error"]))
        assert told == ((True, True) if record["status"] == "failed" else (False, False)), record
    # No record is without its snapshot, whatever the repository went through.
    world.ok("/repository/check")


class Leisurely:
    """A service that does not come to its end before it may, so that a cancel comes first."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        slowly = "echo stopping; until test -e /tmp/end; do sleep 0.1; done; exit 0"
        stops = f"trap '{slowly}' TERM; while :; do sleep 1 & wait; done"
        command = f'command: [sh, -c, "{stops}"]\n    stop_grace_period: 120s'
        compose = services.files_compose("always")
        compose = compose.replace("command: httpd -f -p 8080 -h /srv", command)
        world.service(name, compose, services.files_meta(name, "files.tar_after_stop"))
        world.ok(f"/services/{name}/deploy")
        (world.folder(name) / "data/uploads/x").write_text("x")
        (world.volume(f"{name}_cache") / "x").write_text("x")
        self.name, self._began, self._compose = name, time.time(), compose
        self.container = world.container(name, "web")

    def stops_for(self, path: str) -> str:
        """Start a task, and wait until the container has been told to stop; the task."""
        task = self._world.start(path)
        logs = ("logs", self.container)
        until(lambda: "stopping" in self._world.docker(*logs), "the signal")
        return task

    def changes(self) -> None:
        """Its container is made anew by the next deploy."""
        changed = self._compose.replace("    init: true", "    init: true\n    hostname: anew")
        self._world.commit({f"{self.name}/docker-compose.yaml": changed})

    def comes_to_its_end(
        self, task: str, waits: str = "web-1 to stop, which was asked already"
    ) -> None:
        """It may now that the agent waits for that, as the log says."""
        until(lambda: waits in self._world.log(task), "the wait for its end")
        self.may_end(self.container)

    def may_end(self, container: str) -> None:
        """From now on it ends when it is told to."""
        self._world.docker("exec", container, "touch", "/tmp/end")

    def happened(self) -> list[str]:
        """What the engine says has become of the container since it was deployed, in order."""
        times = ("--since", f"{self._began:.6f}", "--until", f"{time.time():.6f}")
        shown = ("--filter", f"container={self.container}", "--format", "{{.Action}}")
        wanted = [word for one in ("kill", "die", "start") for word in ("--filter", f"event={one}")]
        return self._world.docker("events", *times, *shown, *wanted).split()

    def runs_on(self) -> bool:
        """Whether it runs, with its policy, when the stop has come to its end."""
        until(lambda: "die" in self.happened(), "the end of the stop")
        running = self._world.containers(self.name, running=True) == [self.container]
        return running and self._world.policy(self.container) == "always"


def test_a_stop_that_is_cancelled_ends_and_the_service_runs_on(world: World) -> None:
    service = Leisurely(world, "cancelled")
    task = service.stops_for("/services/cancelled/backup")

    assert world.post(f"/tasks/{task}/cancel").is_success
    service.comes_to_its_end(task)

    assert world.wait(task)["status"] == "cancelled"
    assert service.runs_on()
    # Told once to stop: a second signal would end many a program before it has ended well.
    assert service.happened() == ["kill", "die", "start"]


@pytest.mark.parametrize("verb", ["backup", "deploy"])
def test_a_stop_whose_agent_is_killed_ends_and_the_service_runs_on(world: World, verb: str) -> None:
    service = Leisurely(world, f"orphaned-{verb}")
    # Only a deploy looks at them.
    service.changes()
    task = service.stops_for(f"/services/{service.name}/{verb}")

    world.lab.kill("agent:main")
    assert world.post(f"/tasks/{task}/cancel").is_success
    world.lab.start("agent:main")
    service.comes_to_its_end(task)

    assert world.wait(task)["status"] == "cancelled"
    until(service.runs_on, "the service")
    assert service.happened() == ["kill", "die", "start"]


def test_a_cancelled_stop_of_ours_leaves_the_service_running(world: World) -> None:
    service = Leisurely(world, "stopped")
    task = service.stops_for("/services/stopped/stop")

    assert world.post(f"/tasks/{task}/cancel").is_success
    service.comes_to_its_end(task)

    assert world.wait(task)["status"] == "cancelled"
    assert service.runs_on()
    assert service.happened() == ["kill", "die", "start"]


@pytest.mark.parametrize(
    ("verb", "happens"), [("stop", ["kill", "die"]), ("restart", ["kill", "die", "start"] * 2)]
)
def test_what_an_agent_that_is_killed_had_asked_to_stop_is_told_once(
    world: World, verb: str, happens: list[str]
) -> None:
    service = Leisurely(world, f"once-{verb}")
    task = service.stops_for(f"/services/{service.name}/{verb}")

    world.lab.kill("agent:main")
    world.lab.start("agent:main")
    service.comes_to_its_end(task)

    assert world.wait(task)["status"] == "succeeded"
    # The step is asked once more: only a restart finds something to stop by then.
    assert service.happened() == happens


def test_a_cancelled_deploy_ends_with_the_service_running_anew(world: World) -> None:
    service = Leisurely(world, "renewed")
    service.changes()
    task = service.stops_for("/services/renewed/deploy")

    assert world.post(f"/tasks/{task}/cancel").is_success
    service.comes_to_its_end(task, "Waiting for compose, which replaces renewed-web-1")

    ended = world.wait(task)
    assert ended["status"] == "cancelled"
    told = "the deploy of renewed ended in the middle: web runs anew"
    assert ended["error"]["message"].endswith(told), ended
    (container,) = world.containers("renewed", running=True)
    service.may_end(container)
    assert container != service.container
    assert world.containers("renewed") == [container]
    assert world.docker("ps", "--format", "{{.Names}}", "-f", "name=renewed") == "renewed-web-1"
    assert service.happened() == ["kill", "die"]
    assert not world.ok("/services/renewed/deploy")["result"]["changed"]["main"]


def test_a_deploy_after_one_whose_agent_died_while_it_replaced_a_container(world: World) -> None:
    service = Leisurely(world, "twofold")
    service.changes()
    task = service.stops_for("/services/twofold/deploy")

    world.lab.kill("agent:main")
    world.lab.start("agent:main")
    service.comes_to_its_end(task)

    assert world.wait(task)["status"] == "succeeded"
    (container,) = world.containers("twofold")
    service.may_end(container)
    assert world.containers("twofold", running=True) == [container]
    assert container != service.container
    assert world.docker("ps", "--format", "{{.Names}}", "-f", "name=twofold") == "twofold-web-1"


def test_an_agent_that_is_stopped_in_a_deploy_leaves_the_service_running(world: World) -> None:
    service = Leisurely(world, "dismissed")
    service.changes()
    task = service.stops_for("/services/dismissed/deploy")
    agent = world.lab.pid("agent:main")
    assert agent

    os.kill(agent, signal.SIGTERM)
    until(lambda: world.get("/nodes/main").json()["online"] is False, "its leave")
    assert world.lab.pid("agent:main") == agent
    service.may_end(service.container)
    until(lambda: world.lab.pid("agent:main") is None, "its end")

    (container,) = world.containers("dismissed", running=True)
    assert container != service.container
    service.may_end(container)
    world.lab.start("agent:main")
    assert world.wait(task)["status"] == "succeeded"
    assert world.containers("dismissed") == [container]
    assert service.happened() == ["kill", "die"]


def test_a_deploy_cancelled_while_it_waits_for_health_starts_what_ran(world: World) -> None:
    db = "\n  db: {image: busybox:lab, pull_policy: never, init: true, command: sleep 1d}"
    sick = "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 600}"
    web = services.files_compose("always").rstrip()
    compose = web.replace("services:", f"services:{db}")
    world.service("ill", compose, services.files_meta("ill"))
    world.ok("/services/ill/deploy")
    old = world.containers("ill", running=True)
    waits = "    init: true\n    depends_on: {db: {condition: service_healthy}}"
    changed = compose.replace("sleep 1d", f"sleep 1d, {sick}").replace("    init: true", waits)
    world.commit({"ill/docker-compose.yaml": changed})
    task = world.start("/services/ill/deploy")
    until(lambda: not set(old) & set(world.containers("ill")), "the new containers")

    assert world.post(f"/tasks/{task}/cancel").is_success

    ended = world.wait(task)
    assert ended["status"] == "cancelled"
    assert ended["error"]["message"].endswith("in the middle: db runs anew, web runs anew"), ended
    assert len(world.containers("ill", running=True)) == len(old) == 2


def test_a_cancelled_restart_leaves_the_service_running(world: World) -> None:
    service = Leisurely(world, "restarted")
    task = service.stops_for("/services/restarted/restart")

    assert world.post(f"/tasks/{task}/cancel").is_success
    service.comes_to_its_end(task, "restarted-web-1 to be restarted")

    assert world.wait(task)["status"] == "cancelled"
    assert service.runs_on()
    assert service.happened() == ["kill", "die", "start"]


def test_a_cancelled_stop_whose_engine_has_died_can_be_given_up(world: World) -> None:
    service = Leisurely(world, "forsaken")
    end = inside(world, service.container, "/tmp/end")
    task = service.stops_for("/services/forsaken/backup")
    world.lab.kill("docker:main")

    assert world.post(f"/tasks/{task}/cancel").is_success
    until(lambda: world.task(task)["actions"] == ["abandon"], "the wait for the engine")
    why = "the Docker engine of main does not answer"
    assert world.task(task)["waiting"]["for"].startswith(why)
    assert world.post(f"/tasks/{task}/abandon").is_success

    ended = world.wait(task)
    assert ended["status"] == "cancelled"
    assert ended["error"]["message"] == f"given up: what became of save_data is not known: {why}"
    # An engine that starts ends what it finds running, and waits for that as long as it may take.
    end.touch()
    world.lab.start("docker:main")
    until(
        lambda: (
            world.containers(service.name, running=True) == [service.container]
            and world.policy(service.container) == "always"
        ),
        "the service",
    )


def stubborn(restart: str) -> str:
    """A service that does not stop before its grace is over, until there is a word for it."""
    compose = services.files_compose(f'"{restart}"')
    stops = "trap 'test -e /tmp/word && exit' TERM; httpd -f -p 8080 -h /srv &"
    command = f'command: [sh, -c, "{stops} while :; do sleep 1 & wait; done"]'
    slow = f"{command}\n    stop_grace_period: 60s"
    return compose.replace("command: httpd -f -p 8080 -h /srv", slow)


def inside(world: World, container: str, path: str) -> Path:
    """A path of a container that runs, whatever becomes of the engine."""
    pid = world.docker("inspect", "-f", "{{.State.Pid}}", container)
    return Path(f"/proc/{pid}/root{path}")


def engine_killed(world: World, name: str, container: str, moment: str) -> str:
    """Start a restore and kill the engine at that moment; it runs again. The task."""
    may_stop = inside(world, container, "/tmp/word")
    if moment == "held":
        task = world.start(f"/services/{name}/restore")
        until(lambda: world.policy(container) == "no", "the stop")
        world.lab.kill("docker:main")
        may_stop.touch()
        world.lab.start("docker:main")
        return task
    may_stop.touch()
    # Both die: the agent at that very point, and the engine with it.
    world.lab.fail(f"exchange_data:{moment}", "kill-agent:main")
    task = world.start(f"/services/{name}/restore")
    until(lambda: world.lab.pid("agent:main") is None, "the end of the agent")
    world.lab.kill("docker:main")
    world.lab.start("docker:main")
    world.lab.start("agent:main")
    return task


@pytest.mark.parametrize("moment", ["held", "exchanged"])
@pytest.mark.parametrize("restart", ["unless-stopped", "on-failure"])
def test_the_engine_killed_in_the_middle_of_a_restore(
    world: World, restart: str, moment: str
) -> None:
    name = f"engine-{restart}-{moment}"
    world.service(name, stubborn(restart), services.files_meta(name))
    world.ok(f"/services/{name}/deploy")
    found, container = world.folder(name) / "data/uploads", world.container(name, "web")
    fill(found)
    (world.volume(f"{name}_cache") / "x").write_text("x")
    world.ok(f"/services/{name}/backup")
    before = look(found)
    (found / "new").write_text("new")
    changed = look(found)

    task = engine_killed(world, name, container, moment)
    ended = world.wait(task)

    assert ended["status"] == ("failed" if moment == "held" else "succeeded"), ended
    assert look(found) == (changed if moment == "held" else before)
    until(lambda: world.containers(name, running=True) == [container], "the service")
    assert world.policy(container) == restart
    assert not ours(world)
    world.ok(f"/services/{name}/restore")
    assert look(found) == before


def test_a_clock_set_back_an_hour_mixes_nothing_up(world: World, uploads: Path) -> None:
    clock = Clock(world.lab.state)
    for process in CLOCKS:
        world.lab.kill(process)
        world.lab.start(process, clock=clock)
    (uploads / "when").write_text("before")
    before = world.ok("/services/days/backup")
    (uploads / "when").write_text("meanwhile")
    tasks = [world.start("/services/days/backup")]
    until(lambda: world.task(tasks[0])["status"] == "running", "the second")

    clock.set(-3600)

    ended = [world.wait(tasks[0])]
    for text in ("later", "latest"):
        (uploads / "when").write_text(text)
        ended.append(world.ok("/services/days/backup"))
    assert [task["status"] for task in ended] == ["succeeded"] * 3, ended
    assert ended[-1]["finished_at"] < before["created_at"]
    newest = [task["id"] for task in (*reversed(ended), before)]
    assert [one["id"] for one in world.get("/tasks", limit=4).json()["items"]] == newest
    assert list(dict.fromkeys(one["task_id"] for one in world.backups()))[:4] == newest
    for task in ended:
        assert task["created_at"] <= task["started_at"] <= task["finished_at"]
        assert 0 <= world.backup_of(task, "uploads")["duration"] < 1800
    (uploads / "when").unlink()
    world.ok("/services/days/restore")
    assert (uploads / "when").read_text() == "latest"
    world.ok("/services/days/restore", {"at": ended[1]["finished_at"]})
    assert (uploads / "when").read_text() == "later"
    clock.set(0)
    assert runs(world)


def test_a_node_that_is_away_is_named_and_the_task_can_be_cancelled(world: World) -> None:
    world.service("away", services.files_compose(), services.files_meta("away", nodes="edge"))
    world.lab.kill("agent:edge")
    until(lambda: world.get("/nodes/edge").json()["online"] is False, "edge offline")
    task = world.start("/services/away/deploy")
    until(lambda: world.task(task)["waiting"] is not None, "the reason")

    waiting = world.task(task)["waiting"]
    assert "edge" in waiting["for"]
    assert waiting["hint"]
    assert world.post(f"/tasks/{task}/cancel").is_success

    assert world.wait(task)["status"] == "cancelled"
    world.lab.start("agent:edge")


def test_two_backups_of_one_service_at_once(world: World, uploads: Path) -> None:
    world.lab.fail("save_data:before", "kill-agent:main")
    first = world.start("/services/days/backup")
    until(lambda: world.lab.pid("agent:main") is None, "the agent's death")

    answer = world.post("/services/days/backup")

    assert answer.status_code == 409
    assert first in answer.text
    assert answer.json()["hint"]
    world.lab.start("agent:main")
    assert world.wait(first)["status"] == "succeeded"


def test_a_wrong_repository_password_is_said(world: World, uploads: Path) -> None:
    profile = world.folder("infra-backup") / "config/rustic.toml"
    good = profile.read_text()
    profile.write_text(good.replace(world.lab.facts.rustic_password, "wrong"))

    task = world.fails("/services/days/backup")

    profile.write_text(good)
    assert "password" in task["error"]["message"]
    assert task["error"]["hint"]


def test_a_repository_that_is_gone_is_not_made_again(world: World, uploads: Path) -> None:
    repository = world.lab.repository
    aside = repository.with_name("unmounted")
    repository.rename(aside)
    repository.mkdir()

    task = world.fails("/services/days/backup")

    assert not any(repository.iterdir())
    shutil.rmtree(repository)
    aside.rename(repository)
    assert task["error"]["hint"]
    assert runs(world)


def ours(world: World) -> list[str]:
    """Containers of ours that still run."""
    return world.docker("ps", "-qf", "name=composia-").split()
