"""Containers and volumes as the engine's inspection shows them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from composia.tools.volumes import LOCAL, PLAIN, VolumeKind, kind_of

#: Labels that compose gives to what it makes.
PROJECT = "com.docker.compose.project"
VOLUME = "com.docker.compose.volume"
_SERVICE = "com.docker.compose.service"
_ONE_OFF = "com.docker.compose.oneoff"
_NUMBER = "com.docker.compose.container-number"
_WORKING_DIR = "com.docker.compose.project.working_dir"
#: In any of these states a container may write.
AT_WORK = ("running", "restarting", "paused")
#: Docker's unit of time.
SECOND = 1_000_000_000
#: Seconds that Docker gives a container to end by itself where nothing else was said, and its
#: health command to answer.
STOP_GRACE = 10.0
HEALTH_TIMEOUT = 30.0


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

    def place(self) -> Path | None:
        """Where it really lies, whatever links lead there; None where that is on no disk."""
        return Path(os.path.realpath(self.source)) if self.source else None


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
    #: Seconds that it may take.
    health_timeout: float = HEALTH_TIMEOUT
    #: Its address in one of its networks; None while it does not run.
    address: str | None = None
    #: TCP ports that it exposes, and those that it takes on this machine.
    ports: tuple[int, ...] = ()
    published: tuple[int, ...] = ()
    #: Seconds in which it may end by itself once it is to stop; below 0: as long as it likes.
    stop_grace: float = STOP_GRACE
    #: Whether the engine removes it, and its anonymous volumes, as soon as it ends (`run --rm`).
    goes_when_it_ends: bool = False

    @property
    def project(self) -> str:
        """The compose project it belongs to; empty where compose did not make it."""
        return self.labels.get(PROJECT, "")

    @property
    def compose_service(self) -> str:
        """The service in the compose file; empty where compose did not make it."""
        return self.labels.get(_SERVICE, "")

    @property
    def number(self) -> str | None:
        """Which one of its compose service; that of what replaces it is the same."""
        return self.labels.get(_NUMBER)

    @property
    def working_dir(self) -> str | None:
        """The folder compose was started in."""
        return self.labels.get(_WORKING_DIR)

    @property
    def is_one_off(self) -> bool:
        """Whether `docker compose run` made it."""
        return self.labels.get(_ONE_OFF, "False") == "True"

    @property
    def at_work(self) -> bool:
        """Whether it may write."""
        return self.state in AT_WORK


def _several(told: Any) -> Any:
    """An older version has told the id alone."""
    return (told,) if isinstance(told, str) else told


#: What an image is known by.
Digests = Annotated[tuple[str, ...], BeforeValidator(_several)]


def digests_of(image: Mapping[str, Any]) -> tuple[str, ...]:
    """What an image is known by: its id, and its digests in registries.

    The id is another one in another kind of store, and on another architecture.
    """
    pulled = (name.rpartition("@")[2] for name in image.get("RepoDigests") or ())
    return tuple(dict.fromkeys((image["Id"], *pulled)))


def same_image(here: Collection[str], there: Collection[str]) -> bool:
    """Whether two engines mean the same image by what each knows it by (`Docker.digests`)."""
    return not set(here).isdisjoint(there)


def container_of(shown: Mapping[str, Any], bound: Mapping[str, str]) -> ContainerInfo:
    """From its inspection, and the folders that volumes bind, by their names."""
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
        health_timeout=_health_timeout(config.get("Healthcheck") or {}),
        address=_address(shown["NetworkSettings"].get("Networks") or {}),
        ports=tuple(_tcp(config.get("ExposedPorts") or ())),
        published=_published(shown["HostConfig"].get("PortBindings") or {}),
        stop_grace=_stop_grace(config.get("StopTimeout")),
        goes_when_it_ends=bool(shown["HostConfig"].get("AutoRemove")),
    )


def has_local_volumes(shown: Mapping[str, Any] | None) -> bool:
    """Whether an inspected container mounts some, which may bind folders."""
    mounts = shown["Mounts"] if shown else ()
    return any(one["Type"] == "volume" and one.get("Driver") == LOCAL for one in mounts)


def volume_of(shown: Mapping[str, Any]) -> Volume:
    """From its inspection."""
    return Volume(
        name=shown["Name"],
        mountpoint=Path(shown["Mountpoint"]),
        kind=kind_of(shown["Driver"], shown.get("Options")),
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


def _health_timeout(check: Mapping[str, Any]) -> float:
    timeout: float = (check.get("Timeout") or 0) / SECOND
    return timeout or HEALTH_TIMEOUT


def _stop_grace(told: int | None) -> float:
    return STOP_GRACE if told is None else told


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
