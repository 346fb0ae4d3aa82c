"""One node of a lab."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.lab.catalog import CADDY_ROOT_CA
from tests.lab.engines import Engine


@dataclass(frozen=True)
class Node:
    """One node: its engine and what its agent was told."""

    id: str
    address: str
    netns: str
    token: str
    folder: Path
    engine: Engine

    @property
    def repo_dir(self) -> Path:
        """Where the agent keeps the services."""
        return self.folder / "services"

    @property
    def disk(self) -> Path:
        """A place that is neither the agent's nor the engine's: `${LAB_DISK}` in compose files."""
        return self.folder / "disk"

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps its journal."""
        return self.folder / "agent"

    @property
    def config(self) -> Path:
        """The agent's config.yaml."""
        return self.folder / "config.yaml"

    @property
    def docker_host(self) -> str:
        """The value of DOCKER_HOST for the node's engine."""
        return self.engine.host

    @property
    def root_ca(self) -> Path:
        """The certificate of the node's Caddy's own authority, once infra-caddy runs."""
        return self.repo_dir / "infra-caddy" / CADDY_ROOT_CA
