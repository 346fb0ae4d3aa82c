"""Making a site: a service's files on this node, and the tools to work on them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from composia.agent.bulk import Bulk
from composia.agent.checkout import Checkouts
from composia.agent.wires import Wires
from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.base import Files
from composia.strategies.base import Notes, Site
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.rustic import Engine
from composia.tools.rustic_engine import RusticEngine
from composia.tools.shell import Shell

#: Inside repo_dir: no service's folder begins with a dot.
ASIDE = ".composia"
INSTANCES = "instances"


@dataclass(frozen=True, slots=True)
class Errand:
    """What a site is made for."""

    service: ServiceRef
    repository: RepositoryRef | None
    task: str
    #: The question's key or the reading's stream: the controller gives files under no other.
    key: str


class Sites:
    """The services of this node as sites."""

    def __init__(
        self,
        node: str,
        state_dir: Path,
        checkouts: Checkouts,
        shell: Shell,
        docker: Docker,
        bulk: Bulk,
        wires: Wires,
    ) -> None:
        self.node = node
        self.checkouts = checkouts
        self.docker = docker
        self._state_dir = state_dir
        self._shell = shell
        self._bulk = bulk
        self._wires = wires

    async def check_out(self, errand: Errand, files: Files) -> bool:
        """Have the files there; answers whether the service's own have changed."""
        changed = await self._bring(errand, errand.service, files)
        if errand.repository and errand.repository.service.name != errand.service.name:
            await self._bring(errand, errand.repository.service, Files.IF_ABSENT)
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
            files_changed=files_changed,
            keep_manifest=partial(self._bulk.keep_manifest, errand.key),
            read_manifest=partial(self._bulk.read_manifest, errand.key),
            wire=partial(self._wires.open, errand.key),
        )

    def state(self, service: str) -> Path:
        """What the agent remembers of a service."""
        return self._state_dir / INSTANCES / service

    def compose(self, service: ServiceRef) -> Compose:
        """The service's compose project."""
        folder = self.checkouts.folder(service)
        return Compose(self._shell, folder, service.project, service.compose_files)

    def _as_checked_out(self, service: ServiceRef) -> ServiceRef:
        """Without an update it is the files on this node that say what is run."""
        there = self.checkouts.manifest(service)
        return there.service if there else service

    def _engine(self, errand: Errand, notes: Notes) -> Engine | None:
        repository = errand.repository
        if repository is None:
            return None
        return RusticEngine(
            self.compose(self._as_checked_out(repository.service)),
            self.docker,
            self._shell,
            compose_service=repository.compose_service,
            profile=repository.profile,
            origin=errand.task,
            note=notes.note,
        )

    async def _bring(self, errand: Errand, service: ServiceRef, files: Files) -> bool:
        def fetch() -> Awaitable[IO[bytes]]:
            return self._bulk.bundle(errand.key, service.name)

        return await self.checkouts.bring(service, files, fetch)
