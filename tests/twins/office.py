"""The controller in memory, as the API sees it: tasks are admitted and never carried out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from composia.controller.api.views import Overview
from composia.controller.auth import Gate
from composia.controller.catalog import CatalogFile, CatalogStatus
from composia.controller.changes import Changes, FileChange
from composia.controller.worktree import CatalogState
from composia.errors import Conflict, NotFound, Problem, Stale
from composia.model.backup import Backup, BackupDay, BackupStatus, Counted
from composia.model.catalog import Broken, CatalogView, Service
from composia.model.config import AccessToken, ControllerConfig
from composia.model.meta import Meta
from composia.model.node import Container, Disk, Instance, Mount, NodeState, Versions
from composia.model.notification import EventName, Notification, NotificationState, Tried
from composia.model.offsite import CopyState, ReadPart
from composia.model.schedule import Overdue
from composia.model.service import ServiceRef
from composia.model.session import Session
from composia.model.shown import ScheduleView
from composia.model.task import Key, OpenMove, Status, Task, TaskError
from composia.operations.readings import ContainerLogs, ListSnapshot, Reading
from composia.operations.surveying import SourceSeen, SurveySource, SurveyTarget, TargetSeen
from composia.tools.git import Commit, Person
from composia.workflows import AnyPlan
from composia.workflows.plan import Plan

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)
REVISION = "a" * 40
REPOSITORY = "f" * 64
SNAPSHOT = "5" * 64
ROOMY = TargetSeen(free=1 << 40, free_for_volumes=1 << 40)
PROBLEM = Problem(
    loc=("nmae",), msg="unknown key; did you mean `name`?", file="Bad/composia-meta.yaml"
)

MY_APP: dict[str, Any] = {
    "name": "my-app",
    "nodes": ["main"],
    "network": {"dns": {"provider": "ddns", "hostname": "app.example.org"}},
    "data_protect": {
        "data": [
            {
                "name": "uploads",
                "backup": {
                    "strategy": "files.copy",
                    "include": ["./data/uploads"],
                    "exclude": ["./data/uploads/temp"],
                },
                "restore": {"strategy": "files.copy", "include": ["./data/uploads"]},
            },
            {
                "name": "database",
                "backup": {"strategy": "database.pgdumpall", "service": "postgres"},
                "restore": {"strategy": "database.pgimport", "service": "postgres"},
            },
            {"name": "legacy", "restore": {"strategy": "files.copy", "include": ["./old/"]}},
        ]
    },
    "backup": {"data": [{"name": "uploads"}, {"name": "database"}]},
}
INFRA: dict[str, Any] = {
    "name": "infra-backup",
    "nodes": ["main"],
    "infra": {"rustic": {"compose_service": "rustic", "profile": "default"}},
}


def service(text: Mapping[str, Any], folder: str | None = None) -> Service:
    """A service as the catalog has it, from what its meta file says."""
    meta = Meta.model_validate_json(json.dumps(text))
    return Service(
        meta=meta,
        ref=ServiceRef(
            name=meta.name,
            folder=folder or meta.name,
            project=meta.project,
            compose_files=("docker-compose.yaml",),
            revision=REVISION,
        ),
    )


def container(project: str, name: str, state: str = "running", folder: str = "") -> Container:
    """A container that compose started in the service's folder."""
    return Container(
        id="c" * 64,
        name=f"{project}-{name}-1",
        project=project,
        compose_service=name,
        image="busybox:lab",
        state=state,
        working_dir=folder or f"/srv/{project}",
    )


def node_state(*containers: Container, mounts: tuple[Mount, ...] = ()) -> NodeState:
    """A node whose agent keeps its services under /srv."""
    projects = {one.project for one in containers}
    return NodeState(
        versions=Versions(composia="0.1.0", docker="26.1", compose="2.26"),
        repo_dir="/srv",
        docker=True,
        containers=containers,
        instances=tuple(
            Instance(service=name, folder=name, project=name, revision=REVISION, mounts=mounts)
            for name in sorted(projects)
        ),
        disks=(Disk(path="/srv", total=1000, free=500),),
        now=NOW,
    )


def backup(id: str = "01B1", **fields: Any) -> Backup:  # noqa: A002  # a field's name
    """A good backup of the uploads on main."""
    return Backup(
        **{
            "id": id,
            "service": "my-app",
            "data_item": "uploads",
            "node": "main",
            "snapshot_id": SNAPSHOT,
            "status": BackupStatus.SUCCESS,
            "time": NOW,
            "strategy": "files.copy",
            "added": 10,
        }
        | fields
    )


def notification(id: str = "01N1", **fields: Any) -> Notification:  # noqa: A002  # a field's name
    """A failed backup of the uploads on main."""
    return Notification(
        **{
            "id": id,
            "event": EventName.BACKUP_FAILED,
            "state": NotificationState.OPEN,
            "service": "my-app",
            "node": "main",
            "data_item": "uploads",
            "subject": "backup:my-app/uploads@main",
            "title": "Backup failed: uploads of my-app on main",
            "reason": "./data/uploads is not there",
            "time": NOW,
            "since": NOW,
        }
        | fields
    )


TOKENS = (
    AccessToken.model_validate_json('{"name": "admin", "token": "admin-token"}'),
    AccessToken.model_validate_json('{"name": "eyes", "token": "read-token", "scope": "read"}'),
    AccessToken.model_validate_json(
        '{"name": "hands", "token": "operate-token", "scope": "operate", "services": ["other"]}'
    ),
    AccessToken.model_validate_json('{"name": "old", "token": "old-token", "enabled": false}'),
)


def config() -> ControllerConfig:
    """Two nodes, of which main holds the repository."""
    text = """{"nodes": [{"id": "main", "token": "m", "public_ipv4": "203.0.113.10"},
                         {"id": "edge", "token": "e", "public_ipv4": "203.0.113.20"}],
               "dns": {"ddns": {"nameserver": "192.0.2.53", "keyname": "composia",
                                "keysecret": "c2VjcmV0", "zones": ["example.org"]}},
               "rustic": {"main_nodes": ["main"]}}"""
    return ControllerConfig.model_validate_json(text).model_copy(update={"access_tokens": TOKENS})


@dataclass
class MemoryStore:
    admitted: dict[str, tuple[Task, Plan]] = field(default_factory=dict)
    records: list[Backup] = field(default_factory=list)
    repository: str | None = REPOSITORY
    #: Tasks whose plans another version has made.
    unreadable: set[str] = field(default_factory=set)
    part_read: ReadPart | None = None
    copied: dict[str, CopyState] = field(default_factory=dict)
    notices: dict[str, Notification] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)

    async def task(self, task: str) -> Task | None:
        return self.admitted[task][0] if task in self.admitted else None

    async def way_of(self, service: str, node: str) -> Sequence[str]:
        return ()

    async def plan(self, task: str) -> AnyPlan | None:
        if task in self.unreadable:
            raise Conflict(f"task {task} was planned by another version of Composia")
        return self.admitted[task][1] if task in self.admitted else None  # type: ignore[return-value]  # all plans are of the union

    async def tasks(self, **wanted: Any) -> Sequence[Task]:
        found = [task for task, _ in reversed(self.admitted.values()) if _fits(task, wanted)]
        return found[: wanted.get("limit")]

    async def backup(self, backup: str) -> Backup | None:
        return next((record for record in self.records if record.id == backup), None)

    async def backups(self, **wanted: Any) -> Sequence[Backup]:
        newest = sorted(self.records, key=lambda record: record.id, reverse=True)
        return [record for record in newest if _fits(record, wanted)][: wanted.get("limit")]

    async def newest_backups(
        self, services: Sequence[str] | None = None, *, good: bool = False
    ) -> Sequence[Backup]:
        newest: dict[tuple[str, str, str], Backup] = {}
        for one in sorted(self.records, key=lambda one: one.id):
            wanted = services is None or one.service in services
            if wanted and (not good or (one.is_whole and not one.missing)):
                newest[one.service, one.data_item, one.node] = one
        return list(newest.values())

    async def backup_days(
        self, since: datetime, services: Sequence[str] | None = None
    ) -> Sequence[BackupDay]:
        days: dict[date, Counter[str]] = {}
        for one in sorted(self.records, key=lambda one: one.time):
            if one.time >= since and (services is None or one.service in services):
                kind = {"success": "good", "failed": "failed"}.get(one.status, "partial")
                days.setdefault(one.time.date(), Counter()).update([kind])
        return [BackupDay(day=day, **counts) for day, counts in days.items()]

    async def counted_backups(self) -> Counted:
        records = [one for one in self.records if one.snapshot_id]
        kept = [one for one in records if not one.missing]
        proven = [one.verified_at is not None and not one.damaged for one in kept]
        unproven = [
            one.status is BackupStatus.UNPROVEN and not known
            for one, known in zip(kept, proven, strict=True)
        ]
        return Counted(
            snapshots=len(kept),
            added=sum(one.added for one in kept),
            missing=len(records) - len(kept),
            unproven=sum(unproven),
        )

    async def repository_id(self) -> str | None:
        return self.repository

    async def copies(self) -> Mapping[str, CopyState]:
        return self.copied

    async def read_part(self) -> ReadPart | None:
        return self.part_read

    async def open_moves(self) -> Sequence[OpenMove]:
        return ()

    async def notification(self, notification: str) -> Notification | None:
        return self.notices.get(notification)

    async def notifications(self, **wanted: Any) -> Sequence[Notification]:
        newest = sorted(self.notices.values(), key=lambda one: one.id, reverse=True)
        return [one for one in newest if _is_told(one, wanted)][: wanted.get("limit")]

    async def acknowledge(self, notification: str, by: str, at: datetime) -> None:
        changes = {"state": NotificationState.ACKNOWLEDGED, "acknowledged_by": by}
        found = self.notices[notification]
        self.notices[notification] = found.model_copy(update={**changes, "acknowledged_at": at})

    async def keep_session(self, session: Session) -> None:
        self.sessions[session.digest] = session

    async def session(self, digest: str) -> Session | None:
        return self.sessions.get(digest)

    async def use_session(self, digest: str, at: datetime) -> None:
        self.sessions[digest] = self.sessions[digest].model_copy(update={"used_at": at})

    async def end_session(self, digest: str) -> None:
        self.sessions.pop(digest, None)

    async def end_sessions_of(self, token: str) -> None:
        self.sessions = {key: one for key, one in self.sessions.items() if one.token != token}

    async def prune_sessions(self, *, created_before: datetime, used_before: datetime) -> None:
        self.sessions = {
            digest: one
            for digest, one in self.sessions.items()
            if one.created_at >= created_before and one.used_at >= used_before
        }


def _is_told(one: Notification, wanted: Mapping[str, Any]) -> bool:
    named = {key: wanted.get(key) for key in ("state", "event")}
    if any(value is not None and getattr(one, key) != value for key, value in named.items()):
        return False
    if wanted.get("services") is not None and one.service not in wanted["services"]:
        return False
    return wanted.get("before") is None or one.id < wanted["before"]


class MemoryScheduler:
    """What it shows is what a test gives it."""

    def __init__(self) -> None:
        self.shown: list[ScheduleView] = []
        self.late: list[Overdue] = []

    async def views(self) -> list[ScheduleView]:
        return self.shown

    async def overdue(self) -> Sequence[Overdue]:
        return self.late


class MemoryNotifier:
    """One target, which is there."""

    def __init__(self) -> None:
        self.tried = [Tried(target="urls[0] (json)", ok=True)]

    async def test(self) -> list[Tried]:
        return self.tried


def _fits(row: Task | Backup, wanted: Mapping[str, Any]) -> bool:
    named = {key: wanted.get(key) for key in ("data_item", "type", "status")}
    if any(value is not None and getattr(row, key) != value for key, value in named.items()):
        return False
    if wanted.get("services") is not None and row.service not in wanted["services"]:
        return False
    nodes = row.nodes if isinstance(row, Task) else (row.node,)
    if wanted.get("node") is not None and wanted["node"] not in nodes:
        return False
    return wanted.get("before") is None or row.id < wanted["before"]


@dataclass
class MemoryAdmit:
    store: MemoryStore
    #: What was asked for under each, and its task.
    keys: dict[str, tuple[Key, str]] = field(default_factory=dict)
    #: How every task is from its beginning on: as if it had been carried out at once.
    status: Status = Status.PENDING
    error: TaskError | None = None

    async def submit(
        self,
        plan: Plan,
        *,
        created_by: str,
        source: str,
        idempotency_key: str | None = None,
        asked: str | None = None,
    ) -> Task:
        key = Key.of(created_by, idempotency_key, asked or "")
        if first := await self.first_of(key):
            return first
        task = Task(
            id=f"01T{len(self.store.admitted):05}",
            type=plan.plan,
            service=plan.service_name,
            nodes=plan.nodes,
            status=self.status,
            error=self.error,
            title=str(plan),
            created_by=created_by,
            source=source,
            created_at=NOW,
            actions=("cancel",),
        )
        self.store.admitted[task.id] = (task, plan)
        self.keep(task.id, key)
        return task

    def keep(self, task: str, key: Key | None) -> None:
        """What was asked for under it."""
        if key:
            self.keys[key.idempotency_key] = key, task

    async def first_of(self, key: Key | None) -> Task | None:
        if key is None or key.idempotency_key not in self.keys:
            return None
        before, first = self.keys[key.idempotency_key]
        if before != key:
            raise Conflict(f"this Idempotency-Key belongs to task {first}")
        return self.store.admitted[first][0]

    def end(self, task: str, status: Status = Status.SUCCEEDED) -> None:
        """As if it had been carried out."""
        row, plan = self.store.admitted[task]
        self.store.admitted[task] = (row.model_copy(update={"status": status}), plan)


@dataclass
class MemoryRunner:
    admit: MemoryAdmit

    async def cancel(self, task: str, key: Key | None = None) -> Task:
        row, _ = self.admit.store.admitted[task]
        if row.status.ended:
            raise Conflict(f"task {task} has ended")
        self.admit.end(task, Status.CANCELLED)
        self.admit.keep(task, key)
        return self.admit.store.admitted[task][0]

    async def retry(self, task: str, key: Key | None = None) -> Task:
        row, _ = self.admit.store.admitted[task]
        if row.status is not Status.FAILED:
            raise Conflict(f"task {task} is {row.status}: only a failed one can be tried again")
        self.admit.keep(task, key)
        return row

    async def abandon(self, task: str, key: Key | None = None) -> Task:
        raise Conflict(f"task {task} waits for nobody")


@dataclass
class MemoryReadings:
    """Nodes that read out what they are told to."""

    known: dict[str, NodeState | None]
    offline: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=lambda: {"files/data/uploads/a.txt": b"hello"})
    asked: list[Reading] = field(default_factory=list)
    #: What containers say, and what both nodes of a move look like.
    said: bytes = b"web-1  | ready\n"
    source: SourceSeen = field(default_factory=lambda: SourceSeen(running=("web",)))
    target: TargetSeen = field(default_factory=lambda: ROOMY)

    def states(self) -> Mapping[str, NodeState | None]:
        return self.known

    def online(self, node: str) -> bool:
        return self.known.get(node) is not None and node not in self.offline

    def needs_update(self, node: str) -> bool:
        return False

    def last_seen(self, node: str) -> datetime | None:
        return NOW if self.known[node] else None

    @asynccontextmanager
    async def read(self, node: str, reading: Reading) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append(reading)
        yield self._chunks(reading)

    async def _chunks(self, reading: Reading) -> AsyncIterator[bytes]:
        if isinstance(reading, ListSnapshot):
            for path, content in self._children(reading.path):
                size = len(self.files.get(path, b"")) or None
                line = json.dumps({"path": path, "type": content, "size": size})
                yield f"{line}\n".encode()
        elif isinstance(reading, ContainerLogs):
            yield self.said
        elif isinstance(reading, SurveySource | SurveyTarget):
            seen = self.source if isinstance(reading, SurveySource) else self.target
            yield seen.model_dump_json().encode()
        else:
            yield self.files.get(getattr(reading, "path", ""), b"tar")

    def _children(self, path: str) -> list[tuple[str, str]]:
        below = f"{path}/" if path else ""
        found: dict[str, str] = {}
        for name in self.files:
            if name.startswith(below):
                first, more, _ = name[len(below) :].partition("/")
                found[below + first] = "dir" if more else "file"
        return list(found.items())


class MemoryLogs:
    async def read(self, task: str) -> str:
        return "one\ntwo\n"

    async def follow(self, task: str) -> AsyncIterator[str]:
        for line in ("one", "two"):
            yield line


@dataclass(frozen=True)
class MemoryEvent:
    kind: str
    service: str | None
    data: Mapping[str, Any]


@dataclass
class MemoryEvents:
    """Events that are all there is: then the stream ends."""

    mark = "start.0"
    all: tuple[MemoryEvent, ...] = (
        MemoryEvent("task", "my-app", {"id": "01T00000"}),
        MemoryEvent("task", None, {"id": "01TPRUNE"}),
        MemoryEvent("node", None, {"id": "main"}),
    )

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[AsyncIterator[MemoryEvent]]:
        yield self._stream()

    async def _stream(self) -> AsyncIterator[MemoryEvent]:
        for one in self.all:
            yield one


@dataclass
class MemoryCatalog:
    known: CatalogView
    content: dict[str, bytes] = field(
        default_factory=lambda: {"my-app/composia-meta.yaml": b"name: my-app\n"}
    )
    #: The files as they were at earlier revisions.
    past: dict[str, dict[str, bytes]] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)
    #: What the remote has, and the work tree only when somebody catches up.
    pushed: CatalogView | None = None
    state: CatalogState = CatalogState.FRESH
    uncommitted: tuple[str, ...] = ()
    changed: dict[str, tuple[FileChange, ...]] = field(default_factory=dict)

    def view(self) -> CatalogView:
        return self.known

    @property
    def status(self) -> CatalogStatus:
        return CatalogStatus(
            state=self.state,
            revision=self.known.revision,
            pulled_at=NOW,
            uncommitted=self.uncommitted,
        )

    async def pull(self) -> CatalogStatus:
        self.known = self.pushed or self.known
        return self.status

    async def catch_up(self, service: str) -> None:
        self.known = self.pushed or self.known

    async def files(self, below: str = "", revision: str | None = None) -> tuple[str, ...]:
        return tuple(sorted(self.content))

    async def read(self, path: str, revision: str | None = None) -> CatalogFile:
        at = revision or self.known.revision
        content = self.past.get(at, self.content)
        if path not in content:
            raise NotFound(f"there is no file {path} in the catalog")
        return CatalogFile(path=path, revision=at, content=content[path])

    async def history(
        self, path: str | None = None, limit: int = 50, revision: str | None = None
    ) -> Sequence[Commit]:
        there = [one.revision for one in self.commits]
        if revision in (None, self.known.revision):
            return self.commits[:limit]
        at = there.index(revision) if revision in there else len(there)
        return self.commits[at : at + limit]

    async def commit(self, revision: str, path: str) -> Changes:
        found = next((one for one in self.commits if one.revision == revision), None)
        files = [one for one in self.changed.get(revision, ()) if one.path.startswith(f"{path}/")]
        if found is None or not files:
            raise NotFound(f"the commit {revision[:12]} has changed nothing in {path}")
        return Changes(commit=found, files=tuple(files))

    async def write_back(
        self, service: str, folder: str, nodes: Sequence[str], was: Sequence[str]
    ) -> str:
        return self.known.revision

    async def write(
        self,
        path: str,
        content: bytes,
        *,
        if_match: str | None,
        author: str | None = None,
        message: str | None = None,
    ) -> str:
        if if_match not in (self.known.revision, "*"):
            raise Stale("the catalog has moved on", hint="Read the file again.")
        self.past[self.known.revision] = dict(self.content)
        self.content[path] = content
        revision = f"{len(self.past):040x}"
        who = Person(author or "composia", "composia@example.org")
        self.commits.insert(0, Commit(revision, who, NOW, message or f"Change {path}"))
        self.known = self.known.model_copy(update={"revision": revision})
        return revision


class MemoryOffice:
    """All of it, for one test."""

    def __init__(self) -> None:
        self.config = config()
        self.gate = Gate(TOKENS)
        self.store = MemoryStore(
            records=[
                backup(),
                backup("01B2", data_item="database", strategy="database.pgdumpall"),
                backup("01B3", status=BackupStatus.FAILED, snapshot_id=None, error="disk full"),
            ]
        )
        self.admit = MemoryAdmit(self.store)
        self.runner = MemoryRunner(self.admit)
        mounts = (Mount(kind="volume", source="cache", used_by=("web",)),)
        self.nodes = MemoryReadings(
            {
                "main": node_state(
                    container("my-app", "web"), container("my-app", "postgres"), mounts=mounts
                ),
                "edge": node_state(),
            }
        )
        self.logs = MemoryLogs()
        self.events = MemoryEvents()
        self.overview = Overview()
        self.notifier = MemoryNotifier()
        self.scheduler = MemoryScheduler()
        services = [service(MY_APP), service(INFRA), service({"name": "other", "nodes": ["main"]})]
        self.catalog = MemoryCatalog(
            CatalogView(
                revision=REVISION,
                services={one.name: one for one in services},
                broken=(Broken(folder="Bad", name=None, problems=(PROBLEM,)),),
            )
        )
        self.reloads = 0
        #: What a reload finds changed that only a restart takes.
        self.needs_restart: list[str] = []

    async def reload(self) -> list[str]:
        self.reloads += 1
        return self.needs_restart
