"""A site in memory: a folder of the test's, and twins of everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from composia.strategies.base import Site
from composia.tools.compose import Compose, ComposeConfig, ComposeVolume
from composia.tools.shell import Command, Finished, Running, Shell
from composia.tools.volumes import PLAIN, VolumeKind
from tests.twins.docker import MemoryDocker, a_volume
from tests.twins.engine import MemoryEngine


class MemoryNotes:
    """Notes, progress and log lines as they came."""

    def __init__(self) -> None:
        self.noted: dict[str, Mapping[str, Any]] = {}
        self.names: list[str] = []
        self.done: list[tuple[int, int | None]] = []
        self.lines: list[str] = []

    async def note(self, name: str, **facts: Any) -> None:
        self.noted[name] = facts
        self.names.append(name)

    def progress(self, done: int, total: int | None = None) -> None:
        self.done.append((done, total))

    def log(self, line: str) -> None:
        self.lines.append(line)


class NoShell(Shell):
    """For tests in which no program is to be started."""

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        raise AssertionError(f"{command} was run")

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncIterator[Running]:
        raise AssertionError(f"{command} was started")
        yield


class MemoryCompose(Compose):
    """A project whose compose file declares the volumes that a test gives it."""

    def __init__(self, folder: Path, shell: Shell) -> None:
        super().__init__(shell, folder, "app", ["docker-compose.yaml"])
        self.declared: dict[str, ComposeVolume] = {}

    async def config(self) -> ComposeConfig:
        return ComposeConfig(services={}, volumes=self.declared)


@dataclass
class Twins:
    """The site and, beside it, its twins under their own types."""

    folder: Path
    shell: Shell = field(default_factory=NoShell)
    docker: MemoryDocker = field(default_factory=MemoryDocker)
    engine: MemoryEngine = field(default_factory=MemoryEngine)
    notes: MemoryNotes = field(default_factory=MemoryNotes)
    manifests: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.compose = MemoryCompose(self.folder, self.shell)
        self.site = Site(
            node="main",
            task="01TASK",
            service="my-app",
            folder=self.folder,
            aside=self.folder.parent / ".composia",
            state=self.folder.parent / ".state/instances/my-app",
            compose=self.compose,
            docker=self.docker,
            notes=self.notes,
            repository=self.engine,
            keep_manifest=self._keep_manifest,
        )

    def declare(self, key: str, kind: VolumeKind = PLAIN) -> None:
        """Name a volume in the compose file."""
        self.compose.declared[key] = ComposeVolume(
            key=key, name=f"app_{key}", external=False, kind=kind
        )

    def volume(self, key: str, mountpoint: Path, kind: VolumeKind = PLAIN) -> None:
        """Declare a volume and make it."""
        self.declare(key, kind)
        self.docker.volumes[f"app_{key}"] = a_volume(f"app_{key}", mountpoint, kind)

    async def _keep_manifest(self, backup_id: str, manifest: bytes) -> None:
        self.manifests[backup_id] = manifest
