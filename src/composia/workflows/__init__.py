"""What the controller can be asked to do: the table of contents."""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field, TypeAdapter

from composia.workflows.adopt import AdoptPlan
from composia.workflows.backup import BackupPlan
from composia.workflows.caddy import CaddySyncPlan
from composia.workflows.dns import DnsUpdatePlan
from composia.workflows.migrate import MigratePlan
from composia.workflows.offsite import CopyPlan
from composia.workflows.prune import PrunePlan
from composia.workflows.repository import (
    CheckRepositoryPlan,
    ForgetBackupPlan,
    InitRepositoryPlan,
)
from composia.workflows.rescue import RescuePlan, StopStalePlan
from composia.workflows.restore import RestorePlan, RollbackPlan
from composia.workflows.retention import ForgetPlan
from composia.workflows.service import DeployPlan, RestartPlan, StopPlan, UpdatePlan
from composia.workflows.verify import VerifyPlan

AnyPlan = Annotated[
    DeployPlan
    | UpdatePlan
    | StopPlan
    | RestartPlan
    | BackupPlan
    | RestorePlan
    | RollbackPlan
    | MigratePlan
    | RescuePlan
    | StopStalePlan
    | CaddySyncPlan
    | DnsUpdatePlan
    | InitRepositoryPlan
    | CheckRepositoryPlan
    | ForgetBackupPlan
    | ForgetPlan
    | PrunePlan
    | AdoptPlan
    | VerifyPlan
    | CopyPlan,
    Field(discriminator="plan"),
]

#: What tasks can be: `type` of a task is `plan` of its plan.
KINDS: tuple[str, ...] = tuple(
    get_args(plan.model_fields["plan"].annotation)[0] for plan in get_args(get_args(AnyPlan)[0])
)

#: Reads a stored plan: `PLANS.validate_json(text)`.
PLANS: TypeAdapter[AnyPlan] = TypeAdapter(AnyPlan)
