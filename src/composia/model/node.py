"""A node as its agent sees it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from composia.tools.containers import AT_WORK


class Container(BaseModel):
    """One container of a compose project."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    project: str
    #: The service in the compose file.
    compose_service: str
    image: str
    #: Docker's word: created, running, paused, restarting, exited, dead.
    state: str
    #: healthy, unhealthy, starting; None without a health check.
    health: str | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    #: The folder compose was started in, from the container's labels.
    working_dir: str | None = None

    @property
    def at_work(self) -> bool:
        """Whether it may write."""
        return self.state in AT_WORK


class Mount(BaseModel):
    """A writable place that a service keeps data in."""

    model_config = ConfigDict(frozen=True)

    #: volume, anonymous, bind
    kind: str
    #: The compose key, `compose service:/target` (anonymous), `./path` or an absolute path.
    source: str
    #: The compose services that mount it.
    used_by: tuple[str, ...] = ()


class Instance(BaseModel):
    """What a node knows of a service that it has checked out."""

    model_config = ConfigDict(frozen=True)

    service: str
    folder: str
    project: str
    #: The revision whose files are checked out, and the one last deployed.
    revision: str | None = None
    #: True while a stop of ours holds.
    held: bool = False
    #: True where a move has stopped it and gone: nothing of ours starts it here.
    left: bool = False
    #: Volumes (compose keys; anonymous ones as `service:/path`) and writable binds (`./data`), as
    #: `docker compose config` and the containers name them.
    mounts: tuple[Mount, ...] = ()


class Disk(BaseModel):
    model_config = ConfigDict(frozen=True)

    path: str
    total: int
    free: int


class Versions(BaseModel):
    model_config = ConfigDict(frozen=True)

    composia: str
    docker: str | None = None
    compose: str | None = None


class NodeState(BaseModel):
    """Everything a node reports about itself."""

    model_config = ConfigDict(frozen=True)

    versions: Versions
    #: Where the agent keeps the services' folders.
    repo_dir: str = ""
    #: False while the Docker engine does not answer.
    docker: bool
    containers: tuple[Container, ...] = ()
    instances: tuple[Instance, ...] = ()
    disks: tuple[Disk, ...] = ()
    #: The agent's clock, to compare.
    now: datetime


def ask_its_agent(node: str) -> str:
    """What to do about a node that is offline."""
    return f"See what its agent says: `journalctl -u composia-agent` on {node}."
