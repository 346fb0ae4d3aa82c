"""The Docker engine, read through its socket: lists, inspection, events. Changes go by compose."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiodocker
import aiohttp
import structlog
from aiodocker.containers import DockerContainer
from aiodocker.events import DockerEvents
from aiodocker.exceptions import DockerError
from aiodocker.multiplexed import multiplexed_result_stream
from aiodocker.volumes import DockerVolume

from composia.errors import CommandFailed, Failure, NotFound
from composia.tools.containers import (
    AT_WORK,
    PROJECT,
    ContainerInfo,
    Volume,
    container_of,
    digests_of,
    has_local_volumes,
    volume_of,
)
from composia.tools.mounts import refuse_to_remove
from composia.tools.shell import Command, Shell
from composia.tools.volumes import LOCAL

log = structlog.get_logger()

#: The client's own number for an engine that cannot be reached.
CANNOT_CONNECT = 900
#: An engine answers a list within milliseconds; one that takes this long is hung.
ANSWER = aiohttp.ClientTimeout(total=60, sock_connect=5)
#: A log that is followed may say nothing for years.
ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=5)
#: Seconds between two looks at a container that somebody else removes, and for all of them.
REMOVAL_POLL = 0.05
REMOVAL = 30.0
START_HINT = "Is it running, and may this user reach its socket? Try: docker version"


class Docker:
    """The engine of this node. Everything raises Failure when the engine does not answer."""

    def __init__(self, shell: Shell, docker_host: str | None = None) -> None:
        self._shell = shell
        self._host = docker_host or os.environ.get("DOCKER_HOST") or None
        self._client: aiodocker.Docker | None = None

    async def containers(self, *, project: str | None = None) -> Sequence[ContainerInfo]:
        """All containers, stopped ones too, of one compose project or of all."""
        labels = [f"{PROJECT}={project}"] if project else []
        with _told():
            filters = json.dumps({"label": labels})
            listed = await self._engine.containers.list(all=True, filters=filters)
            found = await asyncio.gather(*(_shown(container) for container in listed))
            bound = await self._bound() if any(map(has_local_volumes, found)) else {}
        return [container_of(shown, bound) for shown in found if shown]

    async def _bound(self) -> Mapping[str, str]:
        """The folders that local volumes bind, by the names of the volumes."""
        # Other drivers are not asked: one whose program hangs would keep everybody waiting.
        listed = await self._engine.volumes.list(filters={"driver": [LOCAL]})
        volumes = [volume_of(shown) for shown in listed["Volumes"] or ()]
        return {one.name: one.kind.device for one in volumes if one.kind.device}

    async def volume(self, name: str) -> Volume | None:
        """A volume by its real name; None where there is none."""
        with _told():
            try:
                return volume_of(await DockerVolume(self._engine, name).show())
            except DockerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return None

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Make a plain local volume, or give the one that has the name."""
        with _told():
            wanted = {"Name": name, "Driver": "local", "Labels": dict(labels)}
            made = await self._engine.volumes.create(wanted)
            return volume_of(await made.show())

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

    async def digests(self, image: str) -> tuple[str, ...]:
        """What an image is known by; nothing where it is not here."""
        with _told():
            try:
                return digests_of(await self._engine.images.inspect(image))
            except DockerError as error:
                if error.status != HTTPStatus.NOT_FOUND:
                    raise
                return ()

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

    async def set_restart_policies(self, policies: Mapping[str, str]) -> None:
        """Give each container its own policy: by one call those that have the same."""
        for policy in sorted(set(policies.values())):
            same = [container for container, wanted in policies.items() if wanted == policy]
            await self.set_restart_policy(same, policy)

    async def stop(self, containers: Collection[str]) -> None:
        """Stop them side by side, each within its own stop time; what is stopped stays so."""
        await self._docker("stop", None, containers)

    async def start(self, containers: Collection[str]) -> None:
        """Start stopped containers; what runs goes on."""
        await self._docker("start", None, containers)

    async def kill_and_remove(self, name: str) -> None:
        """Kill a container of ours by name and wait until it is gone, if it is there at all.

        One that cannot be removed has ended at least, or Failure is raised.
        """
        container = self._engine.containers.container(name)
        given_up = time.monotonic() + REMOVAL
        with _told(missing_is_fine=True):
            while True:
                try:
                    await container.delete(force=True, v=True)
                except DockerError as error:
                    # 409: somebody removes it already, `run --rm` for one.
                    is_going = error.status == HTTPStatus.CONFLICT
                    at_work = (await container.show())["State"]["Status"] in AT_WORK
                    late = time.monotonic() > given_up
                    if at_work and (late or not is_going):
                        raise
                    if late:
                        log.warning("not removed", container=name, reason=error.message)
                        return
                    await asyncio.sleep(REMOVAL_POLL)

    async def logs(
        self, container: str, *, follow: bool, tail: int = 1000
    ) -> AsyncGenerator[bytes]:
        """The last lines of both its outputs, and with `follow` whatever comes until it ends."""
        with _told():
            if follow:
                async with aclosing(self._followed(container, tail)) as lines:
                    async for line in lines:
                        yield line
                return
            found = self._engine.containers.container(container)
            for text in await found.log(stdout=True, stderr=True, tail=tail):
                yield text.encode()

    async def _followed(self, container: str, tail: int) -> AsyncGenerator[bytes]:
        # A client of its own: it has a hundred connections, and whoever watches must take none
        # from the rest. Not by its `log`: that lets go of no connection when its reader has gone.
        async with self._connected() as client:
            shown = await client.containers.container(container).show()
            address = f"{client.docker_host}/containers/{container}/logs"
            wanted = {"stdout": "1", "stderr": "1", "follow": "1", "tail": str(tail)}
            async with client.session.get(address, params=wanted, timeout=ENDLESS) as answer:
                if answer.status != HTTPStatus.OK:
                    raise DockerError(answer.status, await _complaint(answer))
                is_tty = shown["Config"]["Tty"]
                async with aclosing(multiplexed_result_stream(answer, is_tty=is_tty)) as texts:
                    async for text in texts:
                        yield text.encode()

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
            self._client = self._connected()
        return self._client

    def _connected(self) -> aiodocker.Docker:
        try:
            return aiodocker.Docker(url=self._host, timeout=ANSWER)
        except (AssertionError, ValueError, OSError) as error:
            raise Failure(f"no Docker engine is known: {error}", hint=START_HINT) from error

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


async def _complaint(answer: aiohttp.ClientResponse) -> str:
    """What the engine says is wrong."""
    said = await answer.text()
    with suppress(ValueError, AttributeError):
        return str(json.loads(said).get("message", said))
    return said


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
