"""Naming a service towards a node."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ServiceRef(BaseModel):
    """A service at a revision, as an agent needs to know it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    #: Its folder in the catalog, and under `repo_dir` on the node: not always its name.
    folder: str
    #: The compose project; `formats.md`: default is the name.
    project: str
    compose_files: tuple[str, ...]
    #: The commit of the catalog that the controller planned with.
    revision: str

    def __str__(self) -> str:
        return self.name


class RepositoryRef(BaseModel):
    """The infrastructure service that holds the rustic repository of a node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: ServiceRef
    compose_service: str
    profile: str
    #: The repository's id as recorded when it was first seen; None until then.
    repository_id: str | None = None
    #: The nodes that hold it, the one to go through first; empty: every node reaches it by itself.
    main_nodes: tuple[str, ...] = ()
    #: The name of the copy off site that it is; None: it is the one that backups go to.
    copy_name: str | None = None

    def through(self, node: str) -> str | None:
        """The node that this one reaches the repository through; None: none is needed."""
        if not self.main_nodes or node in self.main_nodes:
            return None
        return self.main_nodes[0]


class CaddyRef(BaseModel):
    """The infrastructure service that answers for names on a node, and what it is to get."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: ServiceRef
    compose_service: str
    #: Caddy's configuration folder in the container.
    config_dir: str
    #: The fragment's file in the service's own folder; None: the service has none any more.
    source: str | None

    @property
    def without_fragment(self) -> CaddyRef:
        """The same, with nothing of the service there."""
        return self.model_copy(update={"source": None})
