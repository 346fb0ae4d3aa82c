"""The node as it is now, from Docker's event stream: told within a second of any change."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog

from composia import __version__
from composia.agent.checkout import Manifest
from composia.agent.declared import Declared
from composia.agent.mounts import mounts_of
from composia.agent.sites import Sites
from composia.errors import ComposiaError
from composia.model.node import Container, Disk, Instance, NodeState, Versions
from composia.operations import fence
from composia.operations.messages import StateChanged
from composia.operations.stopped import read_stopped
from composia.tools.containers import ContainerInfo

log = structlog.get_logger()

#: Seconds: for more to happen before the engine is looked at, until it is looked at anyway, and
#: until an engine that is away is tried again.
DEBOUNCE = 0.1
LOOK_ANYWAY = 15.0
RETRY = 0.5
#: An engine that takes longer does not answer.
ANSWER = 10.0
#: A look that takes longer hangs at something else, a program for one.
LOOK = 30.0
#: What every health check causes, and changes nothing.
NO_CHANGE = ("exec_", "top", "attach", "resize")
NEVER = "0001-01-01T00:00:00Z"


class Host:
    """Looks at the node and says what has changed."""

    def __init__(self, sites: Sites, tell: Callable[[StateChanged], None]) -> None:
        self._sites = sites
        self._tell = tell
        self._dirty = asyncio.Event()
        self._turn = asyncio.Lock()
        self._versions = Versions(composia=__version__)
        self._docker_root: Path | None = None
        self._declared = Declared(sites)
        #: Compose projects that were at work when the engine answered last: they run on when it
        #: dies, whoever has started them since a stop of ours.
        self._at_work: frozenset[str] = frozenset()
        self.state = self._state(docker=False, containers=(), instances=())
        #: Set once the node was looked at.
        self.seen = asyncio.Event()

    def look_again(self) -> None:
        """Something has changed that no event tells of: files, a hold."""
        self._dirty.set()

    def as_told(self) -> StateChanged:
        """The state as a message."""
        return StateChanged(state=self.state)

    async def run(self) -> None:
        """Keep looking until cancelled."""
        await asyncio.gather(self._listen(), self._look_on(), self._ask_compose_again())

    async def look(self) -> NodeState:
        """Look at the node."""
        try:
            async with asyncio.timeout(ANSWER):
                containers = await self._containers()
        except (ComposiaError, TimeoutError):
            self._versions = Versions(composia=__version__)
            self.state = self._state(docker=False, containers=(), instances=self._without_engine())
            return self.state
        self._at_work = frozenset(one.project for one in containers if one.at_work)
        instances = [await self._instance(one, containers) for one in self._checked_out()]
        shown = tuple(_container(one) for one in containers if one.project)
        self.state = self._state(docker=True, containers=shown, instances=tuple(instances))
        return self.state

    async def _listen(self) -> None:
        while True:
            try:
                self._dirty.set()
                async for event in self._sites.docker.events():
                    if not str(event.get("Action", "")).startswith(NO_CHANGE):
                        self._dirty.set()
            except ComposiaError:
                pass
            # The engine has gone, and comes back some day.
            self._dirty.set()
            await asyncio.sleep(RETRY)

    async def _look_on(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_ANYWAY):
                    await self._dirty.wait()
            await asyncio.sleep(DEBOUNCE)
            self._dirty.clear()
            await self.show()

    async def show(self) -> None:
        """Look, and tell at once."""
        try:
            # One after the other: what was seen first is not told last.
            async with self._turn, asyncio.timeout(LOOK):
                await self.look()
                self._tell(self.as_told())
            self.seen.set()
        except Exception:
            # One odd container must not blind the agent for good.
            log.exception("looking at the node went wrong")
            await asyncio.sleep(RETRY)

    async def _ask_compose_again(self) -> None:
        await self.seen.wait()
        try:
            if await self._declared.ask_again(self._checked_out()):
                self._dirty.set()
        except Exception:
            # What the disk says stays good until the files change.
            log.exception("asking compose again went wrong")

    async def _containers(self) -> Sequence[ContainerInfo]:
        containers = await self._sites.docker.containers()
        if self._versions.docker is None:
            engine, compose = await self._sites.docker.versions()
            self._versions = Versions(composia=__version__, docker=engine, compose=compose)
            self._docker_root = await self._sites.docker.root()
        return containers

    def _checked_out(self) -> list[Manifest]:
        return list(self._sites.checkouts.all())

    def _without_engine(self) -> tuple[Instance, ...]:
        """What is there all the same: containers run on when their engine has died."""
        seen = {one.service: one.mounts for one in self.state.instances}
        bare = [self._bare(manifest) for manifest in self._checked_out()]
        return tuple(
            one.model_copy(
                update={
                    "mounts": seen.get(one.service, ()),
                    "held": one.held and one.project not in self._at_work,
                }
            )
            for one in bare
        )

    async def _instance(self, manifest: Manifest, containers: Sequence[ContainerInfo]) -> Instance:
        service = manifest.service
        theirs = [one for one in containers if one.project == service.project]
        mounted = [one for one in theirs if not one.is_one_off]
        folder = self._sites.checkouts.folder(service)
        mounts = mounts_of(folder, await self._declared.config(manifest), mounted)
        return self._bare(manifest).model_copy(update={"mounts": mounts})

    def _bare(self, manifest: Manifest) -> Instance:
        service, state = manifest.service, self._sites.state(manifest.service.name)
        stopped = read_stopped(state)
        return Instance(
            service=service.name,
            folder=service.folder,
            project=service.project,
            revision=service.revision,
            held=stopped is not None and stopped.proven,
            left=fence.left(state) is not None,
        )

    def _state(
        self, *, docker: bool, containers: tuple[Container, ...], instances: tuple[Instance, ...]
    ) -> NodeState:
        return NodeState(
            versions=self._versions,
            repo_dir=str(self._sites.checkouts.repo_dir),
            docker=docker,
            containers=containers,
            instances=instances,
            disks=_disks(self._sites.checkouts.repo_dir, self._docker_root),
            now=datetime.now(UTC),
        )


def _disks(*paths: Path | None) -> tuple[Disk, ...]:
    disks = []
    for path in filter(None, paths):
        with contextlib.suppress(OSError):
            found = os.statvfs(path)
            total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
            disks.append(Disk(path=str(path), total=total, free=free))
    return tuple(disks)


def _container(info: ContainerInfo) -> Container:
    return Container(
        id=info.id,
        name=info.name,
        project=info.project,
        compose_service=info.compose_service,
        image=info.image,
        state=info.state,
        health=info.health,
        exit_code=info.exit_code,
        started_at=None
        if info.started_at == NEVER
        else datetime.fromisoformat(_short(info.started_at)),
        working_dir=info.working_dir,
    )


def _short(time: str) -> str:
    """Docker's nanoseconds are more digits than are understood here."""
    seconds, point, rest = time.partition(".")
    digits = rest.removesuffix("Z")
    return f"{seconds}.{digits[:6]}+00:00" if point and digits.isdigit() else time
