"""Backing up a service's data items."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Cancelled, ComposiaError, Told
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.catalog import Service
from composia.model.ids import STAMP
from composia.model.names import Name
from composia.model.service import RepositoryRef
from composia.operations.backup import DataSaved, ItemSaved, ItemToSave, SaveData
from composia.operations.repository import RepositoryOpened
from composia.strategies import AnyBackupStrategy
from composia.strategies.base import Saved
from composia.tools.wording import few, names
from composia.workflows.known import Known
from composia.workflows.objections import Objections, Place
from composia.workflows.opening import open_repository, with_id
from composia.workflows.plan import Hold, OnNodes, PartlyDone, Run, instance, numbered, partly
from composia.workflows.sides import errors_of

#: On a snapshot, as `name=value`: its record's kind, and that of a copy that is not whole.
KIND = "kind"
RECORD = "record"
LIVE = "taken=live"
#: Why a move's safety copy of an item that is saved stopped is not whole: it counts for nothing.
TAKEN_LIVE = (
    "taken while the service ran, for a move stops nothing for its safety copy: the item's own"
    " strategy stops the service first"
)
#: Of these copies an item may have nothing in it: perhaps that is what has just gone wrong.
TAKEN_AS_IT_IS = (BackupKind.MIGRATION, BackupKind.BEFORE_RESTORE)
#: The same of one with nothing in it, which may be what has just gone wrong.
EMPTY = "there was nothing in "
#: What to do about paths that could not be read.
UNREAD = (
    "They are missing in the backup. Look at them on the node (who may read them: rustic reads as "
    "the `user` of its compose service; whether the disk is sound), or `exclude` them in "
    "composia-meta.yaml; then back up again."
)


class BackupRequest(BaseModel):
    """What to back up, and where; by default all items under `backup.data`, on every node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data_items: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="By default all items under `backup.data`."
    )
    nodes: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Ids of nodes; by default the service's nodes."
    )


#: The ids of the records to be made, by node and item.
Ids = Mapping[tuple[str, str], str]


class NamedItem(BaseModel):
    """A data item and the way it is saved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    strategy: AnyBackupStrategy
    #: The item's own strategy stops the service, and this one does not.
    taken_live: bool = False


class BackupPlan(OnNodes):
    """Every item saved on every node, and a record of each."""

    plan: Literal["backup"] = "backup"
    repository: RepositoryRef
    items: tuple[NamedItem, ...]
    kind: BackupKind = BackupKind.MANUAL

    #: What a second attempt saves would take the place of the records of the first.
    may_retry: ClassVar[bool] = False

    @property
    def holds(self) -> tuple[Hold, ...]:
        services = (Hold(name=instance(self.service.name, node)) for node in self.on)
        # The first backup makes the repository, and two that do so at once spoil it.
        return (*services, Hold(name="repository", shared=bool(self.repository.repository_id)))

    def __str__(self) -> str:
        items = names([item.name for item in self.items])
        return f"Back up {items} of {self.service} on {names(self.on)}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Backup", under the same numbers."""
        return await self.save(run, "save_data")

    async def save(self, run: Run, step: str) -> dict[str, Any]:
        """The same, with another name for its longest step: for plans that save something too."""
        opened = await open_repository(run, self.repository, self.on)
        return (await self.keep(run, step, opened)).settle()

    async def keep(
        self,
        run: Run,
        step: str,
        opened: Mapping[str, RepositoryOpened | ComposiaError],
        number: int = 1,
    ) -> Recorded:
        """The same, where the repository has been opened on each node, or could not be.

        `number`: how many times this task has done so, for the names of its steps.
        """
        spared, ids = await self._earlier(run, number), await self._ids(run, number)
        saves = self._saves(opened, spared, ids)
        saved = await run.on_each(numbered(step, number), saves)
        outcomes = {**errors_of(opened), **saved}
        records = await self._records(run, outcomes, ids, number)
        refused: Mapping[str, str] | None = await run.control(
            numbered("record_backups", number),
            "record_backups",
            backups=[record.model_dump(mode="json") for record in records],
            task=run.task,
            saved_in=numbered(step, number),
        )
        why = refused or {}
        kept = (one.refused(why[one.id]) if one.id in why else one for one in records)
        return Recorded(tuple(kept), outcomes)

    async def _earlier(self, run: Run, number: int) -> tuple[str, ...]:
        """What earlier attempts of the task have saved of the items, and recorded."""
        if run.attempt == 1:
            return ()
        step = numbered("read_earlier", number)
        return tuple(await run.control(step, "saved_by", task=run.task))

    async def _ids(self, run: Run, number: int) -> Ids:
        """The records' ids, by node and item."""
        stamp = None
        if run.attempt > 1:
            # What is saved days after its task was made is newer than what was saved meanwhile.
            stamp = await run.control(numbered("new_stamp", number), "new_stamp")
        return {
            (node, item.name): backup_id(run.task, item.name, node, run.attempt, stamp)
            for node in self.on
            for item in self.items
        }

    def _saves(
        self,
        opened: Mapping[str, RepositoryOpened | ComposiaError],
        spared: tuple[str, ...],
        ids: Ids,
    ) -> dict[str, SaveData]:
        return {
            node: SaveData(
                service=self.service,
                repository=with_id(self.repository, found),
                spared=spared,
                empty_is_fine=self.kind in TAKEN_AS_IT_IS,
                items=tuple(
                    ItemToSave(
                        name=item.name,
                        backup_id=ids[node, item.name],
                        strategy=item.strategy,
                        marks=self._marks(item, ids[node, item.name]),
                    )
                    for item in self.items
                ),
            )
            for node, found in opened.items()
            if isinstance(found, RepositoryOpened)
        }

    def _marks(self, item: NamedItem, record: str) -> tuple[str, ...]:
        live = (LIVE,) if item.taken_live else ()
        return (f"{KIND}={self.kind}", f"{RECORD}={record}", *live)

    async def _records(
        self,
        run: Run,
        outcomes: Mapping[str, DataSaved | ComposiaError],
        ids: Ids,
        number: int,
    ) -> list[Backup]:
        records: list[Backup] = []
        failed = bool(errors_of(outcomes))
        now = await run.control(numbered("now", number), "now") if failed else None
        for node in self.on:
            outcome = outcomes[node]
            if isinstance(outcome, DataSaved):
                records += [self._record(run, ids, node, item) for item in outcome.items]
            else:
                records += self._failures(run, ids, node, outcome, now)
        return records

    def _record(self, run: Run, ids: Ids, node: str, item: ItemSaved) -> Backup:
        named = next(one for one in self.items if one.name == item.name)
        common = self._common(run, ids, node, named)
        common |= {"time": item.started_at, "duration": item.duration}
        if item.saved is None:
            error = item.error.message if item.error else "nothing was said about it"
            return Backup(**common, snapshot_id=None, status=BackupStatus.FAILED, error=error)
        found = _of_snapshot(item.saved)
        if named.taken_live and not found["error"]:
            found |= {"status": BackupStatus.PARTIAL, "error": TAKEN_LIVE}
        return Backup(**common, **found)

    def _failures(
        self, run: Run, ids: Ids, node: str, error: ComposiaError, now: Any
    ) -> list[Backup]:
        return [
            Backup(
                **self._common(run, ids, node, item),
                time=now,
                snapshot_id=None,
                status=BackupStatus.FAILED,
                error=error.message,
            )
            for item in self.items
        ]

    def _common(self, run: Run, ids: Ids, node: str, item: NamedItem) -> dict[str, Any]:
        return {
            "id": ids[node, item.name],
            "service": self.service.name,
            "data_item": item.name,
            "node": node,
            "kind": self.kind,
            "task_id": run.task,
            "strategy": item.strategy.strategy,
            "exclude": getattr(item.strategy, "exclude", ()),
        }


@dataclass(frozen=True, slots=True)
class Recorded:
    """What came of it: the records, and what each node answered."""

    records: tuple[Backup, ...]
    outcomes: Mapping[str, DataSaved | ComposiaError]

    def without(self, items: Sequence[str]) -> Recorded:
        """The same, with nothing said of some items."""
        return replace(self, records=tuple(r for r in self.records if r.data_item not in items))

    def settle(self) -> dict[str, Any]:
        """The task's result.

        Raises PartlyDone where not all was saved, and Cancelled: PartlyCancelled, where a node had
        saved its items by then.
        """
        return _result(self.records, self.outcomes)


def plan_backup(
    known: Known, service: str, request: BackupRequest, kind: BackupKind = BackupKind.MANUAL
) -> BackupPlan:
    """Raises ComposiaError, with all that stands in the way."""
    found, wrong = known.service(service), Objections()
    repository = known.repository()
    wanted = known.active_nodes(found) if request.nodes is None else request.nodes
    on = known.nodes_with_instances(found, wanted, wrong)
    known.object_to_what_has_left(found, on, wrong)
    items = _items(found, request.data_items, wrong)
    known.object_to_a_disabled(found, wrong)
    places: dict[Place, str] = {("nodes", number): node for number, node in enumerate(on)}
    known.object_to_an_unreachable_repository(places, wrong)
    known.object_to_foreign_projects(found.ref, on, wrong)
    wrong.settle()
    return BackupPlan(service=found.ref, repository=repository, on=on, items=items, kind=kind)


def _items(
    service: Service, wanted: Sequence[str] | None, wrong: Objections
) -> tuple[NamedItem, ...]:
    chosen = [entry.name for entry in service.meta.backup.data] if wanted is None else wanted
    if not chosen:
        wrong.conflict(
            (),
            f"{service.name} has nothing to back up",
            "Name its data items under `backup.data` in its composia-meta.yaml.",
        )
    known = [item.name for item in service.meta.data_protect.data]
    items = []
    for place, name in enumerate(dict.fromkeys(chosen)):
        item = service.meta.item(name)
        if item is None:
            wrong.unknown_item(("data_items", place), service.name, name, known)
        elif item.backup is None:
            wrong.conflict(("data_items", place), f"data item {name} has no way to be saved",
                           "Give it a `backup` in its composia-meta.yaml.")  # fmt: skip
        else:
            items.append(NamedItem(name=name, strategy=item.backup))
    return tuple(items)


def backup_id(task: str, item: str, node: str, attempt: int = 1, stamp: str | None = None) -> str:
    """The record's id: the same whenever it is asked for, and in order after its stamp's time.

    Each attempt of a task has records of its own: none takes the place of what is still there.
    The first one's stamp is its task's.
    """
    of = f"{task}/{item}/{node}" + (f"/{attempt}" if attempt > 1 else "")
    digest = hashlib.sha256(of.encode()).digest()
    return (stamp or task[:STAMP]) + base64.b32hexencode(digest)[:16].decode()


def _of_snapshot(saved: Saved) -> dict[str, Any]:
    snapshot, error = saved.snapshot, _fault(saved)
    return {
        "snapshot_id": snapshot.id,
        "status": BackupStatus.PARTIAL if error else BackupStatus.SUCCESS,
        "size": snapshot.size,
        "added": snapshot.added,
        "files": snapshot.files,
        "error": error,
        "warnings": (
            *_warnings("could not be read", saved.unread, saved.more_unread),
            *_warnings("changed while it was read", saved.changed, saved.more_changed),
            *saved.warnings,
        ),
        "changed": saved.changed,
    }


def _fault(saved: Saved) -> str | None:
    """Why it is not whole."""
    if saved.unread:
        return f"could not be read: {few(saved.unread, saved.more_unread)}"
    return f"{EMPTY}{names(saved.empty)}" if saved.empty else None


def _warnings(what: str, paths: Sequence[str], more: int) -> list[str]:
    others = [f"{what}: {more:,} more, which are not named here"] if more else []
    return [*(f"{what}: {path}" for path in paths), *others]


def _result(
    records: Sequence[Backup], outcomes: Mapping[str, DataSaved | ComposiaError]
) -> dict[str, Any]:
    result: dict[str, Any] = {"backup_ids": [record.id for record in records]}
    problems = {node: problem.message for node, problem in _problems(outcomes).items()}
    if problems:
        result["problems"] = problems
    _raise_cancelled(outcomes, result)
    wrong = [
        f"{record.data_item} on {record.node}: {record.status}: {record.error}"
        for record in records
        if record.status is not BackupStatus.SUCCESS and not _is_fine(record)
    ]
    wrong += [f"{node}: {message}" for node, message in problems.items()]
    if wrong:
        raise PartlyDone("; ".join(wrong), result=result, hint=_hint(outcomes))
    return result


def _raise_cancelled(
    outcomes: Mapping[str, DataSaved | ComposiaError], result: Mapping[str, Any]
) -> None:
    cancelled = [one for one in errors_of(outcomes).values() if isinstance(one, Cancelled)]
    if cancelled and any(isinstance(one, DataSaved) for one in outcomes.values()):
        raise partly(cancelled[0], result)
    for error in cancelled:
        raise error


def _is_fine(record: Backup) -> bool:
    """Whether it is not whole for a reason that was accepted beforehand."""
    error = record.error or ""
    return record.status is BackupStatus.PARTIAL and (
        error == TAKEN_LIVE or error.startswith(EMPTY)
    )


def _problems(outcomes: Mapping[str, DataSaved | ComposiaError]) -> dict[str, Told]:
    """Nodes on which something went wrong besides the items, and what."""
    return {
        node: outcome.problem
        for node, outcome in outcomes.items()
        if isinstance(outcome, DataSaved) and outcome.problem
    }


def _hint(outcomes: Mapping[str, DataSaved | ComposiaError]) -> str | None:
    hints = [error.hint for error in errors_of(outcomes).values()]
    for outcome in outcomes.values():
        if isinstance(outcome, DataSaved):
            hints += [item.error.hint for item in outcome.items if item.error]
            hints += [UNREAD for item in outcome.items if item.saved and item.saved.unread]
    hints += [problem.hint for problem in _problems(outcomes).values()]
    return " ".join(dict.fromkeys(hint for hint in hints if hint)) or None
