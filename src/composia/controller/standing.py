"""What is wrong as long as it is: seen anew with every look, told once, over by itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from composia.controller.matters import down_subject, left_open
from composia.controller.worktree import CatalogState, CatalogStatus
from composia.model.backup import Backup, place_of
from composia.model.catalog import CatalogView
from composia.model.node import Disk, NodeState, ask_its_agent
from composia.model.notification import EventName, Matter, Notification
from composia.model.task import OpenMove, Task
from composia.tools.wording import few
from composia.workflows.comparing import MISSING_HINT
from composia.workflows.plan import Plan

#: How long a node or the catalog's remote may be away before it is told.
GRACE = timedelta(minutes=5)
#: A disk is low below a twentieth, or below a tenth where that is little, and is not before it has
#: a tenth more than that.
TIGHT = 0.05
LOW = 0.10
LITTLE = 20 * 1024**3
RELIEF = 1.1

#: What is told as long as it stands.
STANDING = frozenset(
    {
        EventName.BACKUP_OVERDUE,
        EventName.BACKUP_MISSED,
        EventName.BACKUP_MISSING,
        EventName.SCHEDULE_MISSED,
        EventName.MIGRATE_LEFT_OPEN,
        EventName.NODE_OFFLINE,
        EventName.CATALOG_BROKEN,
        EventName.CATALOG_UNREACHABLE,
        EventName.DISK_LOW,
    }
)
#: What is about a data item on one node, and is over where the service is not there any more.
ON_A_NODE = frozenset({EventName.BACKUP_FAILED, EventName.VERIFY_FAILED})


@dataclass(frozen=True, slots=True)
class NodeSeen:
    online: bool
    last_seen: datetime | None
    state: NodeState | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How everything is."""

    now: datetime
    #: Since when somebody looks: what was away before is given its grace from here.
    since: datetime
    nodes: Mapping[str, NodeSeen] = field(default_factory=dict)
    catalog: CatalogView = field(default_factory=CatalogView)
    catalog_status: CatalogStatus = field(default_factory=CatalogStatus)
    open_moves: Sequence[tuple[Task, Plan | None]] = ()
    #: Where a service runs though `nodes` does not say so yet.
    moved: Sequence[OpenMove] = ()
    #: What has not happened: matters of `backup_overdue`, `backup_missed` and `schedule_missed`.
    late: Sequence[Matter] = ()
    #: Backups whose snapshot has gone by itself.
    missing: Sequence[Backup] = ()
    #: Subjects of proofs that have failed, of backups that are still there.
    kept: frozenset[str] = frozenset()
    #: Subjects that are told already.
    told: frozenset[str] = frozenset()


def standing(seen: Seen) -> list[Matter]:
    """All that is wrong now."""
    return [
        *_offline(seen),
        *_low(seen),
        *_broken(seen),
        *_unreachable(seen),
        *(left_open(task, plan) for task, plan in seen.open_moves),
        *seen.late,
        *_missing(seen),
    ]


def ended(known: Sequence[Notification], seen: Seen, matters: Sequence[Matter]) -> dict[str, str]:
    """The subjects that are over, and why."""
    subjects = {matter.subject for matter in matters}
    over = {}
    for one in known:
        if one.event in STANDING:
            if one.subject not in subjects:
                over[one.subject] = _why(one, seen)
        elif one.subject == down_subject(one.service, one.node):
            if up := _gone(one, seen) or _up(one, seen):
                over[one.subject] = up
        # Nobody saves it anew where it has left; but what is wrong with a backup stays wrong.
        elif one.subject not in seen.kept and (gone := _gone(one, seen)):
            over[one.subject] = gone
    return over


def _why(one: Notification, seen: Seen) -> str:
    if one.event is EventName.NODE_OFFLINE and one.node not in seen.nodes:
        return "the node has left config.yaml"
    return _WORDS.get(one.event, "it is as it should be")


_WORDS = {
    EventName.NODE_OFFLINE: "the node is connected again",
    EventName.MIGRATE_LEFT_OPEN: "the move was settled",
    EventName.BACKUP_OVERDUE: "there is a fresh backup, or none is scheduled any more",
    EventName.BACKUP_MISSING: "the snapshots are there again, or their records were dropped",
    EventName.CATALOG_BROKEN: "the service can be read, or has left the catalog",
    EventName.CATALOG_UNREACHABLE: "the catalog follows its remote",
    EventName.DISK_LOW: "it is not low any more",
}


def _gone(one: Notification, seen: Seen) -> str | None:
    catalog = seen.catalog
    # Nobody can back up what is not there any more: it would be told for ever.
    if one.service is None or not catalog.revision:
        return None
    if any(one.service in (broken.name, broken.folder) for broken in catalog.broken):
        return None
    service = catalog.services.get(one.service)
    if service is None:
        return "the service has left the catalog"
    items = {item.name for item in service.meta.data_protect.data}
    if one.data_item is not None and one.data_item not in items:
        return "the data item has left the catalog"
    targets = {move.target for move in seen.moved if move.service == one.service}
    if one.event in ON_A_NODE and one.node and one.node not in {*service.meta.nodes, *targets}:
        return "the service has left the node"
    return None


def _up(one: Notification, seen: Seen) -> str | None:
    """Of a service that a backup has left down: whether all of it has run for a while."""
    node = seen.nodes.get(one.node or "")
    # What was told last of the node may be of before the backup.
    if seen.now - max(one.time, one.told_at or one.time) < GRACE or not (node and node.online):
        return None
    state = node.state
    if state is None or not state.docker:
        return None
    projects = {of.project for of in state.instances if of.service == one.service}
    states = {of.state for of in state.containers if of.project in projects}
    return "the service runs again" if states == {"running"} else None


def _offline(seen: Seen) -> Iterator[Matter]:
    for node, found in seen.nodes.items():
        if found.online or found.last_seen is None:
            continue
        if seen.now - max(found.last_seen, seen.since) >= GRACE or f"node:{node}" in seen.told:
            yield Matter(
                event=EventName.NODE_OFFLINE,
                subject=f"node:{node}",
                title=f"Node {node} is offline",
                reason="Its agent is not connected. What runs there runs on, and is not backed up.",
                hint=ask_its_agent(node),
                since=found.last_seen,
                node=node,
            )


def _low(seen: Seen) -> Iterator[Matter]:
    for node, found in seen.nodes.items():
        for disk in found.state.disks if found.state else ():
            subject = f"disk:{node}:{disk.path}"
            if is_low(disk, RELIEF if subject in seen.told else 1.0):
                share = 100 * disk.free / disk.total
                yield Matter(
                    event=EventName.DISK_LOW,
                    subject=subject,
                    title=f"Little space on {node}: {disk.path}",
                    reason=f"{disk.free // 1024**2} MiB are free, {share:.0f} %.",
                    hint=f"Free some, or see what takes it: `du -xh {disk.path} | sort -h`.",
                    since=seen.now,
                    node=node,
                )


def is_low(disk: Disk, factor: float = 1.0) -> bool:
    """Whether it has so little space left that somebody is to hear of it."""
    free = disk.free / factor
    if disk.total <= 0:
        return False
    return free < TIGHT * disk.total or (free < LOW * disk.total and free < LITTLE)


def _missing(seen: Seen) -> Iterator[Matter]:
    places: dict[tuple[str, str, str], list[str]] = {}
    for one in seen.missing:
        places.setdefault(one.item_on_node, []).append(one.id)
    for (service, item, node), ids in places.items():
        yield Matter(
            event=EventName.BACKUP_MISSING,
            subject=f"missing:{place_of(service, item, node)}",
            title=f"Backups have vanished: {item} of {service} on {node}",
            reason=f"The repository has no snapshot of {few(ids)}, and nobody has forgotten it.",
            hint=MISSING_HINT,
            since=seen.now,
            service=service,
            node=node,
            data_item=item,
        )


def _broken(seen: Seen) -> Iterator[Matter]:
    for broken in seen.catalog.broken:
        name = broken.name or broken.folder
        yield Matter(
            event=EventName.CATALOG_BROKEN,
            subject=f"catalog:{broken.folder}",
            title=f"Service {name} cannot be read",
            reason="; ".join(str(problem) for problem in broken.problems[:3]),
            hint="Mend it in the catalog: until then it is neither deployed nor backed up.",
            since=seen.now,
            service=name,
        )


def _unreachable(seen: Seen) -> Iterator[Matter]:
    status = seen.catalog_status
    if status.state is CatalogState.FRESH:
        return
    since = max(status.pulled_at or seen.since, seen.since)
    if seen.now - since >= GRACE or "catalog" in seen.told:
        yield Matter(
            event=EventName.CATALOG_UNREACHABLE,
            subject="catalog",
            title=f"The catalog does not follow its remote: {status.state}",
            reason=status.message or "",
            hint=status.hint or "composia catalog status",
            since=status.pulled_at or since,
        )
