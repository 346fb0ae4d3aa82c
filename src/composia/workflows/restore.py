"""Bringing a service's data back, and bringing back what that replaced."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from composia.errors import Conflict
from composia.model.backup import Backup
from composia.model.catalog import Service
from composia.model.names import Name
from composia.model.service import RepositoryRef
from composia.model.task import Status, Task
from composia.operations.repository import OpenRepository, RepositoryOpened
from composia.operations.restore import ExchangeBack, ExchangeData, FetchData, ItemToRestore
from composia.tools.paths import relative_path
from composia.tools.wording import names
from composia.workflows import choice
from composia.workflows.backup import BackupPlan
from composia.workflows.known import Known, nodes_of
from composia.workflows.objections import Objections
from composia.workflows.offsite import as_in_copy, source_of_copies
from composia.workflows.opening import with_id
from composia.workflows.plan import Hold, OnOneNode, Plan, Run, instance, placement
from composia.workflows.repository import made
from composia.workflows.safety import plan_safety_copy, save_before

To = Literal["in_place", "scratch"]
#: The step of a restore that replaces data.
EXCHANGE = "exchange_data"


class BackupRestoreRequest(BaseModel):
    """Where one backup is restored to; by default in place, on the node it was taken on."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    node: Name | None = Field(default=None, description="By default the node it was taken on.")
    source: Name | None = Field(
        default=None,
        alias="from",
        description="A copy off site (of `controller.offsite`), instead of the repository.",
    )
    to: To = Field(default="in_place", description="Or `scratch`: a folder beside the live data.")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Only this file or folder, as `GET /backups/{id}/files` names it.",
    )
    without_safety_copy: bool = Field(
        default=False,
        description="Do not save first what lies on a mount point and is replaced there.",
    )


LatestOrTime = Literal["latest"] | AwareDatetime
_AT: TypeAdapter[datetime | str] = TypeAdapter(LatestOrTime, config=ConfigDict(strict=True))


def _latest_or_time(value: Any, parse: ValidatorFunctionWrapHandler) -> Any:
    wrong = ValueError("must be `latest` or a time with its zone, as in 2026-11-20T10:00:00Z")
    if isinstance(value, str) and value.replace(".", "").isdecimal():
        # It would be read as seconds since 1970.
        raise wrong
    try:
        # Text of JSON is read as such: a strict reading of Python's takes none for a time.
        return _AT.validate_json(json.dumps(value)) if isinstance(value, str) else parse(value)
    except ValidationError:
        raise wrong from None


class RestoreRequest(BaseModel):
    """What to restore; by default the newest good backup of every item."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    node: Name | None = Field(
        default=None, description="By default the service's node, where it has only one."
    )
    source: Name | None = Field(
        default=None,
        alias="from",
        description="A copy off site (of `controller.offsite`), instead of the repository.",
    )
    data_items: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="By default all that can be restored."
    )
    backup_ids: tuple[str, ...] = Field(
        default=(), description="These backups, instead of the newest of their items."
    )
    at: Annotated[LatestOrTime, WrapValidator(_latest_or_time)] = Field(
        default="latest", description="The newest good backups, or as it was at this time."
    )
    unproven: bool = Field(
        default=False,
        description="Where an item has no good backup: also one that was adopted and never proven.",
    )
    to: To = Field(default="in_place", description="Or `scratch`: a folder beside the live data.")
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="Only this file or folder, as `GET /backups/{id}/files` names it.",
    )
    without_safety_copy: bool = Field(
        default=False,
        description="Do not save first what lies on a mount point and is replaced there.",
    )

    @property
    def time(self) -> datetime | None:
        """The time to go back to; None for the newest."""
        return self.at if isinstance(self.at, datetime) else None


class RestorePlan(OnOneNode):
    """Snapshots fetched and checked beside the live data, then exchanged with it."""

    plan: Literal["restore"] = "restore"
    repository: RepositoryRef
    items: tuple[ItemToRestore, ...]
    path: str | None = None
    to: To = "in_place"
    #: What a person should know: of a backup that is unproven or another node's, and what stays.
    remarks: tuple[str, ...] = ()
    #: What is there, saved before what cannot be exchanged in one instant is replaced.
    before: BackupPlan | None = None

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (
            Hold(name=placement(self.service.name), shared=True),
            Hold(name=instance(self.service.name, self.node)),
            Hold(name="repository", shared=True),
        )

    def __str__(self) -> str:
        items = names([item.wanted.item for item in self.items])
        only = f"{self.path} in " if self.path else ""
        scratch = " to a scratch folder" if self.to == "scratch" else ""
        copy = f" from {self.repository.copy_name}" if self.repository.copy_name else ""
        return f"Restore {only}{items} of {self.service} on {self.node}{scratch}{copy}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Restore", under the same numbers."""
        return await self.bring(run, "fetch_data", EXCHANGE)

    async def bring(self, run: Run, fetch: str, exchange: str) -> dict[str, Any]:
        """The same, with other names for its steps: for plans that restore something too."""
        opening = OpenRepository(service=self.repository.service, repository=self.repository)
        opened = await run.on(self.node, "open_repository", opening)
        fetched = await run.on(self.node, fetch, self._fetch(opened))
        result = fetched.model_dump(mode="json")
        result["warnings"] = [*self.remarks, *result["warnings"]]
        if self.to == "in_place":
            if self.before:
                result["warnings"] += await save_before(
                    run, self.before, self.items, fetched.by_moves, {self.node: opened}
                )
            exchanged = await run.on(self.node, exchange, ExchangeData(service=self.service))
            result |= exchanged.model_dump(mode="json")
        return result

    def _fetch(self, opened: RepositoryOpened) -> FetchData:
        return FetchData(
            service=self.service,
            repository=with_id(self.repository, opened),
            items=self.items,
            path=self.path,
            to=self.to,
        )


class RollbackPlan(OnOneNode):
    """What a restore replaced, brought back by the same exchange."""

    plan: Literal["rollback"] = "rollback"
    of_task: str

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (
            Hold(name=placement(self.service.name), shared=True),
            Hold(name=instance(self.service.name, self.node)),
        )

    def __str__(self) -> str:
        return f"Bring back what task {self.of_task} replaced of {self.service} on {self.node}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The step of docs/design.md, "Rollback"."""
        operation = ExchangeBack(service=self.service, of_task=self.of_task)
        exchanged = await run.on(self.node, "exchange_back", operation)
        return exchanged.model_dump(mode="json")


def plan_restore(
    known: Known, service: str, request: RestoreRequest, backups: Sequence[Backup]
) -> RestorePlan:
    """From the records of the service's backups, and of those the request names.

    Raises ComposiaError, with all that stands in the way.
    """
    found, wrong = known.service(service), Objections()
    node = _node(known, found, request.node, wrong)
    if request.source:
        backups = as_in_copy(backups, request.source)
    chosen = choice.backups(found, node or "", _asked(request), backups, wrong)
    plan = _plan(known, found, node, chosen, request, wrong)
    if request.data_items is None and not request.backup_ids:
        left_out = choice.left_out(found, chosen, _asked(request), backups)
        return plan.model_copy(update={"remarks": (*plan.remarks, *left_out)})
    return plan


def plan_restore_backup(known: Known, request: BackupRestoreRequest, backup: Backup) -> RestorePlan:
    """From one record. Raises ComposiaError, with all that stands in the way."""
    found, wrong = known.service(backup.service), Objections()
    node = _node(known, found, request.node or backup.node, wrong)
    if request.source:
        backup = _in_copy(backup, request.source, wrong)
    choice.object_to_a_bad_one(backup, (), wrong)
    return _plan(known, found, node, [backup], request, wrong)


def plan_rollback(known: Known, task: Task, of: Plan, earlier: Task | None = None) -> RollbackPlan:
    """Raises Conflict for a task that replaced nothing, and after an `earlier` rollback of it."""
    if earlier:
        raise Conflict(
            f"task {earlier.id} has brought back what {task.id} replaced",
            hint="Restore again to have the backup's data once more.",
        )
    if not isinstance(of, RestorePlan) or of.to != "in_place":
        raise Conflict(
            f"task {task.id} has replaced no data",
            hint="Only a restore in place can be rolled back.",
        )
    if not task.status.ended:
        raise Conflict(
            f"task {task.id} is {task.status}: only a restore that has ended can be rolled back",
            hint=f"`composia task cancel {task.id}` ends it.",
        )
    if task.status is not Status.SUCCEEDED and "rollback" not in task.actions:
        raise Conflict(
            f"task {task.id} is {task.status}: it has replaced no data that is still kept",
            hint="A restore that fails leaves the data as it was.",
        )
    wrong = Objections()
    found = known.service(of.service.name)
    known.object_to_foreign_projects(found.ref, [of.node], wrong)
    wrong.settle()
    return RollbackPlan(service=found.ref, node=of.node, of_task=task.id)


def _node(known: Known, service: Service, wanted: str | None, wrong: Objections) -> str | None:
    if wanted is None and len(service.meta.nodes) != 1:
        wrong.invalid(
            ("node",),
            f"{service.name} has {len(service.meta.nodes)} nodes: name the one to restore on",
            nodes_of(service),
        )
        return None
    node = wanted or service.meta.nodes[0]
    if node not in known.nodes:
        wrong.unknown(("node",), "node", node, known.nodes)
        return None
    return node


def _asked(request: RestoreRequest) -> choice.Asked:
    return choice.Asked(
        items=request.data_items,
        ids=request.backup_ids,
        at=request.time,
        unproven=request.unproven,
        source=request.source,
    )


def _plan(
    known: Known,
    service: Service,
    node: str | None,
    chosen: Sequence[Backup],
    request: RestoreRequest | BackupRestoreRequest,
    wrong: Objections,
) -> RestorePlan:
    on = [node] if node else []
    if request.to == "in_place":
        known.object_to_what_has_left(service, on, wrong)
    repository = _repository(known, request.source, node, wrong)
    known.object_to_foreign_projects(service.ref, on, wrong)
    items = choice.items_to_restore(service, chosen, wrong)
    path = _path(request.path, items, wrong)
    wrong.settle()
    assert repository
    return RestorePlan(
        service=service.ref,
        repository=repository,
        node=on[0],
        items=items,
        path=path,
        to=request.to,
        remarks=choice.remarks(chosen, on[0]),
        # A restore from a copy goes on where there is no repository any more that could take it.
        before=None
        if request.source or request.without_safety_copy
        else plan_safety_copy(known, service, on[0], items),
    )


def _in_copy(backup: Backup, name: str, wrong: Objections) -> Backup:
    if found := as_in_copy([backup], name):
        return found[0]
    has = f"It is in {names(backup.copies)}." if backup.copies else "It is in no copy at all."
    wrong.conflict(("from",), f"backup {backup.id} is not known to be in {name}", has)
    return backup


def _repository(
    known: Known, source: str | None, node: str | None, wrong: Objections
) -> RepositoryRef | None:
    if source:
        return source_of_copies(known, source, node, wrong)
    known.object_to_an_unreachable_repository({("node",): node} if node else {}, wrong)
    return made(known)


def _path(path: str | None, items: Sequence[ItemToRestore], wrong: Objections) -> str | None:
    if path is None:
        return None
    if len(items) > 1:
        wrong.invalid(("path",), "a path can only be restored from one data item: name it")
    try:
        return relative_path(path)
    except ValueError as error:
        wrong.invalid(("path",), str(error))
        return None
