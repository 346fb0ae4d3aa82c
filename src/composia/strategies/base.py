"""What a strategy is, and what it may use on a node.

A strategy is how one data item is saved or brought back: a frozen value that stands in the YAML
as it will run. It says what it `needs`; the operation decides when to stop the service.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from composia.errors import Failure
from composia.tools.caddy import Caddy
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.exchange import AnyPath
from composia.tools.rustic import Engine, Labels, Snapshot
from composia.tools.wire import Wire, no_wire


class Needs(StrEnum):
    """The state in which a service must be while an item is saved."""

    RUNNING = "running"
    STOPPED = "stopped"
    NOTHING = "nothing"


class Notes(Protocol):
    """What an operation leaves behind for the one who clears up after a crash."""

    async def note(self, name: str, **facts: Any) -> None:
        """Write down what is about to be done, and flush it to the disk, before it is done."""
        ...

    def progress(self, done: int, total: int | None = None) -> None:
        """Tell how many bytes are done; calls are cheap and may come thousands a second."""
        ...

    def log(self, line: str) -> None:
        """Add a line to the task's log."""
        ...


async def _keep_no_manifest(backup_id: str, manifest: bytes) -> None:
    return


async def _read_no_manifest(backup_id: str) -> bytes | None:
    return None


async def _read_no_catalog(path: str) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Site:
    """A checked-out service on a node, with the tools to work on it."""

    node: str
    task: str
    #: The service's name, its folder on this node, and where this agent may put things aside.
    service: str
    folder: Path
    aside: Path
    #: What the agent remembers of the service: a folder that may not be there yet.
    state: Path
    compose: Compose
    docker: Docker
    notes: Notes
    #: None on a node that cannot reach the repository, or when no service has `infra.rustic`.
    repository: Engine | None = None
    #: The repository off site that the operation copies to; None for all others.
    offsite: Engine | None = None
    #: None on a node without Caddy, and where the operation does not care for it.
    caddy: Caddy | None = None
    #: Whether a folder without anything in it may be saved: a service that moves may have one.
    empty_is_fine: bool = False
    #: What is written on the snapshots that are made here, besides whose they are.
    marks: tuple[str, ...] = ()
    #: Whether files of the catalog were changed on this node for the operation.
    files_changed: bool = False
    #: Send what an item looked like when it was saved to the controller, and ask for it again
    #: (None where nobody kept it); both raise Failure where the controller does not answer.
    keep_manifest: Callable[[str, bytes], Awaitable[None]] = _keep_no_manifest
    read_manifest: Callable[[str], Awaitable[bytes | None]] = _read_no_manifest
    #: Dial the wire of this name and wait for the other node; raises WireCut where it does not
    #: come. The question that this site is made for must name the wire.
    wire: Callable[[str], AbstractAsyncContextManager[Wire]] = no_wire
    #: A file of the service's folder as the catalog has it at the question's revision, whatever
    #: is checked out here; None where the catalog has none. Raises Failure.
    read_catalog: Callable[[str], Awaitable[bytes | None]] = _read_no_catalog

    @property
    def repo_dir(self) -> Path:
        """Where the folders of all services of this node are."""
        return self.aside.parent

    @property
    def state_dir(self) -> Path:
        """Where the agent keeps what it remembers."""
        return self.state.parent.parent

    @property
    def engine(self) -> Engine:
        """The repository. Raises Failure where there is none."""
        if self.repository is None:
            raise Failure(
                f"node {self.node} does not hold the repository",
                hint="Back up on one of controller.rustic.main_nodes, or add this node to them.",
            )
        return self.repository

    def labels(self, item: str) -> Labels:
        """Whose data a snapshot of the item holds."""
        return Labels(
            node=self.node, service=self.service, item=item, task=self.task, marks=self.marks
        )


class Strategy(BaseModel, ABC):
    """How one data item is saved or brought back."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    strategy: str


class Saved(BaseModel):
    """What a strategy saved: the snapshot and what must be known beside it."""

    model_config = ConfigDict(frozen=True)

    snapshot: Snapshot
    #: What the source looked like, as tools.manifest writes it; None for a stream.
    manifest: bytes | None = None
    #: Paths that could not be read, as people know them: the backup is partial. The first of them,
    #: and how many more there are; the manifest has them all.
    unread: tuple[str, ...] = ()
    more_unread: int = 0
    #: Paths that changed while they were read, as people know them (`./data/x`, `cache/x`); the
    #: manifest marks the same paths by its own names, and all of them.
    changed: tuple[str, ...] = ()
    more_changed: int = 0
    #: What there was nothing in, as people know it, where that is fine: no whole backup either.
    empty: tuple[str, ...] = ()
    #: Other remarks for people.
    warnings: tuple[str, ...] = ()


class BackupStrategy(Strategy):
    """How one data item is saved."""

    needs: ClassVar[Needs]

    async def check(self, site: Site) -> None:
        """Raise Failure for what can be seen to be missing before anything stops for the item."""
        return

    @abstractmethod
    async def save(self, item: str, site: Site) -> Saved:
        """Save the item into the repository. Called with the service in the state it `needs`.

        Raises Failure when nothing, or nothing whole, could be saved: then no snapshot is left.
        """


class Swap(BaseModel):
    """One exchange: the live path, what takes its place, and what it is in the compose file."""

    model_config = ConfigDict(frozen=True)

    live: AnyPath
    staged: AnyPath
    #: The folder above `live` that no symbolic link may lead out of.
    below: AnyPath
    #: How a user knows it: `./data/uploads` or a volume's compose key.
    known_as: str
    #: The real Docker volume, where it is one.
    volume: str | None = None
    #: False where live is a mount point or on another driver: children are moved one by one.
    atomic: bool = True
    #: The volume that `staged` lies in, where one was made for it.
    staging_volume: str | None = None
    #: Paths below `live` that the backup left out: they come along from the data that is replaced.
    carry: tuple[AnyPath, ...] = ()


class Staged(BaseModel):
    """Data that was fetched and checked beside the live data, ready to take its place."""

    model_config = ConfigDict(frozen=True)

    #: (live path, staged path) pairs of one file system each: exchanging them is one rename.
    swaps: tuple[Swap, ...]
    #: Bytes and files that were fetched, and remarks for people.
    size: int = 0
    files: int = 0
    warnings: tuple[str, ...] = ()


class Wanted(BaseModel):
    """The backup that a restore starts from."""

    model_config = ConfigDict(frozen=True)

    item: str
    backup_id: str
    snapshot_id: str
    #: What that snapshot is a copy of: other copies of the same name it too.
    original: str | None = None
    #: The strategy that saved it: a dump is restored otherwise than files.
    saved_by: str
    #: What the backup's strategy excluded: carried across from the live data.
    exclude: tuple[str, ...] = ()
    #: Only this path of the item, as ListSnapshot names it: `files/data/uploads/logo.png`.
    path: str | None = None

    @property
    def root(self) -> str:
        """The same for the snapshot and all its copies."""
        return self.original or self.snapshot_id


class RestoreStrategy(Strategy):
    """How one data item is brought back."""

    async def check(self, wanted: Wanted, site: Site) -> None:
        """Raise Conflict for what can be seen to stand in the way before anything is fetched."""
        return

    @abstractmethod
    async def fetch(self, wanted: Wanted, site: Site) -> Staged:
        """Fetch the snapshot whole, check it, and leave it beside the live data.

        Touches nothing live. Raises Failure when the snapshot is not whole.
        """
