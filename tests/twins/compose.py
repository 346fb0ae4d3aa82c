"""A compose project in memory: what `docker compose` does to the containers of MemoryDocker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from composia.errors import CommandFailed
from composia.tools.compose import ComposeConfig, ComposeService, Pull
from tests.twins.docker import MemoryDocker
from tests.twins.site import MemoryCompose, Twins


def a_service(name: str) -> ComposeService:
    """One of which the compose file says nothing more."""
    return ComposeService(
        name=name, image=None, entrypoint=None, command=None, environment={}, mounts=(), user=None
    )


class ProjectCompose(MemoryCompose):
    """A project whose services are those of the containers that a test has declared."""

    def __init__(self, twins: Twins) -> None:
        super().__init__(twins.folder, twins.shell)
        self.docker: MemoryDocker = twins.docker
        #: Compose services and the state that their container comes to after its start.
        self.services: dict[str, str] = {}
        self.done: list[str] = []
        #: The verb that fails, after its effect.
        self.fails: str | None = None
        #: Set when containers have been stopped; `stop` does not return while `ends` is cleared.
        self.stopping = asyncio.Event()
        self.ends = asyncio.Event()
        self.ends.set()
        #: Compose services whose container `up` makes anew, as their files have changed.
        self.changed: set[str] = set()
        #: `up` makes nothing, and starts nothing, while these are cleared: it pulls, or waits.
        self.pulled, self.healthy = asyncio.Event(), asyncio.Event()
        self.pulled.set()
        self.healthy.set()

    async def up(self, *services: str, pull: Pull | None = None) -> None:
        await self.pulled.wait()
        for name in sorted(self.changed):
            await self.replace(name)
        await self.healthy.wait()
        for name in services or self.services:
            there = self.docker.there.get(name)
            if there is None:
                self.docker.add(name, folder=self.folder)
            elif there.state not in ("running", "paused"):
                self.docker.starts_by_itself(name)
            else:
                continue
            if (state := self.services[name]) != "running":
                code = None if state == "restarting" else int(state.removeprefix("exited "))
                self.docker.change(name, state=state.split(" ")[0], exit_code=code)
        self._did("up", *_pulling(pull), *services)

    async def remove_unused(self, containers: Collection[str]) -> None:
        for one in list(self.docker.there.values()):
            if one.id in containers:
                assert one.state == "created"
                del self.docker.there[one.name]

    async def rename(self, container: str, name: str) -> None:
        (old,) = (one for one in self.docker.there.values() if one.id == container)
        self.docker.there[name] = old.model_copy(update={"name": name})
        del self.docker.there[old.name]

    async def create(self, pull: Pull | None = None) -> None:
        for name in self.services:
            if name not in self.docker.there:
                self.docker.add(name, folder=self.folder, state="created")
        self._did("create", *_pulling(pull))

    async def pull(self) -> None:
        self._did("pull")

    async def config(self) -> ComposeConfig:
        services = {name: a_service(name) for name in self.services}
        return ComposeConfig(services=services, volumes=self.declared)

    async def stop(self, *services: str) -> None:
        there = [one for one in self.docker.there.values() if not one.is_one_off]
        await self.docker.stop([one.id for one in there if one.name in self.services])
        self.stopping.set()
        await self.ends.wait()
        self._did("stop")

    async def restart(self, *services: str) -> None:
        if unknown := set(services) - self.services.keys():
            raise CommandFailed(f"no such service: {unknown}")
        ids = [f"id-{name}" for name in services]
        await self.docker.stop(ids)
        if self.fails != "restart":
            await self.docker.start(ids)
        self._did("restart")

    async def replace(self, name: str) -> None:
        """As compose does it: the new one is there before the old one stops."""
        old = self.docker.there[name]
        beside = f"{old.id[:12]}_{name}"
        if beside in self.docker.there:
            raise CommandFailed(f'The container name "/{beside}" is already in use')
        self.docker.add(beside, folder=self.folder, state="created")
        self.docker.change(beside, labels=old.labels)
        await self.docker.stop([old.id])
        new = self.docker.there.pop(beside)
        self.docker.there[name] = new.model_copy(update={"name": name})
        self.changed.discard(name)

    def _did(self, *words: str) -> None:
        self.done.append(" ".join(words))
        if self.fails == words[0]:
            raise CommandFailed(f"docker compose {words[0]} failed: port is already allocated")


def _pulling(pull: Pull | None) -> tuple[str, ...]:
    return ("--pull", pull) if pull else ()
