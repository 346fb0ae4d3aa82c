"""What the API shows, from what is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from composia.controller.latest import Latest
from composia.model.backup import Backup, BackupStatus
from composia.model.catalog import Broken, CatalogView, Service
from composia.model.node import Container, Instance, Mount, NodeState
from composia.model.schedule import Overdue
from composia.model.service import ServiceRef
from composia.model.shown import (
    DataItemView,
    InstanceState,
    InstanceView,
    ServiceView,
    WarningView,
)
from composia.workflows.coverage import unprotected
from composia.workflows.known import containers_of


@dataclass(frozen=True, slots=True)
class Records:
    """The newest backups of data items: the good ones, and whatever came of them."""

    _good: Mapping[tuple[str, str], Backup]
    _newest: Mapping[tuple[str, str], Sequence[Backup]]
    _overdue: Mapping[tuple[str, str], Sequence[Overdue]]

    @classmethod
    def of(
        cls, good: Iterable[Backup], newest: Iterable[Backup], overdue: Iterable[Overdue] = ()
    ) -> Records:
        """From one record, or one a node, of each item."""
        best: dict[tuple[str, str], Backup] = {}
        for one in sorted(good, key=lambda one: one.id):
            best[one.service, one.data_item] = one
        last: dict[tuple[str, str], list[Backup]] = defaultdict(list)
        for one in newest:
            last[one.service, one.data_item].append(one)
        late: dict[tuple[str, str], list[Overdue]] = defaultdict(list)
        for missing in overdue:
            late[missing.service, missing.data_item].append(missing)
        return cls(best, last, late)

    def overdue(self, service: str, item: str) -> str | None:
        """Why its last good backup is too old, on each node where it is."""
        found = self._overdue.get((service, item), ())
        return "; ".join(f"on {one.node}: {one.reason}" for one in found) or None

    def last_good(self, service: str, item: str) -> Backup | None:
        """The newest one that can be restored, of whichever node."""
        return self._good.get((service, item))

    def newest(self, service: str, item: str, nodes: Collection[str]) -> Backup | None:
        """What came of it last; where one of its nodes has failed, that."""
        found = [one for one in self._newest.get((service, item), ()) if one.node in nodes]
        failed = [one for one in found if one.status is BackupStatus.FAILED]
        return max(failed or found, key=lambda one: one.id, default=None)


class Overview:
    """All services as they are now, made anew only when something that they are made from changed.

    Pages ask for them all the time, and in a large household they are much work.
    """

    def __init__(self) -> None:
        self._records = Latest[Records]()
        self._services = Latest[tuple[ServiceView, ...]]()

    def records(
        self, good: Sequence[Backup], newest: Sequence[Backup], overdue: Sequence[Overdue]
    ) -> Records:
        """See `Records.of`."""
        known = (good, newest, overdue)
        return self._records.of(known, lambda: Records.of(*known))

    def services(
        self,
        catalog: CatalogView,
        nodes: Mapping[str, NodeState | None],
        online: Mapping[str, bool],
        records: Records,
    ) -> tuple[ServiceView, ...]:
        """By their names, broken ones too."""
        known = (catalog, dict(nodes), dict(online), records)
        return self._services.of(known, lambda: _every(*known))


def _every(
    catalog: CatalogView,
    nodes: Mapping[str, NodeState | None],
    online: Mapping[str, bool],
    records: Records,
) -> tuple[ServiceView, ...]:
    good = catalog.services.values()
    found = [
        *(service_view(one, nodes, online, records) for one in good),
        *(broken_view(one) for one in catalog.broken),
    ]
    return tuple(sorted(found, key=lambda one: one.name))


def service_view(
    service: Service,
    nodes: Mapping[str, NodeState | None],
    online: Mapping[str, bool],
    records: Records,
) -> ServiceView:
    """As it is now."""
    return ServiceView(
        name=service.name,
        folder=service.ref.folder,
        project=service.ref.project,
        enabled=service.meta.enabled,
        nodes=list(service.meta.nodes),
        revision=service.ref.revision,
        definition=service.meta,
        instances=_instances(service, nodes, online),
        data_items=_data_items(service, records),
        warnings=[
            *(_warning(mount) for mount in unprotected(service, nodes).values()),
            *(_is_encrypted(path) for path in service.encrypted),
        ],
    )


def broken_view(broken: Broken) -> ServiceView:
    """A service that cannot be worked with."""
    return ServiceView(
        name=broken.name or broken.folder,
        folder=broken.folder,
        problems=list(broken.problems),
    )


def _instances(
    service: Service, nodes: Mapping[str, NodeState | None], online: Mapping[str, bool]
) -> list[InstanceView]:
    views = []
    for node, state in nodes.items():
        instance = _instance_of(state, service.name)
        containers = containers_of(state, service.ref)
        if node in service.meta.nodes or containers:
            views.append(_instance(service.ref, node, state, instance, online.get(node, False)))
    return views


def _instance(
    ref: ServiceRef, node: str, state: NodeState | None, instance: Instance | None, online: bool
) -> InstanceView:
    containers = containers_of(state, ref)
    known = state is not None and online and state.docker
    return InstanceView(
        node=node,
        state=instance_state(containers) if known else InstanceState.UNKNOWN,
        revision=instance.revision if instance else None,
        held=bool(instance and instance.held),
        containers=list(containers),
    )


def instance_state(containers: Sequence[Container]) -> InstanceState:
    """One word for all of a project's containers."""
    running = [container.at_work for container in containers]
    if not running:
        return InstanceState.ABSENT
    if all(running):
        return InstanceState.RUNNING
    return InstanceState.PARTLY if any(running) else InstanceState.STOPPED


def _instance_of(state: NodeState | None, service: str) -> Instance | None:
    found = state.instances if state else ()
    return next((one for one in found if one.service == service), None)


def _data_items(service: Service, records: Records) -> list[DataItemView]:
    scheduled = {entry.name for entry in service.meta.backup.data}
    return [
        DataItemView(
            name=item.name,
            backup=item.backup.strategy if item.backup else None,
            restore=item.restore.strategy if item.restore else None,
            scheduled=item.name in scheduled,
            last_backup=records.last_good(service.name, item.name),
            newest_backup=records.newest(service.name, item.name, service.meta.nodes),
            overdue=records.overdue(service.name, item.name),
        )
        for item in service.meta.data_protect.data
    ]


def _is_encrypted(path: str) -> WarningView:
    return WarningView(
        kind="encrypted",
        source=path,
        message=f"./{path} is deployed as it is, encrypted: config.yaml has no"
        " `controller.secrets`",
        hint="Name the identity there that opens it, or give the file another name.",
    )


def _warning(mount: Mount) -> WarningView:
    what = {"volume": "volume", "anonymous": "anonymous volume"}.get(mount.kind, "folder")
    by = f" of {', '.join(mount.used_by)}" if mount.used_by else ""
    return WarningView(
        kind="unprotected",
        source=mount.source,
        message=f"no data item covers the {what} {mount.source}{by}",
        hint="Add it to a data item under `backup.data`, or name it under "
        "`data_protect.unprotected` with a reason.",
    )
