"""The Docker engine, read through its socket: lists, inspection, events. Changes go by compose."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
from aiodocker.containers import DockerContainer
from aiodocker.events import DockerEvents
from aiodocker.exceptions import DockerError
from aiodocker.volumes import DockerVolume
from pydantic import BaseModel, ConfigDict

from composia.errors import CommandFailed, Failure, NotFound
from composia.tools.mounts import refuse_to_remove
from composia.tools.shell import Command, Shell
from composia.tools.volumes import LOCAL, PLAIN, VolumeKind, kind_of

PROJECT_LABEL = "com.docker.compose.project"
#: The client's own number for an engine that cannot be reached.
CANNOT_CONNECT = 900
#: An engine answers a list within milliseconds; one that takes this long is hung.
ANSWER = aiohttp.ClientTimeout(total=60, sock_connect=5)
#: Docker's unit of time.
SECOND = 1_000_000_000
#: Seconds between two looks at a container that somebody else removes.
REMOVAL_POLL = 0.05
START_HINT = "Is it running, and may this user reach its socket? Try: docker version"


class Volume(BaseModel):
    """A Docker volume, and where the engine shows its data to containers."""

    model_config = ConfigDict(frozen=True)

    name: str
    #: Holds the data of a plain one. Of any other only while a container uses it: something is
    #: mounted there then, and it is an empty folder otherwise.
    mountpoint: Path
    kind: VolumeKind = PLAIN

    @property
    def data(self) -> Path | None:
        """Where its data lies, used or not; None where only the engine gets at it."""
        if self.kind.device:
            return Path(self.kind.device)
        return self.mountpoint if self.kind.plain else None


class ContainerMount(BaseModel):
    model_config = ConfigDict(frozen=True)

    #: bind, volume, tmpfs
    type: str
    #: The volume's name, where it is one.
    name: str | None
    #: The place on this machine; of a volume that binds a folder, that folder.
    source: str
    destination: str
    writable: bool
    #: The engine has mounted it once for all that use it: they go on seeing the same folder,
    #: whatever is put in its place, until the last one stops.
    shared: bool = False


class ContainerInfo(BaseModel):
    """A container as inspection shows it."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    labels: Mapping[str, str]
    image: str
    #: created, running, paused, restarting, exited, dead
    state: str
    health: str | None
    exit_code: int | None
    #: RFC 3339 as Docker writes it; changes with every start.
    started_at: str
    #: `no`, `always`, `unless-stopped`, `on-failure` or `on-failure:5`.
    restart_policy: str
    mounts: tuple[ContainerMount, ...]
    env: Mapping[str, str]
    #: The image's id, whatever it is called.
    image_id: str = ""
    #: The command of its health check as Docker writes it: `CMD` and words, or `CMD-SHELL` and one.
    health_command: tuple[str, ...] = ()
    #: Seconds after which Docker would call it unhealthy.
    health_patience: float = 0.0
    #: Its address in one of its networks; None while it does not run.
    address: str | None = None
    #: TCP ports that it exposes, and those that it takes on this machine.
    ports: tuple[int, ...] = ()
    published: tuple[int, ...] = ()


class Docker:
    """The engine of this node. Everything raises Failure when the engine does not answer."""

    def __init__(self, shell: Shell, docker_host: str | None = None) -> None:
        self._shell = shell
        self._host = docker_host or os.environ.get("DOCKER_HOST") or None
        self._client: aiodocker.Docker | None = None

    async def containers(self, *, project: str | None = None) -> Sequence[ContainerInfo]:
        """All containers, stopped ones too, of one compose project or of all."""
        labels = [f"{PROJECT_LABEL}={project}"] if project else []
        with _told():
            filters = json.dumps({"label": labels})
            listed = await self._engine.containers.list(all=True, filters=filters)
            found = await asyncio.gather(*(_shown(container) for container in listed))
            bound = await self._bound() if any(map(_has_local_volumes, found)) else {}
        return [_container(shown, bound) for shown in found if shown]

    async def _bound(self) -> Mapping[str, str]:
        """The folders that local volumes bind, by the names of the volumes."""
        # Other drivers are not asked: one whose program hangs would keep everybody waiting.
        listed = await self._engine.volumes.list(filters={"driver": [LOCAL]})
        volumes = [_volume(shown) for shown in listed["Volumes"] or ()]
        return {one.name: one.kind.device for one in volumes if one.kind.device}

    async def volume(self, name: str) -> Volume | None:
        """A volume by its real name; None where there is none."""
        with _told():
            try:
                return _volume(await DockerVolume(self._engine, name).show())
            except DockerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return None

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Make a plain local volume, or give the one that has the name."""
        with _told():
            wanted = {"Name": name, "Driver": "local", "Labels": dict(labels)}
            made = await self._engine.volumes.create(wanted)
            return _volume(await made.show())

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; harmless when it is not there.

        Raises Failure while a container uses it, Conflict where something is mounted in it: the
        engine would empty that.
        """
        volume = await self.volume(name)
        if volume and volume.kind.plain:
            await asyncio.to_thread(refuse_to_remove, volume.mountpoint)
        with _told(missing_is_fine=True):
            await DockerVolume(self._engine, name).delete()

    async def image_entrypoint(self, image: str) -> Sequence[str] | None:
        """`Config.Entrypoint` of an image; NotFound where the image is not here."""
        entrypoint: Sequence[str] | None = (await self.image_config(image)).get("Entrypoint")
        return entrypoint

    async def image_id(self, image: str) -> str | None:
        """The id of an image; None where it is not here."""
        with _told():
            try:
                return str((await self._engine.images.inspect(image))["Id"])
            except DockerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return None

    async def image_config(self, image: str) -> Mapping[str, Any]:
        """`Config` of an image (Env, Volumes, User, ...); NotFound where it is not here."""
        with _told():
            try:
                config: Mapping[str, Any] = (await self._engine.images.inspect(image))["Config"]
            except DockerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                raise NotFound(
                    f"image {image} is not on this node", hint=f"Pull it: docker pull {image}"
                ) from error
        return config or {}

    async def set_restart_policy(self, containers: Collection[str], policy: str) -> None:
        """`docker update --restart=POLICY`."""
        await self._docker("update", f"--restart={policy}", containers)

    async def stop(self, containers: Collection[str]) -> None:
        """Stop them side by side, each within its own stop time; what is stopped stays so."""
        await self._docker("stop", None, containers)

    async def start(self, containers: Collection[str]) -> None:
        """Start stopped containers; what runs goes on."""
        await self._docker("start", None, containers)

    async def kill_and_remove(self, name: str) -> None:
        """Kill a container of ours by name and wait until it is gone, if it is there at all."""
        container = self._engine.containers.container(name)
        with _told(missing_is_fine=True):
            while True:
                try:
                    await container.delete(force=True, v=True)
                except DockerError as error:
                    # 409: somebody removes it already, `run --rm` for one.
                    if error.status != HTTPStatus.CONFLICT:
                        raise
                    await asyncio.sleep(REMOVAL_POLL)

    async def logs(
        self, container: str, *, follow: bool, tail: int = 1000
    ) -> AsyncGenerator[bytes]:
        """The last lines of both its outputs, and with `follow` whatever comes until it ends."""
        found = self._engine.containers.container(container)
        wanted: dict[str, Any] = {"stdout": True, "stderr": True, "tail": tail}
        with _told():
            if not follow:
                for line in await found.log(follow=False, **wanted):
                    yield line.encode()
                return
            async for line in found.log(follow=True, **wanted):
                yield line.encode()

    def events(self) -> AsyncGenerator[Mapping[str, Any]]:
        """The engine's events from this call on; ends when the engine goes away."""
        # By the time, so that none is missed until the engine is first asked.
        return self._events(since=f"{time.time():.9f}")

    async def _events(self, since: str) -> AsyncGenerator[Mapping[str, Any]]:
        stream = DockerEvents(self._engine)
        with _told():
            arriving = stream.subscribe(since=since)
            try:
                while (event := await arriving.get()) is not None:
                    yield event
            finally:
                with suppress(aiohttp.ClientError):
                    await stream.stop()

    async def versions(self) -> tuple[str | None, str | None]:
        """Of the engine and of compose; None where one does not answer."""
        engine, compose = await asyncio.gather(self._engine_version(), self._compose_version())
        return engine, compose

    async def root(self) -> Path:
        """The folder in which the engine keeps images and volumes."""
        with _told():
            return Path((await self._engine.system.info())["DockerRootDir"])

    async def aclose(self) -> None:
        """Close the connections."""
        if self._client:
            client, self._client = self._client, None
            await client.close()

    @property
    def _engine(self) -> aiodocker.Docker:
        # Made on first use: it belongs to the loop that runs then.
        if self._client is None:
            try:
                self._client = aiodocker.Docker(url=self._host, timeout=ANSWER)
            except (AssertionError, ValueError, OSError) as error:
                raise Failure(f"no Docker engine is known: {error}", hint=START_HINT) from error
        return self._client

    async def _docker(self, verb: str, option: str | None, containers: Collection[str]) -> None:
        """One call for all of them, so that they go side by side."""
        if not containers:
            return
        words = ("docker", verb, *([option] if option else []), "--", *containers)
        await self._shell.run(Command(words, env=self._env))

    @property
    def _env(self) -> Mapping[str, str]:
        return {"DOCKER_HOST": self._host} if self._host else {}

    async def _engine_version(self) -> str | None:
        try:
            with _told():
                return str((await self._engine.version())["Version"])
        except Failure:
            return None

    async def _compose_version(self) -> str | None:
        words = ("docker", "compose", "version", "--short")
        try:
            finished = await self._shell.run(Command(words, env=self._env))
        except CommandFailed:
            return None
        return finished.stdout.decode().strip()


@contextmanager
def _told(*, missing_is_fine: bool = False) -> Iterator[None]:
    """Turn what the client raises into our words."""
    try:
        yield
    except DockerError as error:
        if error.status == HTTPStatus.NOT_FOUND and missing_is_fine:
            return
        if error.status == CANNOT_CONNECT:
            raise _no_engine() from error
        kind = NotFound if error.status == HTTPStatus.NOT_FOUND else Failure
        raise kind(f"Docker: {error.message}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _no_engine() from error


def _no_engine() -> Failure:
    return Failure("the Docker engine does not answer", hint=START_HINT)


async def _shown(container: DockerContainer) -> Mapping[str, Any] | None:
    """One container inspected; None when it has gone since it was listed."""
    try:
        shown: Mapping[str, Any] = await container.show()
    except DockerError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return None
    return shown


def _has_local_volumes(shown: Mapping[str, Any] | None) -> bool:
    mounts = shown["Mounts"] if shown else ()
    return any(one["Type"] == "volume" and one.get("Driver") == LOCAL for one in mounts)


def _container(shown: Mapping[str, Any], bound: Mapping[str, str]) -> ContainerInfo:
    config, state = shown["Config"], shown["State"]
    ended = state["Status"] in ("exited", "dead")
    return ContainerInfo(
        id=shown["Id"],
        name=shown["Name"].removeprefix("/"),
        labels=config.get("Labels") or {},
        image=config["Image"],
        state=state["Status"],
        health=_health(state),
        exit_code=state["ExitCode"] if ended else None,
        started_at=state["StartedAt"],
        restart_policy=_policy(shown["HostConfig"]["RestartPolicy"]),
        mounts=tuple(_mount(mount, bound) for mount in shown["Mounts"]),
        env=dict(_assignment(line) for line in config.get("Env") or ()),
        image_id=shown["Image"],
        health_command=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
        health_patience=_health_patience(config.get("Healthcheck") or {}),
        address=_address(shown["NetworkSettings"].get("Networks") or {}),
        ports=tuple(_tcp(config.get("ExposedPorts") or ())),
        published=_published(shown["HostConfig"].get("PortBindings") or {}),
    )


def _address(networks: Mapping[str, Any]) -> str | None:
    found = [network.get("IPAddress") for network in networks.values()]
    return next((address for address in found if address), None)


def _tcp(ports: Iterable[str]) -> Iterator[int]:
    for port in ports:
        number, _, protocol = port.partition("/")
        if protocol in ("", "tcp") and number.isdecimal():
            yield int(number)


def _published(bindings: Mapping[str, Any]) -> tuple[int, ...]:
    found = [one.get("HostPort") or "" for bound in bindings.values() for one in bound or ()]
    return tuple(sorted({int(port) for port in found if port.isdecimal()}))


def _health(state: Mapping[str, Any]) -> str | None:
    health = (state.get("Health") or {}).get("Status")
    return None if health == "none" else health


def _health_patience(check: Mapping[str, Any]) -> float:
    interval = (check.get("Interval") or 30 * SECOND) / SECOND
    start: float = (check.get("StartPeriod") or 0) / SECOND
    return start + interval * (check.get("Retries") or 3)


def _policy(policy: Mapping[str, Any]) -> str:
    name, count = policy.get("Name") or "no", policy.get("MaximumRetryCount") or 0
    return f"{name}:{count}" if count else name


def _mount(mount: Mapping[str, Any], bound: Mapping[str, str]) -> ContainerMount:
    folder = bound.get(mount.get("Name") or "") if mount["Type"] == "volume" else None
    return ContainerMount(
        type=mount["Type"],
        name=mount.get("Name"),
        source=folder or mount.get("Source", ""),
        destination=mount["Destination"],
        writable=mount["RW"],
        shared=folder is not None,
    )


def _assignment(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name, value


def _volume(shown: Mapping[str, Any]) -> Volume:
    return Volume(
        name=shown["Name"],
        mountpoint=Path(shown["Mountpoint"]),
        kind=kind_of(shown["Driver"], shown.get("Options")),
    )
