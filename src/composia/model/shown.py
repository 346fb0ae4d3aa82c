"""What the API shows of services, nodes, the catalog and the repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Problem
from composia.model.backup import Backup
from composia.model.meta import Meta
from composia.model.node import Container, Disk, Versions
from composia.model.schedule import Kind
from composia.model.task import Status

Item = TypeVar("Item")


class View(BaseModel):
    model_config = ConfigDict(frozen=True)


class Page(View, Generic[Item]):
    """A part of a list; `next_cursor` asks for the next one."""

    items: list[Item]
    next_cursor: str | None = None

    @classmethod
    def cut(cls, found: Sequence[Item], limit: int, place: Callable[[Item], str]) -> Page[Item]:
        """The first `limit` of what was found; `place` says where the next page goes on."""
        more = len(found) > limit
        return cls(items=list(found[:limit]), next_cursor=place(found[limit - 1]) if more else None)


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
    last_backup: Backup | None = Field(default=None, description="The last good one.")
    newest_backup: Backup | None = Field(default=None, description="Whatever came of it last.")
    overdue: str | None = Field(
        default=None, description="Why its last good backup is older than its schedule allows."
    )


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
    repository: bool | None = Field(
        description="Whether it holds the repository; null while its service is broken."
    )
    public_ipv4: str | None = None
    public_ipv6: str | None = None
    versions: Versions | None = None
    disks: list[Disk] = []
    containers: list[Container] = []
    services: list[str] = []


class CopyView(View):
    """A copy off site, as it was last seen."""

    name: str
    profile: str
    repository_id: str | None = Field(description="Null while nothing was ever copied.")
    snapshots: int = Field(description="How many it had.")
    complete_at: datetime | None = Field(
        description="As of when it was last seen to have all of them."
    )
    tried_at: datetime | None
    problem: str | None = Field(description="Why the last try is not complete.")


class RepositoryView(View):
    """The repository, as our records know it."""

    repository_id: str | None
    service: str | None
    nodes: list[str]
    snapshots: int = Field(description="Records with a snapshot.")
    size: int | None = Field(description="Bytes that backups have added.")
    missing: int = Field(default=0, description="Records whose snapshot is not there any more.")
    unproven: int = Field(default=0, description="Adopted ones that were never verified.")
    last_check: datetime | None = None
    last_check_succeeded: bool | None = None
    last_forget: datetime | None = None
    last_forget_succeeded: bool | None = None
    last_prune: datetime | None = None
    last_prune_succeeded: bool | None = None
    copies: list[CopyView] = Field(default=[], description="Off site, as config.yaml names them.")
    read_part: str | None = Field(
        default=None, description="Which part of how many of all data was read last: `2/8`."
    )


class LastRunView(View):
    """What came of a schedule last."""

    time: datetime = Field(description="The time it was meant for.")
    node: str | None = None
    task: str | None = Field(description="Null where there was nothing to do.")
    status: Status | None = Field(description="The task's; null where there was nothing to do.")
    remark: str | None = Field(default=None, description="What was not done, and why.")


class WaitingRunView(View):
    """A time that has come, and what keeps it from beginning."""

    time: datetime
    node: str | None = None
    for_: str = Field(alias="for", serialization_alias="for")

    model_config = ConfigDict(populate_by_name=True)


class MissedRunView(View):
    """Times that have passed without a run."""

    time: datetime = Field(description="The last of them.")
    first: datetime
    times: int = Field(description="How many.")
    node: str | None = None
    reason: str


class ScheduleView(View):
    """One thing that is done again and again."""

    key: str = Field(description="The same as long as it is about the same.")
    kind: Kind
    service: str | None = None
    data_items: list[str] = []
    nodes: list[str] = Field(default=[], description="Of a backup: each has a run of its own.")
    schedule: str = Field(description="Five cron fields, or `@daily` and the like.")
    timezone: str
    next: datetime | None = Field(
        description="When it begins next: its minute, and what it is spread by."
    )
    last: LastRunView | None = Field(
        default=None, description="What came of it last; where one of its nodes has failed, that."
    )
    waiting: list[WaitingRunView] = Field(default=[], description="What is due and cannot begin.")
    missed: list[MissedRunView] = Field(default=[], description="The newest ones first.")


class EntryView(View):
    """A file or folder of a backup."""

    path: str
    type: str
    size: int | None = None


class Committed(View):
    """The commit that was made of a file."""

    path: str
    revision: str


class Reloaded(View):
    """What is known after config.yaml was read again."""

    access_tokens: list[str]
    nodes: list[str]
    #: Keys that have changed and count only when the controller is started again.
    needs_restart: list[str] = []
