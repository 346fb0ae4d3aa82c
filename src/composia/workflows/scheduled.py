"""What a schedule stands for: its kind, and the plan that is made when it is due."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from composia.model.backup import Backup, BackupKind
from composia.model.schedule import Kind, Schedule
from composia.tools.cron import runs_within
from composia.workflows.backup import BackupRequest, plan_backup
from composia.workflows.known import Known
from composia.workflows.offsite import CopyRequest, plan_copy
from composia.workflows.plan import Plan
from composia.workflows.prune import plan_prune
from composia.workflows.repository import CheckRequest, plan_check_repository
from composia.workflows.retention import ForgetRequest, plan_forget
from composia.workflows.verify import plan_verify

#: Parts that a check may read all data in.
MOST_PARTS = 1000


@dataclass(frozen=True, slots=True)
class Work:
    """Schedules that are due together: of a backup, all items of one service on one node."""

    schedules: Sequence[Schedule]
    node: str
    known: Known
    backups: Sequence[Backup]
    now: datetime
    #: When a proof of each item was last tried, by `Backup.place`.
    tried: Mapping[str, datetime]
    #: Backups that a run of the schedule has a task for already, and which.
    begun: Mapping[str, str]
    #: Days in which the checks together read all of the repository's data.
    read_all_within: int

    @property
    def first(self) -> Schedule:
        return self.schedules[0]

    @property
    def place(self) -> str:
        """The node to work on: where the service's instance of that node is now."""
        return self.known.active(str(self.first.service), self.node)


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done now, perhaps nothing, and why the rest has to wait."""

    plans: tuple[Plan, ...]
    left: str | None = None
    #: What is not done, and nobody waits for.
    without: str | None = None


def plans_for(work: Work) -> Planned:
    """Raises ComposiaError with what stands in the way."""
    if work.first.kind is Kind.VERIFY:
        proofs = plan_verify(work.known, work.backups, work.begun, work.tried)
        return Planned(proofs.plans, proofs.left, proofs.without)
    return Planned((_PLANNERS[work.first.kind](work),))


def _backup(work: Work) -> Plan:
    items = tuple(dict.fromkeys(str(one.data_item) for one in work.schedules))
    request = BackupRequest(data_items=items, nodes=(work.place,))
    return plan_backup(work.known, str(work.first.service), request, BackupKind.SCHEDULED)


def _forget(work: Work) -> Plan:
    return plan_forget(work.known, ForgetRequest(), work.backups, work.now)


def _prune(work: Work) -> Plan:
    return plan_prune(work.known)


def _check(work: Work) -> Plan:
    checks = runs_within(work.first.expression, work.read_all_within, work.now)
    request = CheckRequest(parts=min(max(checks, 1), MOST_PARTS))
    return plan_check_repository(work.known, request)


def _copy(work: Work) -> Plan:
    return plan_copy(work.known, CopyRequest(names=(str(work.first.copy),)))


_PLANNERS: Mapping[Kind, Callable[[Work], Plan]] = {
    Kind.BACKUP: _backup,
    Kind.FORGET: _forget,
    Kind.PRUNE: _prune,
    Kind.CHECK: _check,
    Kind.COPY: _copy,
}
