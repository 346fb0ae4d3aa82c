"""The Docker engine, read through its socket: lists, inspection, events. Changes go by compose."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from composia.tools.shell import Shell


class Volume(BaseModel):
    """A Docker volume. `plain` is a local one without options, whose `_data` may be exchanged."""

    model_config = ConfigDict(frozen=True)

    name: str
    driver: str
    mountpoint: Path
    plain: bool


class ContainerMount(BaseModel):
    model_config = ConfigDict(frozen=True)

    #: bind, volume, tmpfs
    type: str
    #: The volume's name, where it is one.
    name: str | None
    #: The place on this machine.
    source: str
    destination: str
    writable: bool


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


class Docker:
    """The engine of this node. Everything raises Failure when the engine does not answer."""

    def __init__(self, shell: Shell, docker_host: str | None = None) -> None:
        raise NotImplementedError

    async def containers(self, *, project: str | None = None) -> Sequence[ContainerInfo]:
        """All containers, stopped ones too, of one compose project or of all."""
        raise NotImplementedError

    async def volume(self, name: str) -> Volume | None: ...

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume: ...

    async def remove_volume(self, name: str) -> None: ...

    async def image_entrypoint(self, image: str) -> Sequence[str] | None:
        """`Config.Entrypoint` of an image; NotFound where the image is not here."""
        raise NotImplementedError

    async def image_config(self, image: str) -> Mapping[str, Any]:
        """`Config` of an image (Env, Volumes, User, ...); NotFound where it is not here."""
        raise NotImplementedError

    async def set_restart_policy(self, containers: Collection[str], policy: str) -> None:
        """`docker update --restart=POLICY`."""

    async def stop(self, containers: Collection[str]) -> None: ...

    async def start(self, containers: Collection[str]) -> None: ...

    async def kill_and_remove(self, name: str) -> None:
        """Kill a container of ours by name, wait until it is gone; harmless when it is not there."""

    def logs(self, container: str, *, follow: bool, tail: int = 1000) -> AsyncIterator[bytes]: ...

    def events(self) -> AsyncIterator[Mapping[str, Any]]:
        """The engine's events from now on; ends when the engine goes away."""
        raise NotImplementedError

    async def versions(self) -> tuple[str | None, str | None]:
        """Of the engine and of compose; None where one does not answer."""
        raise NotImplementedError

    async def aclose(self) -> None: ...
