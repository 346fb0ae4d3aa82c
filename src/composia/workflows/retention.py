"""Forgetting what retention does not keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Told
from composia.model.backup import Backup, BackupStatus, place_of
from composia.model.meta import Keep
from composia.model.names import Name
from composia.model.retention import BEGUN, DROPPED, NO_POLICY, Verdict, states_of, verdicts
from composia.operations.repository import TagOfOurs
from composia.operations.tidying import ForgetSnapshots
from composia.tools.wording import few
from composia.workflows.comparing import MISSING_HINT, Compared, compare
from composia.workflows.known import Known
from composia.workflows.objections import Objections
from composia.workflows.plan import Hold, PartlyDone, Run
from composia.workflows.repository import RepositoryPlan, holders, made

GONE_SERVICE = "its service is not in the catalog, or is broken there: everything stays"
GONE_ITEM = "it is no data item of its service any more: everything stays"


class ForgetRequest(BaseModel):
    """What retention is applied to; by default all items of all services."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    services: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Only these; by default all."
    )
    data_items: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Only items of these names; by default all."
    )
    drop_missing: bool = Field(
        default=False,
        description="Drop records whose snapshot is missing: a person's word that it was removed "
        "on purpose.",
    )


class Judged(BaseModel):
    """A backup, and whether it stays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backup_id: str
    time: datetime
    status: BackupStatus
    snapshot_id: str | None
    task_id: str | None
    missing: bool
    keeps: bool
    why: tuple[str, ...]


class JudgedItem(BaseModel):
    """The backups of one data item on one node, the newest first, and the policy for them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    service: str
    data_item: str
    node: str
    keep: Keep | None
    backups: tuple[Judged, ...]
    #: Of the records that were judged: with another one the verdicts are void.
    state: str

    def __str__(self) -> str:
        return f"{self.data_item} of {self.service} on {self.node}"

    @property
    def of(self) -> str:
        """As `states_of` names it."""
        return place_of(self.service, self.data_item, self.node)


class ForgetPlan(RepositoryPlan):
    """Every item's backups judged, and those that go."""

    plan: Literal["forget"] = "forget"
    items: tuple[JudgedItem, ...]

    #: What was judged then may have been verified, or lost, since.
    may_retry: ClassVar[bool] = False

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name="repository"),)

    def __str__(self) -> str:
        every = [one for item in self.items for one in item.backups]
        return f"Forget {sum(not one.keeps for one in every)} of {len(every)} backups"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Forget", under the same numbers."""
        items = await self._still_valid(run)
        compared = await compare(run, self.repository, self.on[0])
        lost = _lost(items, compared)
        going = list(_going((item for item in items if str(item) not in lost), compared))
        gone, problem = await self._forget(run, going)
        dropped = [one.backup_id for one in going if not one.snapshot_id or one.snapshot_id in gone]
        await run.control("forget_backups", "forget_backups", backup_ids=dropped)
        result = {
            "forgotten": len(dropped),
            "kept": sum(len(item.backups) for item in self.items) - len(dropped),
            "snapshots_without_a_record": compared.listed.unknown,
            "missing": list(compared.missing),
        }
        _tell(problem, lost, result)
        return result

    async def _still_valid(self, run: Run) -> list[JudgedItem]:
        """Items that are as they were judged: what held the task up may have found one damaged."""
        states: Mapping[str, str] = await run.control("look_again", "backup_states")
        changed = [item for item in self.items if states.get(item.of) != item.state]
        for item in changed:
            run.log(f"Left alone: backups of {item} have changed since they were judged")
        return [item for item in self.items if item not in changed]

    async def _forget(self, run: Run, going: Sequence[Judged]) -> tuple[set[str], Told | None]:
        """The snapshots that are gone now, and what went wrong."""
        doomed = {one.backup_id for one in going}
        snapshots = tuple(
            TagOfOurs(
                snapshot_id=one.snapshot_id,
                task=one.task_id or "",
                service=item.service,
                item=item.data_item,
                node=item.node,
            )
            for item in self.items
            for one in item.backups
            if one.snapshot_id and one.backup_id in doomed
        )
        if not snapshots:
            return set(), None
        # What breaks off may have taken them out: the next forget settles their records.
        ids = [one.backup_id for one in going if one.snapshot_id]
        await run.control("begin_forgetting", "begin_forgetting", backup_ids=ids)
        operation = ForgetSnapshots(
            service=self.repository.service, repository=self.repository, snapshots=snapshots
        )
        forgotten = await run.on(self.on[0], "forget_snapshots", operation)
        for snapshot in forgotten.foreign:
            run.log(f"Left alone: the tags of {snapshot} do not say what its record says")
        return set(forgotten.gone), forgotten.problem


def plan_forget(
    known: Known, request: ForgetRequest, backups: Sequence[Backup], now: datetime
) -> ForgetPlan:
    """From all records. Raises NotFound for names that nobody knows, Conflict without a repository.

    Services and items that have left the catalog keep everything: nothing is forgotten by silence.
    """
    _object_to_strangers(known, request, backups)
    wanted = [one for one in backups if _is_wanted(one, request)]
    repository = made(known)
    return ForgetPlan(
        repository=repository,
        on=holders(known)[:1],
        items=tuple(_judged(known, request, wanted, now)),
    )


def _judged(
    known: Known, request: ForgetRequest, backups: Iterable[Backup], now: datetime
) -> Iterator[JudgedItem]:
    zone = ZoneInfo(known.timezone)
    in_order = sorted(backups, key=lambda one: one.item_on_node)
    for (service, item, node), grouped in groupby(in_order, key=lambda one: one.item_on_node):
        records = {one.id: one for one in grouped}
        keep, otherwise = _policy(known, service, item)
        found = verdicts(
            records.values(),
            keep,
            zone=zone,
            now=now,
            otherwise=otherwise,
            drop_missing=request.drop_missing,
        )
        yield JudgedItem(
            service=service,
            data_item=item,
            node=node,
            keep=keep,
            backups=tuple(_of(records[one.backup_id], one) for one in found),
            state=states_of(records.values())[place_of(service, item, node)],
        )


def _policy(known: Known, service: str, item: str) -> tuple[Keep | None, str]:
    """The item's policy, and what is said where there is none."""
    found = known.catalog.services.get(service)
    if found is None:
        return None, GONE_SERVICE
    if found.meta.item(item) is None:
        return None, GONE_ITEM
    return found.meta.backup.keep or known.keep, NO_POLICY


def _of(backup: Backup, verdict: Verdict) -> Judged:
    return Judged(
        backup_id=backup.id,
        time=backup.time,
        status=backup.status,
        snapshot_id=backup.snapshot_id,
        task_id=backup.task_id,
        missing=backup.missing,
        keeps=verdict.keeps,
        why=verdict.why,
    )


def _is_wanted(backup: Backup, request: ForgetRequest) -> bool:
    services, items = request.services, request.data_items
    return (services is None or backup.service in services) and (
        items is None or backup.data_item in items
    )


def _object_to_strangers(known: Known, request: ForgetRequest, backups: Sequence[Backup]) -> None:
    wrong = Objections()
    services = {one.service for one in backups} | set(known.catalog.services)
    items = {one.data_item for one in backups} | {
        item.name
        for service in known.catalog.services.values()
        for item in service.meta.data_protect.data
    }
    for place, name in enumerate(request.services or ()):
        if name not in services:
            wrong.unknown(("services", place), "service", name, sorted(services))
    for place, name in enumerate(request.data_items or ()):
        if name not in items:
            wrong.unknown(("data_items", place), "data item", name, sorted(items))
    wrong.settle()


def _lost(items: Iterable[JudgedItem], compared: Compared) -> Mapping[str, list[str]]:
    """Items of which a snapshot has gone since they were judged: nothing of them is forgotten."""
    missing = set(compared.missing)
    found = {
        str(item): [
            one.backup_id
            for one in item.backups
            if one.keeps and not one.missing and one.backup_id in missing
        ]
        for item in items
    }
    return {item: ids for item, ids in found.items() if ids}


def _going(items: Iterable[JudgedItem], compared: Compared) -> Iterator[Judged]:
    """What goes; of what was said to be missing only what still is."""
    missing = set(compared.missing)
    for item in items:
        for one in item.backups:
            came_back = one.why in ((DROPPED,), (BEGUN,)) and one.backup_id not in missing
            if not one.keeps and not came_back:
                yield one


def _tell(
    problem: Told | None, lost: Mapping[str, Sequence[str]], result: Mapping[str, Any]
) -> None:
    """Raises PartlyDone for what went wrong."""
    if problem:
        raise PartlyDone(problem.message, result=result, hint=problem.hint)
    if lost:
        raise PartlyDone(
            "; ".join(
                f"nothing of {item} was forgotten: the repository has no snapshot of {few(ids)}"
                for item, ids in lost.items()
            ),
            result=result,
            hint=MISSING_HINT,
        )
