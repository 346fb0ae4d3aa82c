"""Numbers for Prometheus."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from composia import __version__

if TYPE_CHECKING:
    from composia.controller.app import Controller


async def metrics(controller: Controller) -> bytes:
    """All of them, as they are now."""
    registry = CollectorRegistry()
    info = Gauge("composia_info", "The controller.", ["version"], registry=registry)
    info.labels(__version__).set(1)
    _nodes(controller, registry)
    await _tasks(controller, registry)
    await _backups(controller, registry)
    return generate_latest(registry)


def _nodes(controller: Controller, registry: CollectorRegistry) -> None:
    online = Gauge("composia_node_online", "Whether it is connected.", ["node"], registry=registry)
    free = Gauge(
        "composia_node_disk_free_bytes", "Free space.", ["node", "path"], registry=registry
    )
    for node, state in controller.nodes.states().items():
        online.labels(node).set(controller.nodes.online(node))
        for disk in state.disks if state else ():
            free.labels(node, disk.path).set(disk.free)
    broken = Gauge("composia_services_broken", "Services to be mended.", registry=registry)
    broken.set(len(controller.catalog.view().broken))


async def _tasks(controller: Controller, registry: CollectorRegistry) -> None:
    tasks = Gauge("composia_tasks", "Tasks.", ["type", "status"], registry=registry)
    for kind, status, count in await controller.store.task_counts():
        tasks.labels(kind, status).set(count)


async def _backups(controller: Controller, registry: CollectorRegistry) -> None:
    age = Gauge(
        "composia_backup_last_success_age_seconds",
        "Since the last good backup of a data item.",
        ["service", "data_item", "node"],
        registry=registry,
    )
    now = time.time()
    for service, item, node, at in await controller.store.last_successes():
        age.labels(service, item, node).set(now - datetime.fromisoformat(at).timestamp())
