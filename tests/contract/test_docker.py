"""The Docker engine, asked and changed: a real one."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from composia.errors import CommandFailed, Failure, NotFound
from composia.tools.compose import Compose
from composia.tools.compose_program import find_compose
from composia.tools.containers import ContainerInfo
from composia.tools.docker import Docker
from composia.tools.shell import LocalShell
from tests.twins.shell import MemoryShell

WEB = {
    "image": "busybox:lab",
    "init": True,
    "network_mode": "none",
    "command": ["sh", "-c", "echo hello; sleep 1000"],
    "restart": "on-failure:3",
    "environment": {"A": "1=2"},
    "volumes": ["./data:/data:ro", "cache:/cache"],
}


@pytest.fixture
async def project(tmp_path: Path, shell: LocalShell, docker: Docker) -> AsyncIterator[Compose]:
    """Two running containers and one that has ended."""
    (tmp_path / "data").mkdir()
    ended = {"image": "busybox:lab", "network_mode": "none", "command": ["sh", "-c", "exit 4"]}
    services = {"web": WEB, "db": WEB, "job": ended}
    content = {"services": services, "volumes": {"cache": {}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(content))
    program = await find_compose(shell)
    assert program.plugin, "the contract holds without `docker` in between too"
    name = f"docker-{secrets.token_hex(4)}"
    made = Compose(shell, tmp_path, name, ["compose.yaml"], program=program)
    await made.up()
    yield made
    await shell.run(made.command("down", "-v", "-t", "0"))


async def by_service(docker: Docker, project: Compose) -> dict[str, str]:
    found = await docker.containers(project=project.project)
    return {one.labels["com.docker.compose.service"]: one.id for one in found}


async def test_an_image_that_is_there_need_not_be_pulled_whatever_the_policy(
    docker: Docker, project: Compose
) -> None:
    file = project.folder / "compose.yaml"
    content = json.loads(file.read_text())
    content["services"] = {"web": {**WEB, "pull_policy": "always"}}
    file.write_text(json.dumps(content))
    with pytest.raises(CommandFailed):
        await project.create()
    await project.create(pull="missing")
    await project.up(pull="never")
    assert (await shown(docker, project, (await by_service(docker, project))["web"])).at_work


async def test_containers_are_shown_as_they_are(docker: Docker, project: Compose) -> None:
    ids = await by_service(docker, project)
    async with asyncio.timeout(60), aclosing(docker.events()) as events:
        found = {one.id: one for one in await docker.containers(project=project.project)}
        while found[ids["job"]].state != "exited":
            await anext(events)
            found = {one.id: one for one in await docker.containers(project=project.project)}

    web, job = found[ids["web"]], found[ids["job"]]
    assert web.name == f"{project.project}-web-1"
    assert (web.state, web.health, web.exit_code) == ("running", None, None)
    assert (web.stop_grace, web.health_timeout) == (10, 30)
    assert (web.restart_policy, job.restart_policy) == ("on-failure:3", "no")
    assert (job.state, job.exit_code) == ("exited", 4)
    assert web.env["A"] == "1=2"
    mounts = {mount.destination: mount for mount in web.mounts}
    assert (mounts["/data"].type, mounts["/data"].writable) == ("bind", False)
    assert mounts["/data"].source == str(project.folder / "data")
    assert mounts["/cache"].name == f"{project.project}_cache"


async def test_what_goes_when_it_ends_is_shown_so(
    docker: Docker, project: Compose, shell: LocalShell
) -> None:
    name = f"{project.project}-once"
    await shell.run(project.command("run", "--rm", "-d", "--no-deps", "--name", name, "web"))
    found = await docker.containers(project=project.project)
    await docker.kill_and_remove(name)
    assert {one.is_one_off: one.goes_when_it_ends for one in found} == {True: True, False: False}


async def test_other_projects_are_not_shown(docker: Docker, project: Compose) -> None:
    assert await docker.containers(project="another") == []
    assert {one.id for one in await docker.containers()} >= set(
        (await by_service(docker, project)).values()
    )


async def test_policies_are_set_and_many_stop_and_start_at_once(
    docker: Docker, project: Compose
) -> None:
    ids = await by_service(docker, project)
    both = [ids["web"], ids["db"]]
    before = {one.id: one.started_at for one in await docker.containers(project=project.project)}

    await docker.set_restart_policy(both, "no")
    await docker.stop(both)
    stopped = {one.id: one for one in await docker.containers(project=project.project)}
    await docker.start(both)

    after = {one.id: one for one in await docker.containers(project=project.project)}
    assert {stopped[id_].state for id_ in both} == {"exited"}
    assert {after[id_].restart_policy for id_ in both} == {"no"}
    assert all(after[id_].started_at != before[id_] for id_ in both)


async def test_a_stop_goes_on_when_its_caller_is_cancelled(
    docker: Docker, project: Compose
) -> None:
    # It ends when it is told to in its data, however long that takes.
    told = "while [ ! -e /data/end ]; do sleep 0.1; done"
    slow = f"trap '{told}; exit 0' TERM; echo ready; while :; do sleep 1 & wait; done"
    file = project.folder / "compose.yaml"
    content = json.loads(file.read_text())
    more = {"command": ["sh", "-c", slow], "restart": "always", "stop_grace_period": "1m"}
    content["services"]["slow"] = {**WEB, **more}
    file.write_text(json.dumps(content))
    await project.up()
    id_ = (await by_service(docker, project))["slow"]
    async with asyncio.timeout(60), aclosing(docker.logs(id_, follow=True)) as lines:
        assert await anext(lines) == b"ready\n"

    async with asyncio.timeout(60), aclosing(docker.events()) as events:
        task = asyncio.create_task(docker.stop([id_]))
        await happens("kill", id_, events)
        task.cancel()
        await asyncio.wait([task])
        before = await shown(docker, project, id_)
        await docker.start([id_])
        after = await shown(docker, project, id_)
        (project.folder / "data/end").touch()
        await happens("die", id_, events)

    assert (after.state, after.started_at) == ("running", before.started_at)
    assert after.stop_grace == 60
    assert (await shown(docker, project, id_)).state == "exited"


async def happens(action: str, container: str, events: AsyncIterator[Mapping[str, Any]]) -> None:
    async for event in events:
        if (event.get("Action"), event["Actor"]["ID"]) == (action, container):
            return


async def shown(docker: Docker, project: Compose, id_: str) -> ContainerInfo:
    found = await docker.containers(project=project.project)
    return next(one for one in found if one.id == id_)


async def test_nothing_to_change_is_no_call() -> None:
    shell = MemoryShell()
    docker = Docker(shell)
    await docker.stop([])
    await docker.start([])
    await docker.set_restart_policy([], "no")
    await docker.set_restart_policies({})
    assert shell.argvs == []


async def test_each_container_gets_its_own_policy_by_one_call_for_those_with_the_same() -> None:
    shell = MemoryShell()
    await Docker(shell).set_restart_policies({"a": "no", "b": "always", "c": "no"})
    assert shell.argvs == [
        ("docker", "update", "--restart=always", "--", "b"),
        ("docker", "update", "--restart=no", "--", "a", "c"),
    ]


async def test_a_volume_is_made_found_and_removed(docker: Docker) -> None:
    name = f"composia-test-{secrets.token_hex(4)}"

    made = await docker.create_volume(name, {"a": "b"})

    assert made.kind.plain
    assert made.data == made.mountpoint
    assert made.mountpoint.name == "_data"
    assert await docker.volume(name) == made
    await docker.remove_volume(name)
    await docker.remove_volume(name)
    assert await docker.volume(name) is None


async def test_a_volume_that_binds_a_folder_has_its_data_there(
    docker: Docker, shell: LocalShell, tmp_path: Path
) -> None:
    (tmp_path / "media").mkdir()
    binds = {"type": "none", "o": "bind,ro", "device": str(tmp_path / "media")}
    memory = {"type": "tmpfs", "o": "size=1m", "device": "tmpfs"}
    volumes = {
        "media": {"driver_opts": binds},
        "memory": {"driver_opts": memory},
        "cache": {},
    }
    web = WEB | {"volumes": [f"{name}:/{name}" for name in volumes]}
    content = {"services": {"web": web}, "volumes": volumes}
    (tmp_path / "compose.yaml").write_text(json.dumps(content))
    name = f"docker-{secrets.token_hex(4)}"
    project = Compose(shell, tmp_path, name, ["compose.yaml"])
    try:
        await project.create()
        found = {key: await docker.volume(f"{name}_{key}") for key in volumes}
        (container,) = await docker.containers(project=name)
        declared = (await project.config()).volumes
    finally:
        await shell.run(project.command("down", "-v", "-t", "0"))
    media, memory_, cache = (found[key] for key in volumes)
    assert media
    assert memory_
    assert cache
    assert (media.data, memory_.data, cache.data) == (tmp_path / "media", None, cache.mountpoint)
    assert {key: one.kind for key, one in found.items() if one} == {
        key: one.kind for key, one in declared.items()
    }
    mounts = {mount.destination: mount for mount in container.mounts}
    assert (mounts["/media"].source, mounts["/media"].shared) == (str(tmp_path / "media"), True)
    assert (mounts["/cache"].source, mounts["/cache"].shared) == (str(cache.mountpoint), False)
    assert not mounts["/memory"].shared


async def test_a_volume_in_use_is_not_removed(docker: Docker, project: Compose) -> None:
    with pytest.raises(Failure, match="in use"):
        await docker.remove_volume(f"{project.project}_cache")


async def test_an_image_is_known_by_the_id_that_its_containers_name(
    docker: Docker, project: Compose
) -> None:
    found = await docker.containers(project=project.project)
    assert {await docker.digests(one.image_id) for one in found} == {
        await docker.digests("busybox:lab")
    }
    assert found[0].image_id in await docker.digests("busybox:lab")


async def test_an_image_that_is_not_here_is_not_found(docker: Docker) -> None:
    assert await docker.digests("nowhere/none:1") == ()
    with pytest.raises(NotFound, match="image nowhere/none:1 is not on this node") as caught:
        await docker.image_config("nowhere/none:1")

    assert "docker pull" in (caught.value.hint or "")


async def test_a_container_is_killed_by_name_and_gone(docker: Docker, project: Compose) -> None:
    name = f"{project.project}-web-1"

    await asyncio.gather(docker.kill_and_remove(name), docker.kill_and_remove(name))

    assert name not in {one.name for one in await docker.containers()}


async def test_logs_are_read_to_their_end_or_followed(docker: Docker, project: Compose) -> None:
    name = f"{project.project}-web-1"
    async with aclosing(docker.logs(name, follow=True)) as lines:
        assert await anext(lines) == b"hello\n"

    assert [line async for line in docker.logs(name, follow=False)] == [b"hello\n"]


async def test_events_come_as_they_happen(docker: Docker, project: Compose) -> None:
    ids = await by_service(docker, project)

    async with asyncio.timeout(60), aclosing(docker.events()) as events:
        await docker.stop([ids["db"]])
        async for event in events:
            if (event.get("Action"), event["Actor"]["ID"]) == ("die", ids["db"]):
                return


async def test_versions_are_told(docker: Docker) -> None:
    engine, compose = await docker.versions()

    assert engine
    assert engine[0].isdigit()
    assert compose
    assert compose.lstrip("v")[0].isdigit()


async def test_an_engine_that_is_away_is_told_with_a_next_step(
    tmp_path: Path, shell: LocalShell
) -> None:
    away = Docker(shell, f"unix://{tmp_path}/none.sock")

    with pytest.raises(Failure, match="the Docker engine does not answer") as caught:
        await away.containers()
    with pytest.raises(Failure, match="does not answer"):
        await anext(away.events())
    engine, _ = await away.versions()

    assert engine is None
    assert caught.value.hint
    await away.aclose()
