"""Numbers for Prometheus."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from composia import __version__
from composia.controller.controller import Controller
from composia.controller.worktree import CatalogState
from composia.model.notification import EventName
from composia.model.offsite import CopyState
from composia.model.schedule import Kind, Schedule

_ITEM = ("service", "data_item", "node")

#: Every metric: what it says, and its labels. Names that end in `_total` only grow.
METRICS: Mapping[str, tuple[str, Sequence[str]]] = {
    "composia_info": ("The controller.", ("version",)),
    "composia_node_online": ("Whether its agent is connected.", ("node",)),
    "composia_node_last_seen_timestamp_seconds": ("When it was last connected.", ("node",)),
    "composia_node_disk_free_bytes": ("Free space.", ("node", "path")),
    "composia_node_disk_size_bytes": ("All space.", ("node", "path")),
    "composia_catalog_fresh": ("Whether the catalog follows its remote.", ()),
    "composia_services": ("Services that can be worked with.", ()),
    "composia_services_broken": ("Services that cannot be read.", ()),
    "composia_backup_expected": ("A data item that is to be backed up.", _ITEM),
    "composia_backup_last_success_timestamp_seconds": ("The last good backup.", _ITEM),
    "composia_backup_last_verified_timestamp_seconds": ("When one was last proven.", _ITEM),
    "composia_backup_newest_verified_timestamp_seconds": ("The newest proven backup.", _ITEM),
    "composia_backup_size_bytes": ("Size of the last good backup.", _ITEM),
    "composia_backup_added_bytes": ("What it added to the repository.", _ITEM),
    "composia_backup_files": ("Its files.", _ITEM),
    "composia_backup_duration_seconds": ("How long it took.", _ITEM),
    "composia_backup_overdue": ("An item whose good backup is too old.", _ITEM),
    "composia_backup_missing": ("Backups whose snapshot has gone by itself.", _ITEM),
    "composia_schedules_running": ("Whether what is scheduled begins.", ()),
    "composia_schedule_next_run_timestamp_seconds": ("When it is due.", ("schedule", "node")),
    "composia_schedule_missed_runs": ("Runs that did not happen.", ("schedule", "node")),
    "composia_move_downtime_seconds": ("Outage of the last move.", ("service",)),
    "composia_move_downtime_seconds_total": ("Outage of all moves.", ("service",)),
    "composia_moves_left_open": ("Moves that wait for a person.", ()),
    "composia_tasks": ("Tasks that are known.", ("type", "status")),
    "composia_task_last_success_timestamp_seconds": ("When one last succeeded.", ("type",)),
    "composia_repository_snapshots": ("Snapshots with a record.", ()),
    "composia_repository_added_bytes": ("Bytes that those have added.", ()),
    "composia_copy_expected": ("A copy off site that config.yaml names.", ("copy",)),
    "composia_copy_complete_timestamp_seconds": ("When a copy was last complete.", ("copy",)),
    "composia_copy_snapshots": ("Snapshots of a copy.", ("copy",)),
    "composia_notifications": ("Matters that are not settled.", ("event", "state")),
    "composia_notifications_undelivered": ("Messages that do not arrive.", ()),
}

#: A metric, the values of its labels, and the number.
Sample = tuple[str, Sequence[str], float]


async def metrics(controller: Controller) -> bytes:
    """All of them, as they are now."""
    samples = [
        ("composia_info", [__version__], 1.0),
        *_nodes(controller),
        *_catalog(controller),
        *await _backups(controller),
        *await _schedules(controller),
        *await _tasks(controller),
        *await _repository(controller),
        *await _notifications(controller),
    ]
    registry = CollectorRegistry()
    registry.register(_Collected(samples))
    # Thousands of lines: beside the event loop.
    return await asyncio.to_thread(generate_latest, registry)


def _nodes(controller: Controller) -> Iterator[Sample]:
    for node, state in controller.nodes.states().items():
        yield "composia_node_online", [node], controller.nodes.online(node)
        if seen := controller.nodes.last_seen(node):
            yield "composia_node_last_seen_timestamp_seconds", [node], seen.timestamp()
        for disk in state.disks if state else ():
            yield "composia_node_disk_free_bytes", [node, disk.path], disk.free
            yield "composia_node_disk_size_bytes", [node, disk.path], disk.total


def _catalog(controller: Controller) -> Iterator[Sample]:
    view = controller.catalog.view()
    fresh = controller.catalog.status.state is CatalogState.FRESH
    yield "composia_catalog_fresh", [], fresh
    yield "composia_services", [], len(view.services)
    yield "composia_services_broken", [], len(view.broken)


def expected(schedules: Iterable[Schedule]) -> Iterator[tuple[str, str, str]]:
    """Service, item and node of all that is to be backed up by itself."""
    for one in schedules:
        if one.kind is Kind.BACKUP:
            yield from ((str(one.service), str(one.data_item), node) for node in one.nodes)


async def _backups(controller: Controller) -> list[Sample]:
    found: list[Sample] = []
    for last in await controller.store.last_good_backups():
        found += [
            ("composia_backup_last_success_timestamp_seconds", last.of, _seconds(last.at)),
            ("composia_backup_size_bytes", last.of, last.size),
            ("composia_backup_added_bytes", last.of, last.added),
            ("composia_backup_files", last.of, last.files),
            ("composia_backup_duration_seconds", last.of, last.duration),
        ]
    for one in await controller.store.last_verified():
        proven, newest = _seconds(one.proven_at), _seconds(one.newest)
        found += [
            ("composia_backup_last_verified_timestamp_seconds", one.of, proven),
            ("composia_backup_newest_verified_timestamp_seconds", one.of, newest),
        ]
    missing = Counter(one.item_on_node for one in await controller.store.missing_backups())
    return [*found, *(("composia_backup_missing", of, count) for of, count in missing.items())]


async def _schedules(controller: Controller) -> list[Sample]:
    now = datetime.now(UTC)
    found: list[Sample] = [
        ("composia_schedules_running", [], controller.world.schedules_run()),
        *_next_runs(controller, now),
    ]
    schedules = await controller.scheduler.expected()
    found += [("composia_backup_expected", item, 1) for item in expected(schedules)]
    for schedule, node, times in await controller.store.missed_runs():
        found.append(("composia_schedule_missed_runs", [schedule, node], times))
    for one in await controller.world.late(now):
        if one.event is EventName.BACKUP_OVERDUE:
            item = [str(one.service), str(one.data_item), str(one.node)]
            found.append(("composia_backup_overdue", item, 1))
    return found


def _next_runs(controller: Controller, now: datetime) -> Iterator[Sample]:
    # A thousand items share a handful of times.
    known: dict[tuple[str, str, timedelta], datetime | None] = {}
    for one in controller.scheduler.schedules():
        when = (one.expression, one.timezone, one.offset)
        if when not in known:
            known[when] = one.next(now)
        if due := known[when]:
            for node in one.places:
                labels = [one.key, node]
                yield "composia_schedule_next_run_timestamp_seconds", labels, due.timestamp()


async def _tasks(controller: Controller) -> list[Sample]:
    store = controller.store
    found: list[Sample] = [
        ("composia_tasks", [kind, status], count)
        for kind, status, count in await store.task_counts()
    ]
    for kind, at in await store.last_tasks():
        found.append(("composia_task_last_success_timestamp_seconds", [kind], _seconds(at)))
    for outage in await store.outages():
        found.append(("composia_move_downtime_seconds", [outage.service], outage.last))
        found.append(("composia_move_downtime_seconds_total", [outage.service], outage.total))
    found.append(("composia_moves_left_open", [], await store.moves_left_open()))
    return found


async def _repository(controller: Controller) -> list[Sample]:
    counted = await controller.store.counted_backups()
    found: list[Sample] = [
        ("composia_repository_snapshots", [], counted.snapshots),
        ("composia_repository_added_bytes", [], counted.added),
    ]
    copies = await controller.store.copies()
    for name in (one.name for one in controller.config.offsite):
        copy = copies.get(name, CopyState())
        found.append(("composia_copy_expected", [name], 1))
        found.append(("composia_copy_snapshots", [name], copy.snapshots))
        if copy.complete_at:
            at = copy.complete_at.timestamp()
            found.append(("composia_copy_complete_timestamp_seconds", [name], at))
    return found


async def _notifications(controller: Controller) -> list[Sample]:
    found: list[Sample] = [
        ("composia_notifications", [event, state], count)
        for event, state, count in await controller.store.notification_counts()
    ]
    undelivered = await controller.store.undelivered()
    return [*found, ("composia_notifications_undelivered", [], undelivered)]


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


class _Collected(Collector):
    """Samples as families, each with its help, those without a sample too."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._families: dict[str, Any] = {
            name: _family(name, text, labels) for name, (text, labels) in METRICS.items()
        }
        for name, labels, value in samples:
            self._families[name].add_metric(labels, value)

    def collect(self) -> Iterable[Metric]:
        return self._families.values()


def _family(name: str, text: str, labels: Sequence[str]) -> Metric:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(name, text, labels=labels)
