"""Proving backups: restored for real to a place of their own, and compared."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from composia.errors import Cancelled, ComposiaError, Conflict, Damaged
from composia.model.backup import SAFETY_COPIES, Backup, BackupStatus
from composia.model.catalog import Service
from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.repository import OpenRepository
from composia.operations.verifying import VerifyDump, VerifyFiles
from composia.strategies import dump
from composia.strategies.base import Wanted
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport
from composia.workflows import choice
from composia.workflows.known import Known
from composia.workflows.objections import Objections
from composia.workflows.plan import Hold, Plan, Run, instance
from composia.workflows.repository import holders, made

#: Backups that one run of the schedule tries to prove, those first whose item waits longest.
PER_RUN = 10


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a run of the schedule proves."""

    #: A task for each of the backups that are due.
    plans: tuple[VerifyPlan, ...] = ()
    #: Why the rest has to wait: a node cannot be asked now.
    left: str | None = None
    #: What nobody waits for, and why: no node could be asked at any time.
    without: str | None = None


class VerifyPlan(Plan):
    """One backup restored to scratch and compared, or imported and counted; then all removed."""

    plan: Literal["verify"] = "verify"
    #: The service whose data it is; the catalog may not have it any more.
    of: str
    service: ServiceRef
    repository: RepositoryRef
    node: str
    wanted: Wanted
    #: For a dump: the compose service whose image it is imported with.
    compose_service: str | None = None

    @property
    def service_name(self) -> str:
        return self.of

    @property
    def nodes(self) -> tuple[str, ...]:
        return (self.node,)

    @property
    def holds(self) -> tuple[Hold, ...]:
        shared = Hold(name="repository", shared=True)
        # A database of the service's project must not come up while something is proven stopped.
        alone = (Hold(name=instance(self.of, self.node)),) if self.compose_service else ()
        return (*alone, shared)

    def __str__(self) -> str:
        return f"Verify backup {self.wanted.backup_id} of {self.wanted.item} of {self.of}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Verify", under the same numbers."""
        opening = OpenRepository(service=self.repository.service, repository=self.repository)
        try:
            await run.on(self.node, "open_repository", opening)
            proven = await run.on(self.node, "verify", self._operation())
        except Cancelled:
            raise
        except ComposiaError as error:
            await self._note(run, error.message, proven=_says_of_the_backup(error))
            raise
        await self._note(run, proven.text, proven=True, whole=proven.whole)
        return {"backup_id": self.wanted.backup_id, **proven.model_dump(mode="json")}

    def _operation(self) -> VerifyFiles | VerifyDump:
        files = VerifyFiles(service=self.service, repository=self.repository, wanted=self.wanted)
        if self.compose_service is None:
            return files
        return VerifyDump(
            service=self.service,
            repository=self.repository,
            wanted=self.wanted,
            compose_service=self.compose_service,
        )

    async def _note(self, run: Run, text: str, *, proven: bool | None, **more: bool) -> None:
        await run.control(
            "note_verification",
            "note_verification",
            backup_id=self.wanted.backup_id,
            text=text if proven is not None else f"could not be verified: {text}",
            proven=proven,
            **more,
        )


def _says_of_the_backup(error: ComposiaError) -> bool | None:
    """False where the backup is not what it should be; None where something else went wrong."""
    return False if isinstance(error, Damaged) else None


def plan_verify_backup(known: Known, backup: Backup) -> VerifyPlan:
    """One record. Raises ComposiaError, with all that stands in the way."""
    wrong = Objections()
    choice.object_to_a_bad_one(backup, (), wrong, "there is nothing to verify")
    wrong.settle()
    if backup.strategy in dump.SAVED_BY:
        return _of_a_dump(known, backup)
    return _of_files(known, backup)


def plan_verify(
    known: Known,
    backups: Sequence[Backup],
    begun: Collection[str] = (),
    tried: Mapping[str, datetime] = MappingProxyType({}),
    limit: int = PER_RUN,
) -> Proofs:
    """What a run of the schedule proves: whose node cannot be asked now waits.

    `begun`: what the same run has a task for already. `tried`: see `due`. A dump that the catalog
    says nothing of any more cannot be imported by anybody, and one of a service that is deployed
    nowhere by nobody yet: nobody waits for them.
    """
    served = {one.item_on_node for one in backups if one.id in begun}
    plans, left, without = list[VerifyPlan](), list[str](), list[str]()
    for backup in due(backups, tried):
        if len(plans) + len(served) >= limit:
            return Proofs(tuple(plans), None, _in_short(without))
        if backup.item_on_node in served or _is_of_nobody(known, backup):
            continue
        what = f"{backup.data_item} of {backup.service} on {backup.node}"
        if _is_deployed_nowhere(known, backup):
            without.append(f"{what} cannot be proven until {backup.service} is deployed")
            continue
        try:
            plans.append(plan_verify_backup(known, backup))
        except ComposiaError as error:
            left.append(f"{what} is not proven: {error.message}")
    return Proofs(tuple(plans), _in_short(left), _in_short(without))


def _in_short(reasons: Sequence[str]) -> str | None:
    more = f" and {len(reasons) - 1} more" if len(reasons) > 1 else ""
    return f"{reasons[0]}{more}" if reasons else None


def _is_deployed_nowhere(known: Known, backup: Backup) -> bool:
    """A dump whose service no node has; one that was never seen might have it."""
    if backup.strategy not in dump.SAVED_BY or backup.service not in known.catalog.services:
        return False
    return not any(
        known.nodes[node] is None or _has(known, node, backup.service) for node in known.nodes
    )


def _is_of_nobody(known: Known, backup: Backup) -> bool:
    """A dump whose database has left the catalog; a service that is broken now may come back."""
    if backup.strategy not in dump.SAVED_BY:
        return False
    service = known.catalog.services.get(backup.service)
    if service is None:
        broken = {name for one in known.catalog.broken for name in (one.name, one.folder)}
        return backup.service not in broken
    return _compose_service(service, backup) is None


def due(
    backups: Sequence[Backup], tried: Mapping[str, datetime] = MappingProxyType({})
) -> list[Backup]:
    """The newest good backup of each item on each node, where that is not verified.

    First those whose item was never proven nor tried, then those for which that is longest ago.
    `tried`: when it was, by `Backup.place`: what cannot be tried keeps no other waiting.
    """
    by_item: dict[tuple[str, str, str], list[Backup]] = {}
    for backup in backups:
        by_item.setdefault(backup.item_on_node, []).append(backup)
    waiting = [
        (max(_last_proof(several), _seconds(tried.get(newest.place))), newest)
        for several in by_item.values()
        for newest in _newest(several)
    ]
    return [newest for _, newest in sorted(waiting, key=lambda pair: (pair[0], pair[1].id))]


def _newest(several: Sequence[Backup]) -> Iterator[Backup]:
    there = [one for one in several if _may_be_good(one)]
    newest = max(there, key=lambda one: one.id, default=None)
    if newest and newest.verified_at is None:
        yield newest


def _may_be_good(backup: Backup) -> bool:
    unproven = backup.status is BackupStatus.UNPROVEN and not (backup.missing or backup.damaged)
    unproven = unproven and backup.kind not in SAFETY_COPIES
    return backup.snapshot_id is not None and (unproven or backup.is_good)


def _last_proof(several: Sequence[Backup]) -> float:
    return max((_seconds(one.verified_at) for one in several), default=0.0)


def _seconds(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0


def _of_files(known: Known, backup: Backup) -> VerifyPlan:
    repository = made(known)
    service = known.catalog.services.get(backup.service)
    return VerifyPlan(
        of=backup.service,
        service=service.ref if service else repository.service,
        repository=repository,
        node=_node_for_files(known, backup),
        wanted=choice.as_wanted(backup),
    )


def _node_for_files(known: Known, backup: Backup) -> str:
    """The one it was taken on, else one that holds the repository."""
    everywhere = tuple(known.nodes) if known.catalog.remote_repository else ()
    reach = [node for node in (*holders(known), *everywhere) if known.answers(node)]
    if not reach:
        raise Conflict(
            "no node that holds the repository is online",
            hint="Start its agent with `composia agent`.",
        )
    own = backup.node in known.nodes and known.answers(backup.node)
    return backup.node if own else reach[0]


def _of_a_dump(known: Known, backup: Backup) -> VerifyPlan:
    service = known.service(backup.service)
    return VerifyPlan(
        of=backup.service,
        service=service.ref,
        repository=made(known),
        node=_node_for_a_dump(known, service, backup),
        wanted=choice.as_wanted(backup),
        compose_service=_database(service, backup),
    )


def _node_for_a_dump(known: Known, service: Service, backup: Backup) -> str:
    """One that has the service's files: nobody else gets them for this."""
    there = [node for node in known.nodes if _has(known, node, service.name)]
    answering = sorted(
        (node for node in there if known.answers(node)), key=lambda node: node != backup.node
    )
    if not answering:
        raise Conflict(
            f"no node that {service.name} was deployed on is online",
            hint="Its dump is imported there, with its own image. Start the agent of one of: "
            f"{', '.join(there) or 'none was deployed to'}.",
        )
    wrong = Objections()
    known.object_to_an_unreachable_repository({(): answering[0]}, wrong)
    wrong.settle()
    return answering[0]


def _has(known: Known, node: str, service: str) -> bool:
    state = known.nodes[node]
    return state is not None and any(one.service == service for one in state.instances)


def _compose_service(service: Service, backup: Backup) -> str | None:
    item = service.meta.item(backup.data_item)
    for strategy in (item.backup, item.restore) if item else ():
        if isinstance(strategy, PgDumpAll | PgImport):
            return strategy.service
    return None


def _database(service: Service, backup: Backup) -> str:
    """The compose service that its image is taken from."""
    if found := _compose_service(service, backup):
        return found
    raise Conflict(
        f"the catalog does not say any more which database {backup.data_item} is of",
        hint=f"Bring the data item back in the composia-meta.yaml of {service.name}.",
    )
