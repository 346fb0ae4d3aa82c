"""What the API asks of the controller: its parts, as `controller/controller.py` has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol

from composia.controller.api.views import Overview
from composia.controller.auth import Gate
from composia.controller.catalog import CatalogFile, CatalogStatus
from composia.controller.changes import Changes
from composia.model.backup import Backup, BackupDay, Counted
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.node import NodeState
from composia.model.notification import Notification, Tried
from composia.model.offsite import CopyState, ReadPart
from composia.model.schedule import Overdue
from composia.model.session import Session
from composia.model.shown import ScheduleView
from composia.model.task import Key, OpenMove, Task
from composia.operations.readings import Reading
from composia.tools.git import Commit
from composia.workflows import AnyPlan
from composia.workflows.plan import Plan


class Admit(Protocol):
    async def submit(
        self,
        plan: Plan,
        *,
        created_by: str,
        source: str,
        idempotency_key: str | None = None,
        asked: str | None = None,
    ) -> Task:
        """Raises Conflict where something else holds it; a key seen before is its task again."""
        ...

    async def first_of(self, key: Key | None) -> Task | None:
        """The task of a key that was seen before. Raises Conflict for one of another request."""
        ...


class Runner(Protocol):
    """A `key` is kept with what was asked for under it. Raises Conflict for one that was seen."""

    async def cancel(self, task: str, key: Key | None = None) -> Task:
        """Raises NotFound, or Conflict where nothing is left to cancel."""
        ...

    async def retry(self, task: str, key: Key | None = None) -> Task:
        """The same task, one attempt more. Raises NotFound, or Conflict with the reason."""
        ...

    async def abandon(self, task: str, key: Key | None = None) -> Task:
        """End it without a node's answer. Raises NotFound, or Conflict where that is no use."""
        ...


class Store(Protocol):
    """Lists come newest first; `before` is the id of the last one of the page before."""

    async def task(self, task: str) -> Task | None: ...

    async def plan(self, task: str) -> AnyPlan | None:
        """Raises Conflict for one that this version cannot read."""
        ...

    async def way_of(self, service: str, node: str) -> Sequence[str]: ...

    async def tasks(
        self,
        *,
        services: Sequence[str] | None = None,
        node: str | None = None,
        type: str | None = None,  # noqa: A002  # a field's name
        status: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Task]: ...

    async def backup(self, backup: str) -> Backup | None: ...

    async def backups(
        self,
        *,
        services: Sequence[str] | None = None,
        data_item: str | None = None,
        node: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Backup]: ...

    async def newest_backups(
        self, services: Sequence[str] | None = None, *, good: bool = False
    ) -> Sequence[Backup]:
        """The newest of each item on each node; `good`: of those that can be restored."""
        ...

    async def counted_backups(self) -> Counted: ...

    async def backup_days(
        self, since: datetime, services: Sequence[str] | None = None
    ) -> Sequence[BackupDay]:
        """Of each day with a backup, the oldest first."""
        ...

    async def repository_id(self) -> str | None: ...

    async def notification(self, notification: str) -> Notification | None: ...

    async def notifications(
        self,
        *,
        services: Sequence[str] | None = None,
        state: str | None = None,
        event: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Notification]: ...

    async def acknowledge(self, notification: str, by: str, at: datetime) -> None:
        """One that is settled stays as it is."""
        ...

    async def copies(self) -> Mapping[str, CopyState]: ...

    async def read_part(self) -> ReadPart | None: ...

    async def open_moves(self) -> Sequence[OpenMove]: ...

    async def keep_session(self, session: Session) -> None: ...

    async def session(self, digest: str) -> Session | None: ...

    async def use_session(self, digest: str, at: datetime) -> None: ...

    async def end_session(self, digest: str) -> None: ...

    async def end_sessions_of(self, token: str) -> None: ...

    async def prune_sessions(self, *, created_before: datetime, used_before: datetime) -> None: ...


class Notifier(Protocol):
    async def test(self) -> list[Tried]:
        """A message to every target, and whether it arrived."""
        ...


class Scheduler(Protocol):
    async def views(self) -> list[ScheduleView]:
        """Every schedule with its last, next, waiting and missed times."""
        ...

    async def overdue(self) -> Sequence[Overdue]:
        """Data items whose last good backup is older than their schedule allows."""
        ...


class Nodes(Protocol):
    def states(self) -> Mapping[str, NodeState | None]:
        """Every node of config.yaml as it was last seen; None: never since the start."""
        ...

    def online(self, node: str) -> bool: ...

    def needs_update(self, node: str) -> bool: ...

    def last_seen(self, node: str) -> datetime | None: ...

    def read(
        self, node: str, reading: Reading
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Raises what the node raised before the first byte; leaving ends the reading."""
        ...


class Logs(Protocol):
    async def read(self, task: str) -> str: ...

    def follow(self, task: str) -> AsyncIterator[str]:
        """Line by line from the first, until the task has ended."""
        ...


class Event(Protocol):
    """`kind`: task, backup, node or service; `data`: what there is to show."""

    @property
    def kind(self) -> str: ...

    @property
    def service(self) -> str | None: ...

    @property
    def data(self) -> Mapping[str, Any]: ...


class Events(Protocol):
    @property
    def mark(self) -> str:
        """Where the telling stands: another one after each event."""
        ...

    def subscribe(self) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Listen from now on."""
        ...


class Catalog(Protocol):
    @property
    def status(self) -> CatalogStatus: ...

    def view(self) -> CatalogView: ...

    async def pull(self) -> CatalogStatus:
        """Take what the remote has now; the status says what was in the way."""
        ...

    async def catch_up(self, service: str) -> None:
        """Take what was pushed just now, as far as the remote answers soon."""
        ...

    async def files(self, below: str = "", revision: str | None = None) -> tuple[str, ...]: ...

    async def read(self, path: str, revision: str | None = None) -> CatalogFile:
        """A file, now or at a revision. Raises NotFound."""
        ...

    async def history(
        self, path: str | None = None, limit: int = 50, revision: str | None = None
    ) -> Sequence[Commit]:
        """The newest commits, of one file or folder or of all."""
        ...

    async def commit(self, revision: str, path: str) -> Changes:
        """What it has changed at and below a path. Raises NotFound for one that has not."""
        ...

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        if_match: str | None,
        author: str | None = None,
        message: str | None = None,
    ) -> str:
        """Commit a file; the new revision. Raises Stale, Conflict, Failure."""
        ...


class Office(Protocol):
    """The controller. Configuration and gate are other ones after a reload."""

    @property
    def config(self) -> ControllerConfig: ...

    @property
    def gate(self) -> Gate: ...

    @property
    def admit(self) -> Admit: ...

    @property
    def runner(self) -> Runner: ...

    @property
    def store(self) -> Store: ...

    @property
    def nodes(self) -> Nodes: ...

    @property
    def logs(self) -> Logs: ...

    @property
    def events(self) -> Events: ...

    @property
    def overview(self) -> Overview: ...

    @property
    def notifier(self) -> Notifier: ...

    @property
    def scheduler(self) -> Scheduler: ...

    @property
    def catalog(self) -> Catalog: ...

    async def reload(self) -> list[str]:
        """Read config.yaml again; what of READ_AT_START changed. Raises Invalid, keeps all then."""
        ...
