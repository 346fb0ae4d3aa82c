"""What the API shows of services, nodes and the repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Problem
from composia.model.backup import Backup
from composia.model.catalog import Broken, Service
from composia.model.meta import Meta
from composia.model.node import Container, Disk, Instance, Mount, NodeState, Versions
from composia.model.service import ServiceRef
from composia.workflows.coverage import unprotected
from composia.workflows.known import RUNNING, containers_of

Item = TypeVar("Item")


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Page(View, Generic[Item]):
    """A part of a list; `next_cursor` asks for the next one."""

    items: list[Item]
    next_cursor: str | None = None


class InstanceState(StrEnum):
    RUNNING = "running"
    PARTLY = "partly"
    STOPPED = "stopped"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class InstanceView(View):
    """A service on a node."""

    node: str
    state: InstanceState
    #: The revision whose files are there.
    revision: str | None = None
    #: While a stop of ours holds.
    held: bool = False
    containers: list[Container] = []


class DataItemView(View):
    """A data item, how it is saved and brought back, and its last good backup."""

    name: str
    backup: str | None = Field(description="The strategy that saves it.")
    restore: str | None = Field(description="The strategy that brings it back.")
    scheduled: bool = Field(description="Whether it is under `backup.data`.")
    last_backup: Backup | None = None


class WarningView(View):
    """Something that will hurt one day."""

    kind: str
    source: str | None = None
    message: str
    hint: str | None = None


class ServiceView(View):
    """A service, its instances, and how well its data is kept."""

    name: str
    folder: str
    project: str | None = None
    enabled: bool = True
    nodes: list[str] = []
    revision: str | None = Field(default=None, description="The catalog's.")
    definition: Meta | None = Field(default=None, description="Absent for one that is broken.")
    instances: list[InstanceView] = []
    data_items: list[DataItemView] = []
    warnings: list[WarningView] = []
    problems: list[Problem] = Field(default=[], description="Why it cannot be worked with.")


class NodeView(View):
    """A node, as its agent sees it."""

    id: str
    display_name: str
    online: bool
    needs_update: bool = False
    last_seen: datetime | None = None
    docker: bool | None = Field(default=None, description="Whether its engine answers.")
    repository: bool = Field(description="Whether it holds the repository.")
    public_ipv4: str | None = None
    public_ipv6: str | None = None
    versions: Versions | None = None
    disks: list[Disk] = []
    containers: list[Container] = []
    services: list[str] = []


class RepositoryView(View):
    """The repository, as our records know it."""

    repository_id: str | None
    service: str | None
    nodes: list[str]
    snapshots: int = Field(description="Records with a snapshot.")
    size: int | None = Field(description="Bytes that backups have added.")
    last_check: datetime | None = None
    last_check_succeeded: bool | None = None


def service_view(
    service: Service,
    nodes: Mapping[str, NodeState | None],
    online: Mapping[str, bool],
    last: Mapping[str, Backup],
) -> ServiceView:
    """`last`: the last good backup of each data item."""
    return ServiceView(
        name=service.name,
        folder=service.ref.folder,
        project=service.ref.project,
        enabled=service.meta.enabled,
        nodes=list(service.meta.nodes),
        revision=service.ref.revision,
        definition=service.meta,
        instances=_instances(service, nodes, online),
        data_items=_data_items(service, last),
        warnings=[_warning(mount) for mount in unprotected(service, nodes).values()],
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
    running = [container.state in RUNNING for container in containers]
    if not running:
        return InstanceState.ABSENT
    if all(running):
        return InstanceState.RUNNING
    return InstanceState.PARTLY if any(running) else InstanceState.STOPPED


def _instance_of(state: NodeState | None, service: str) -> Instance | None:
    found = state.instances if state else ()
    return next((one for one in found if one.service == service), None)


def _data_items(service: Service, last: Mapping[str, Backup]) -> list[DataItemView]:
    scheduled = {entry.name for entry in service.meta.backup.data}
    return [
        DataItemView(
            name=item.name,
            backup=item.backup.strategy if item.backup else None,
            restore=item.restore.strategy if item.restore else None,
            scheduled=item.name in scheduled,
            last_backup=last.get(item.name),
        )
        for item in service.meta.data_protect.data
    ]


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
