"""Making a site: a service's files on this node, and the tools to work on them."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from composia.agent.bulk import Bulk
from composia.agent.bundle import Bundle
from composia.agent.checkout import Checkouts
from composia.agent.gateway import Gateway
from composia.agent.passage import Passage
from composia.agent.wires import Wires
from composia.model.service import CaddyRef, RepositoryRef, ServiceRef
from composia.operations.base import Files
from composia.strategies.base import Notes, Site
from composia.tools.caddy import Caddy
from composia.tools.compose import DOCKER_COMPOSE, Compose
from composia.tools.compose_program import ComposeProgram
from composia.tools.docker import Docker
from composia.tools.rustic import Engine
from composia.tools.rustic_engine import ContainerEngine
from composia.tools.rustic_gateway import GatewayEngine
from composia.tools.rustic_service import ServiceContainer
from composia.tools.shell import Shell

#: Inside repo_dir: no service's folder begins with a dot.
ASIDE = ".composia"
INSTANCES = "instances"
#: Inside state_dir: copies of Caddy's fragments that are being checked.
CHECKED = "caddy"
#: Inside state_dir: what other nodes' profiles say of backups.
PROFILES = "repository"


@dataclass(frozen=True, slots=True)
class Errand:
    """What a site is made for."""

    service: ServiceRef
    repository: RepositoryRef | None
    task: str
    #: The question's key or the reading's stream: the controller gives files under no other.
    key: str
    caddy: CaddyRef | None = None
    #: The copy off site that is worked on beside the repository.
    offsite: RepositoryRef | None = None


@dataclass(frozen=True, slots=True)
class Doors:
    """What goes beside the channel."""

    bulk: Bulk
    wires: Wires
    gateway: Gateway


class Sites:
    """The services of this node as sites."""

    def __init__(
        self,
        node: str,
        state_dir: Path,
        checkouts: Checkouts,
        shell: Shell,
        docker: Docker,
        doors: Doors,
        generated: Path | None = None,
        program: ComposeProgram = DOCKER_COMPOSE,
    ) -> None:
        self.node = node
        self.checkouts = checkouts
        self.docker = docker
        self._state_dir = state_dir
        self._shell = shell
        self._program = program
        self._bulk = doors.bulk
        self._wires = doors.wires
        self._generated = generated
        self._gateway = doors.gateway
        #: Of this node's Caddy: one change at a time, whichever service it is for.
        self._turn = asyncio.Lock()

    async def check_out(self, errand: Errand, files: Files) -> bool:
        """Have the files there; answers whether the service's own have changed."""
        changed = False
        if not self._is_away(errand):
            changed = await self._bring(errand, errand.service, files)
        for other in (self._own(errand.repository), errand.caddy if self._generated else None):
            if other and other.service.name != errand.service.name:
                await self._bring(errand, other.service, Files.IF_ABSENT)
        return changed

    def site(self, errand: Errand, notes: Notes, *, files_changed: bool = False) -> Site:
        """The site with the files that are there. Raises Invalid for names that lead elsewhere."""
        service = self._as_checked_out(errand.service)
        return Site(
            node=self.node,
            task=errand.task,
            service=service.name,
            folder=self.checkouts.folder(service),
            aside=self.checkouts.repo_dir / ASIDE,
            state=self.state(service.name),
            compose=self.compose(service),
            docker=self.docker,
            notes=notes,
            repository=self._engine(errand, notes),
            offsite=self._offsite(errand, notes),
            caddy=self._caddy(errand.caddy, notes),
            files_changed=files_changed,
            keep_manifest=partial(self._bulk.keep_manifest, errand.key),
            read_manifest=partial(self._bulk.read_manifest, errand.key),
            wire=partial(self._wires.open, errand.key),
            read_catalog=partial(self._read_catalog, errand),
        )

    @property
    def instances(self) -> Path:
        """The folder of what the agent remembers of services."""
        return self._state_dir / INSTANCES

    def state(self, service: str) -> Path:
        """What the agent remembers of a service."""
        return self.instances / service

    def compose(self, service: ServiceRef) -> Compose:
        """The service's compose project."""
        folder = self.checkouts.folder(service)
        return Compose(
            self._shell, folder, service.project, service.compose_files, program=self._program
        )

    def _as_checked_out(self, service: ServiceRef) -> ServiceRef:
        """Without an update it is the files on this node that say what is run."""
        there = self.checkouts.manifest(service)
        return there.service if there else service

    def rustic(self, repository: RepositoryRef, task: str, notes: Notes) -> ServiceContainer:
        """rustic as the repository's service runs it on this node."""
        return ServiceContainer(
            self.compose(self._as_checked_out(repository.service)),
            self.docker,
            self._shell,
            compose_service=repository.compose_service,
            profile=repository.profile,
            exact=repository.copy_name is not None,
            origin=task,
            note=notes.note,
        )

    def _is_away(self, errand: Errand) -> bool:
        """Whether it is about the repository's service itself, which this node goes without."""
        away = errand.repository if errand.repository and not self._own(errand.repository) else None
        return away is not None and away.service.name == errand.service.name

    def _own(self, repository: RepositoryRef | None) -> RepositoryRef | None:
        """The repository's service, where this node needs its files: they may hold its password."""
        return None if repository is None or repository.through(self.node) else repository

    def _engine(self, errand: Errand, notes: Notes) -> Engine | None:
        if repository := self._own(errand.repository):
            return ContainerEngine(self.rustic(repository, errand.task, notes))
        if errand.repository is None:
            return None
        passage = Passage(self._gateway, self._bulk, errand.key, self._state_dir / PROFILES)
        return GatewayEngine(passage, self.docker, self._shell, origin=errand.task, note=notes.note)

    def _offsite(self, errand: Errand, notes: Notes) -> Engine | None:
        if errand.offsite is None:
            return None
        return ContainerEngine(self.rustic(errand.offsite, errand.task, notes))

    def _caddy(self, ref: CaddyRef | None, notes: Notes) -> Caddy | None:
        if ref is None or self._generated is None:
            return None
        return Caddy(
            self.compose(self._as_checked_out(ref.service)),
            self.docker,
            compose_service=ref.compose_service,
            config_dir=ref.config_dir,
            generated=self._generated,
            scratch=self._state_dir / CHECKED,
            turn=self._turn,
            note=notes.note,
        )

    async def _read_catalog(self, errand: Errand, path: str) -> bytes | None:
        with await self._bulk.bundle(errand.key, errand.service.name) as file:
            bundle = Bundle(file)
            member = bundle.members.get(path)
            if member and member.target:
                at = posixpath.join(posixpath.dirname(path), member.target)
                member = bundle.members.get(posixpath.normpath(at))
            return bundle.content(member).read() if member and not member.target else None

    async def _bring(self, errand: Errand, service: ServiceRef, files: Files) -> bool:
        def fetch() -> Awaitable[IO[bytes]]:
            return self._bulk.bundle(errand.key, service.name)

        return await self.checkouts.bring(service, files, fetch)
