"""What needs somebody's attention, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from composia.controller.matters import LEFT_DOWN
from composia.controller.standing import is_low
from composia.model.backup import BackupStatus
from composia.model.notification import EventName, Notification
from composia.model.shown import DataItemView, NodeView, ScheduleView, ServiceView
from composia.model.task import Task


class Need(StrEnum):
    """In this order they are shown; templates/home.html has the words."""

    MOVE_OPEN = "move_open"
    TASK_WAITS = "task_waits"
    NODE_OFFLINE = "node_offline"
    ENGINE_DOWN = "engine_down"
    BROKEN = "broken"
    TOLD = "told"
    BACKUP_FAILED = "backup_failed"
    OVERDUE = "overdue"
    MISSED = "missed"
    DISK_LOW = "disk_low"
    NEVER_SAVED = "never_saved"
    UNPROTECTED = "unprotected"
    NODE_OLD = "node_old"


#: Open matters that nothing else here says. The others stand in states that are looked at.
_TOLD = frozenset(
    {
        EventName.VERIFY_FAILED,
        EventName.CHECK_FAILED,
        EventName.BACKUP_MISSING,
        EventName.FORGET_FAILED,
        EventName.PRUNE_FAILED,
        EventName.COPY_FAILED,
        EventName.CATALOG_UNREACHABLE,
    }
)


class Attention(BaseModel):
    """One thing to look at."""

    model_config = ConfigDict(frozen=True)

    need: Need
    #: The service, node or task it is about.
    about: str
    names: tuple[str, ...] = ()
    detail: str | None = None
    hint: str | None = None
    href: str


def attention(
    services: Sequence[ServiceView],
    nodes: Sequence[NodeView],
    open_tasks: Sequence[Task],
    schedules: Sequence[ScheduleView] = (),
    matters: Sequence[Notification] = (),
) -> list[Attention]:
    """Everything, in the order of `Need`."""
    found = [
        *_of_tasks(open_tasks),
        *(one for node in nodes for one in _of_node(node)),
        *(one for service in services for one in _of_service(service)),
        *(one for schedule in schedules for one in _of_schedule(schedule)),
        *_of_matters(matters),
    ]
    order = list(Need)
    return sorted(found, key=lambda one: order.index(one.need))


def _of_tasks(tasks: Iterable[Task]) -> Iterator[Attention]:
    for task in tasks:
        href = f"/tasks/{task.id}"
        if task.status.ended and "abandon" in task.actions:
            detail = task.error.message if task.error else None
            hint = task.error.hint if task.error else None
            yield Attention(
                need=Need.MOVE_OPEN, about=task.title, detail=detail, hint=hint, href=href
            )
        elif task.waiting:
            yield Attention(
                need=Need.TASK_WAITS,
                about=task.title,
                detail=task.waiting.for_,
                hint=task.waiting.hint,
                href=href,
            )


def _of_node(node: NodeView) -> Iterator[Attention]:
    href = f"/nodes/{node.id}"
    if node.needs_update:
        yield Attention(need=Need.NODE_OLD, about=node.id, href=href)
    elif not node.online:
        yield Attention(need=Need.NODE_OFFLINE, about=node.id, href=href)
    elif node.docker is False:
        yield Attention(need=Need.ENGINE_DOWN, about=node.id, href=href)
    if full := tuple(disk.path for disk in node.disks if is_low(disk)):
        yield Attention(need=Need.DISK_LOW, about=node.id, names=full, href=href)


def _of_schedule(schedule: ScheduleView) -> Iterator[Attention]:
    newest = next(iter(schedule.missed), None)
    if newest is None or (schedule.last and schedule.last.time > newest.time):
        return
    yield Attention(
        need=Need.MISSED,
        about=schedule.service or schedule.kind,
        names=tuple(schedule.data_items),
        detail=newest.reason,
        href="/schedules",
    )


def _of_matters(matters: Iterable[Notification]) -> Iterator[Attention]:
    for matter in matters:
        if matter.event in _TOLD or matter.subject.startswith(LEFT_DOWN):
            yield Attention(
                need=Need.TOLD,
                about=matter.title,
                detail=matter.reason,
                hint=matter.hint,
                href=f"/tasks/{matter.task_id}" if matter.task_id else "/notifications",
            )


def _of_service(service: ServiceView) -> Iterator[Attention]:
    href = f"/services/{service.name}"
    if service.problems:
        first = str(service.problems[0])
        yield Attention(need=Need.BROKEN, about=service.name, detail=first, href=href)
        return
    if failed := [item for item in service.data_items if _has_failed(item)]:
        newest = failed[0].newest_backup
        yield Attention(
            need=Need.BACKUP_FAILED,
            about=service.name,
            names=tuple(item.name for item in failed),
            detail=newest.error if newest else None,
            href=f"{href}/backups",
        )
    if late := [item for item in service.data_items if item.overdue and not _has_failed(item)]:
        yield Attention(
            need=Need.OVERDUE,
            about=service.name,
            names=tuple(item.name for item in late),
            detail=late[0].overdue,
            href=f"{href}/data",
        )
    if never := tuple(item.name for item in service.data_items if _was_never_saved(item)):
        yield Attention(need=Need.NEVER_SAVED, about=service.name, names=never, href=f"{href}/data")
    if bare := tuple(one.source or "" for one in service.warnings if one.kind == "unprotected"):
        yield Attention(need=Need.UNPROTECTED, about=service.name, names=bare, href=f"{href}/data")


def _has_failed(item: DataItemView) -> bool:
    newest = item.newest_backup
    return newest is not None and newest.status is BackupStatus.FAILED


def _was_never_saved(item: DataItemView) -> bool:
    saved = item.last_backup is not None or _has_failed(item) or item.overdue
    return item.scheduled and not saved
