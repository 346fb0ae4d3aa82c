"""A controller in memory with a little of everything, for pages to show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from composia.controller.events import Event, Events
from composia.errors import Problem
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.catalog import Broken, CatalogView
from composia.model.node import Disk, Mount
from composia.model.schedule import Kind
from composia.model.shown import LastRunView, MissedRunView, ScheduleView, WaitingRunView
from composia.model.task import (
    Status,
    Step,
    StepError,
    StepProgress,
    Task,
    TaskError,
    Waiting,
)
from composia.workflows.backup import BackupRequest, plan_backup
from composia.workflows.known import Known
from composia.workflows.service import ServiceRequest, plan_deploy
from tests.pages.removals import settle
from tests.pages.safeguards import safeguard
from tests.twins.office import (
    INFRA,
    MY_APP,
    REPOSITORY,
    REVISION,
    MemoryOffice,
    container,
    node_state,
    service,
)

HOSTILE = '<img src=x onerror="alert(1)"> \u202eevil\u202c ' + "long" * 60
GUESTBOOK: dict[str, Any] = {
    "name": "guestbook",
    "nodes": ["main", "edge"],
    "data_protect": {
        "data": [
            {
                "name": "entries",
                "backup": {"strategy": "files.tar_after_stop", "include": ["entries"]},
                "restore": {"strategy": "files.copy", "include": ["entries"]},
            }
        ]
    },
    "backup": {"data": [{"name": "entries"}]},
}
MOVE = "01T90002"
RUNNING = "01T90001"
FAILED = "01T90000"


class LiveLogs:
    """Logs with what programs write: colours, markup, and much of it."""

    def __init__(self) -> None:
        self.lines = [
            "2026-11-24T04:00:00Z save_data on main: \x1b[32mscanning\x1b[0m /data/uploads",
            "2026-11-24T04:00:01Z save_data on main: <script>alert(1)</script>",
            "2026-11-24T04:00:01Z save_data on main: \u202etxt.exe\u202c is a name",
            *(f"2026-11-24T04:00:02Z save_data on main: file {n:05}.jpg" for n in range(60)),
            "".join(f"\x1b[{side}{hue}m {hue} \x1b[0m" for side in "349" for hue in range(8)),
            "\x1b[1mbold\x1b[0m \x1b[2mfaint\x1b[0m \x1b[7mturned\x1b[0m \x1b[100mgrey\x1b[0m",
        ]

    async def read(self, task: str) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    async def follow(self, task: str) -> AsyncIterator[str]:
        for line in self.lines:
            yield line


def seeded(key: str = HOSTILE) -> MemoryOffice:
    """Two nodes, five services of which one is broken, tasks in every state, backups of weeks."""
    office, now = MemoryOffice(), datetime.now(UTC)
    office.events = Events()  # type: ignore[assignment]  # the real ones: pages listen for long
    office.logs = LiveLogs()  # type: ignore[assignment]  # with more to say
    services = [service(MY_APP), service(INFRA), service(GUESTBOOK)]
    services.append(service({"name": "wiki", "nodes": ["edge"], "enabled": False}))
    problem = Problem(loc=("nmae",), msg=f"unknown key {key}", file="Bad/composia-meta.yaml")
    office.catalog.known = CatalogView(
        revision=REVISION,
        services={one.name: one for one in services},
        broken=(Broken(folder="Bad", name=None, problems=(problem,)),),
    )
    mounts = (
        Mount(kind="volume", source="cache", used_by=("web",)),
        Mount(kind="bind", source="./data/uploads", used_by=("web",)),
    )
    main = node_state(
        container("my-app", "web").model_copy(
            update={"health": "healthy", "started_at": now - timedelta(hours=5)}
        ),
        container("my-app", "postgres"),
        container("guestbook", "web"),
        container("infra-backup", "rustic", "exited"),
        mounts=mounts,
    )
    disk = Disk(path="/srv", total=500 * 2**30, free=211 * 2**30)
    office.nodes.known = {
        "main": main.model_copy(update={"disks": (disk,)}),
        "edge": node_state(container("guestbook", "web", "restarting")),
    }
    office.nodes.offline = {"edge"}
    office.store.records = _backups(now)
    safeguard(office, now)
    settle(office, now)
    _tasks(office, now)
    office.scheduler.shown = _schedules(now)
    return office


def empty(office: MemoryOffice) -> None:
    """A controller on its first day: no node, no service, nothing done."""
    office.catalog.known = CatalogView(revision=REVISION, services={}, broken=())
    office.config = office.config.model_copy(update={"nodes": ()})
    office.nodes.known, office.nodes.offline = {}, set()
    office.store.records, office.store.admitted, office.store.notices = [], {}, {}
    office.scheduler.shown = []


def _backups(now: datetime) -> list[Backup]:
    found = []
    for day in range(24, -1, -1):
        for place, item in enumerate(("uploads", "database")):
            size = (5 if place else 340) * 2**20 + (24 - day) * 7 * 2**20
            found.append(
                Backup(
                    id=f"01B{24 - day:05}{place}",
                    service="my-app",
                    data_item=item,
                    node="main",
                    snapshot_id=f"{day:02x}{place}" * 21 + "a",
                    status=BackupStatus.PARTIAL if day == 9 else BackupStatus.SUCCESS,
                    size=size,
                    added=size // 40,
                    files=312 + day,
                    time=now - timedelta(days=day, minutes=7),
                    duration=3.2 + place,
                    kind=BackupKind.SCHEDULED if day else BackupKind.MANUAL,
                    task_id=RUNNING,
                    strategy="database.pgdumpall" if place else "files.copy",
                )
            )
    found.append(
        Backup(
            id="01B999990",
            service="guestbook",
            data_item="entries",
            node="main",
            snapshot_id=None,
            status=BackupStatus.FAILED,
            time=now - timedelta(minutes=3),
            error="No space left on device: /srv/repository",
        )
    )
    return found


def _schedules(now: datetime) -> list[ScheduleView]:
    day = timedelta(days=1)
    last = LastRunView(time=now - day / 3, node="main", task=RUNNING, status=Status.SUCCEEDED)
    missed = MissedRunView(
        time=now - day / 4,
        first=now - 2 * day,
        times=3,
        node="edge",
        reason="node edge was offline",
    )
    backup = ScheduleView(
        key="backup:my-app/uploads",
        kind=Kind.BACKUP,
        service="my-app",
        data_items=["uploads"],
        nodes=["main"],
        schedule="0 3 * * *",
        timezone="Europe/Berlin",
        next=now + day / 2,
        last=last,
    )
    return [
        backup,
        backup.model_copy(
            update={
                "key": "backup:guestbook/entries",
                "service": "guestbook",
                "data_items": ["entries"],
                "nodes": ["main", "edge"],
                "last": last.model_copy(update={"status": Status.FAILED, "task": FAILED}),
                "missed": [missed],
                "waiting": [
                    WaitingRunView(time=now, node="edge", for_="node edge is offline"),
                ],
            }
        ),
        ScheduleView(
            key="prune",
            kind=Kind.PRUNE,
            schedule="0 4 * * Sun",
            timezone="Europe/Berlin",
            next=now + 5 * day,
        ),
    ]


def _tasks(office: MemoryOffice, now: datetime) -> None:
    known = Known(
        catalog=office.catalog.view(),
        nodes=office.nodes.states(),
        online=frozenset({"main", "edge"}),
        main_nodes=("main",),
        repository_id=REPOSITORY,
    )
    deploy = plan_deploy(known, "my-app", ServiceRequest())
    save = plan_backup(known, "my-app", BackupRequest())
    minute = timedelta(minutes=1)
    rows = [
        _task(
            FAILED, "backup", "Back up entries of guestbook on main", now - 4 * minute
        ).model_copy(
            update={
                "service": "guestbook",
                "status": Status.FAILED,
                "finished_at": now - 3 * minute,
                "error": TaskError(
                    step="save_data",
                    message="entries: No space left on device: /srv/repository",
                    hint="Free some space on main, then press Retry.",
                ),
                "steps": (
                    _step("open_repository", now - 4 * minute, now - 4 * minute),
                    _step("save_data", now - 4 * minute, now - 3 * minute).model_copy(
                        update={
                            "status": Status.FAILED,
                            "error": StepError(message="No space left on device"),
                        }
                    ),
                ),
                "actions": ("retry",),
            }
        ),
        _task(RUNNING, "backup", str(save), now - minute / 3).model_copy(
            update={
                "status": Status.RUNNING,
                "steps": (
                    _step("open_repository", now - minute / 3, now - minute / 4),
                    _step("save_data", now - minute / 4, None).model_copy(
                        update={
                            "progress": StepProgress(
                                bytes_done=214 * 2**20, bytes_total=508 * 2**20
                            )
                        }
                    ),
                ),
                "actions": ("cancel",),
            }
        ),
        _task(MOVE, "migrate", "Move wiki from main to edge", now - 90 * minute).model_copy(
            update={
                "service": "wiki",
                "nodes": ("main", "edge"),
                "status": Status.FAILED,
                "finished_at": now - 80 * minute,
                "error": TaskError(
                    step="7_update_dns",
                    message="the name server did not take the record wiki.example.org",
                    hint="Press Retry to go on, Roll back to return to main, or Abandon.",
                ),
                "steps": _moved(now - 90 * minute),
                "actions": ("retry", "rollback", "abandon"),
            }
        ),
        _task("01T90003", "deploy", "Deploy wiki on edge", now - 2 * minute).model_copy(
            update={
                "service": "wiki",
                "nodes": ("edge",),
                "status": Status.RUNNING,
                "waiting": Waiting(for_="node edge is offline", since=now, hint="Start its agent."),
                "actions": ("cancel",),
            }
        ),
    ]
    for number in range(6):
        start = now - timedelta(days=number + 1)
        rows.append(
            _task(f"01T8{number:04}", "deploy", str(deploy), start).model_copy(
                update={
                    "status": Status.SUCCEEDED,
                    "finished_at": start + timedelta(seconds=4 + number),
                    "steps": (_step("deploy", start, start + timedelta(seconds=4 + number)),),
                }
            )
        )
    for task in sorted(rows, key=lambda one: one.id):
        office.store.admitted[task.id] = (task, save if task.type == "backup" else deploy)


def _task(id: str, type: str, title: str, at: datetime) -> Task:  # noqa: A002  # fields' names
    return Task(
        id=id,
        type=type,
        service="my-app",
        nodes=("main",),
        status=Status.PENDING,
        title=title,
        created_by="token:admin",
        source="web",
        created_at=at,
        started_at=at,
    )


def _moved(start: datetime) -> tuple[Step, ...]:
    """The steps of a move whose names could not be changed."""
    done = (
        "0_check",
        "0_back_up",
        "0_prepare",
        "0_pre_copy",
        "1_export_data",
        "2_stop_source",
        "3_reload_caddy",
        "4_restore_data",
        "5_start_on_target",
        "6_reload_caddy",
    )
    second = timedelta(seconds=1)
    steps = [
        _step(name, start + place * 9 * second, start + (place * 9 + place % 4 + 1) * second)
        for place, name in enumerate(done)
    ]
    failed = _step("7_update_dns", start + 99 * second, start + 109 * second)
    error = StepError(message="the name server did not take the record wiki.example.org")
    return (*steps, failed.model_copy(update={"status": Status.FAILED, "error": error}))


def _step(name: str, start: datetime, end: datetime | None) -> Step:
    return Step(
        name=name,
        node="main",
        status=Status.SUCCEEDED if end else Status.RUNNING,
        started_at=start,
        finished_at=end,
    )


def change(office: MemoryOffice, kind: str, service: str | None, **data: Any) -> None:
    """Tell open pages of a change, as the controller does."""
    office.events.publish(Event(kind, service, data))  # type: ignore[attr-defined]  # `seeded`
