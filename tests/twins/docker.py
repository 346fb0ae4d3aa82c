"""An engine in memory: containers that start, stop and keep their policies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from composia.errors import CommandFailed, Failure
from composia.tools.containers import ContainerInfo, ContainerMount, Volume
from composia.tools.docker import Docker
from composia.tools.volumes import PLAIN, VolumeKind


class MemoryDocker(Docker):
    """What `tools.docker.Docker` does to containers, and the faults a test asks for."""

    def __init__(self) -> None:
        self.there: dict[str, ContainerInfo] = {}
        self.volumes: dict[str, Volume] = {}
        #: Where volumes lie that are made.
        self.volumes_at: Path | None = None
        #: Where the engine would keep all that is its own.
        self.docker_root = Path("/nowhere/docker")
        #: What was changed, in order: `policy no web`, `stop web`, `start web`.
        self.done: list[str] = []
        #: Names of those that were told to stop while they ran, once for each signal.
        self.signals: list[str] = []
        #: Names of containers that go on running, or do not start.
        self.does_not_stop: set[str] = set()
        self.does_not_start: set[str] = set()
        #: Names of containers that end only when `has_stopped` says so, however long that is. The
        #: engine goes on with such a stop although whoever has asked for it is cancelled.
        self.stops_slowly: set[str] = set()
        #: Set when such a stop has been asked.
        self.is_stopping = asyncio.Event()
        #: How many questions the engine leaves unanswered from now on.
        self.away = 0
        #: How many lists, and how many kills, it refuses from now on, though it answers.
        self.refuses_lists = 0
        self.refuses_kills = 0
        self._starts = 0
        self._stops: dict[str, asyncio.Event] = {}

    def add(
        self,
        name: str,
        *,
        project: str = "app",
        state: str = "running",
        policy: str = "always",
        folder: Path | None = None,
        depends_on: str = "",
        one_off: bool = False,
        mounts: Sequence[Path | ContainerMount] = (),
        health: str | None = None,
    ) -> str:
        """Put a container of the compose service of that name there; its id."""
        labels = {
            "com.docker.compose.project": project,
            "com.docker.compose.service": name,
            "com.docker.compose.oneoff": str(one_off),
            "com.docker.compose.depends_on": depends_on,
        }
        if folder:
            labels["com.docker.compose.project.working_dir"] = str(folder)
        self.there[name] = ContainerInfo(
            id=f"id-{name}",
            name=name,
            labels=labels,
            image="busybox:lab",
            state=state,
            health=health,
            exit_code=None,
            started_at=self._now(),
            restart_policy=policy,
            mounts=tuple(_mount(path) for path in mounts),
            env={},
        )
        return f"id-{name}"

    def change(self, name: str, **fields: object) -> None:
        """Somebody else does something to a container."""
        self.there[name] = self.there[name].model_copy(update=fields)

    def starts_by_itself(self, name: str) -> None:
        """A container starts and nobody of us did it."""
        self.change(name, state="running", started_at=self._now())

    def starts_and_ends(self, name: str) -> None:
        """The same, and by now it does not run any more."""
        self.starts_by_itself(name)
        self.change(name, state="exited")

    def running(self) -> set[str]:
        return {one.name for one in self.there.values() if one.at_work}

    def policies(self) -> dict[str, str]:
        return {one.name: one.restart_policy for one in self.there.values()}

    async def containers(self, *, project: str | None = None) -> Sequence[ContainerInfo]:
        self._answer()
        if self.refuses_lists:
            self.refuses_lists -= 1
            raise Failure("Docker: a container cannot be looked at")
        return [
            one
            for one in self.there.values()
            if project in (None, one.labels["com.docker.compose.project"])
        ]

    async def digests(self, image: str) -> tuple[str, ...]:
        self._answer()
        used = {(one.image, one.image_id) for one in self.there.values()}
        return tuple(sorted(id_ for name, id_ in used if image in (name, id_)))

    async def volume(self, name: str) -> Volume | None:
        self._answer()
        return self.volumes.get(name)

    async def create_volume(self, name: str, labels: Mapping[str, str]) -> Volume:
        """Make one where `volumes_at` says, or give the one that has the name."""
        self._answer()
        assert self.volumes_at
        if name not in self.volumes:
            mountpoint = self.volumes_at / name / "_data"
            mountpoint.mkdir(parents=True)
            self.volumes[name] = a_volume(name, mountpoint)
        return self.volumes[name]

    async def remove_volume(self, name: str) -> None:
        """Remove it with what is in it; refused while a container has it, running or not."""
        self._answer()
        users = [
            one.id for one in self.there.values() if any(_is(mount, name) for mount in one.mounts)
        ]
        if users:
            raise Failure(f"Docker: remove {name}: volume is in use - [{', '.join(users)}]")
        if volume := self.volumes.pop(name, None):
            shutil.rmtree(volume.mountpoint.parent)

    async def root(self) -> Path:
        self._answer()
        return self.docker_root

    async def set_restart_policy(self, containers: Collection[str], policy: str) -> None:
        for name in self._names(containers):
            self.done.append(f"policy {policy} {name}")
            self.change(name, restart_policy=policy)

    async def stop(self, containers: Collection[str]) -> None:
        slow = []
        for name in self._names(containers):
            self.done.append(f"stop {name}")
            if self.there[name].at_work:
                self.signals.append(name)
            if name in self.stops_slowly and self.there[name].at_work:
                slow.append(self._stops.setdefault(name, asyncio.Event()))
            elif name not in self.does_not_stop:
                self.change(name, state="exited")
        for stop in slow:
            self.is_stopping.set()
            await stop.wait()

    def has_stopped(self, name: str) -> None:
        """A container that stops slowly has ended, in the engine: somebody may wait, or nobody."""
        self.change(name, state="exited")
        self._stops.pop(name).set()

    async def start(self, containers: Collection[str]) -> None:
        refused = []
        for name in self._names(containers):
            self.done.append(f"start {name}")
            if name in self.does_not_start:
                refused.append(name)
            elif self.there[name].state != "running":
                self.starts_by_itself(name)
        if refused:
            raise CommandFailed(f"docker start: {', '.join(refused)}: port is already allocated")

    async def kill_and_remove(self, name: str) -> None:
        self._answer()
        if self.refuses_kills:
            self.refuses_kills -= 1
            raise Failure("Docker: could not kill: did not receive an exit event")
        self.done.append(f"kill {name}")
        self.there.pop(name, None)

    async def versions(self) -> tuple[str | None, str | None]:
        if self.away:
            self.away -= 1
            return None, None
        return "26.1.5", "2.26.1"

    def _names(self, ids: Collection[str]) -> list[str]:
        self._answer()
        found = {one.id: one.name for one in self.there.values() if one.id in ids}
        if unknown := set(ids) - found.keys():
            raise CommandFailed(f"No such container: {', '.join(sorted(unknown))}")
        return list(found.values())

    def _answer(self) -> None:
        if self.away:
            self.away -= 1
            raise Failure("the Docker engine does not answer")

    def _now(self) -> str:
        self._starts += 1
        return f"2026-01-01T00:00:{self._starts:02}Z"


def _mount(path: Path | ContainerMount) -> ContainerMount:
    if isinstance(path, ContainerMount):
        return path
    return ContainerMount(type="bind", name=None, source=str(path), destination="/x", writable=True)


def _is(mount: ContainerMount, volume: str) -> bool:
    return mount.type == "volume" and mount.name == volume


def a_volume(name: str, mountpoint: Path, kind: VolumeKind = PLAIN) -> Volume:
    return Volume(name=name, mountpoint=mountpoint, kind=kind)
