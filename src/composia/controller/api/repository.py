"""`/repository`: where the snapshots are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Response

from composia import errors
from composia.controller.api.bodies import parsed
from composia.controller.api.desk import AtDesk, Desk, Submit
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers, hands_in
from composia.model.config import Offsite, Scope
from composia.model.offsite import CopyState
from composia.model.shown import CopyView, RepositoryView
from composia.model.task import Status
from composia.workflows.adopt import AdoptRequest, plan_adopt
from composia.workflows.offsite import CopyRequest, plan_copy
from composia.workflows.prune import plan_prune
from composia.workflows.repository import (
    CheckRequest,
    plan_check_repository,
    plan_init_repository,
)
from composia.workflows.retention import ForgetRequest, plan_forget

router = api_router("repository", "/repository")


@router.get("", **answers(errors.Conflict))
async def get_repository(desk: AtDesk) -> RepositoryView:
    """The repository, as our records know it."""
    desk.caller.must(Scope.READ)
    known = await desk.known()
    counted = await desk.office.store.counted_backups()
    holder = known.catalog.infra_rustic
    return RepositoryView(
        repository_id=known.repository_id,
        service=holder.name if holder else None,
        nodes=list(known.repository_nodes()),
        snapshots=counted.snapshots,
        size=counted.added,
        missing=counted.missing,
        unproven=counted.unproven,
        **await _last(desk, "check_repository", "check"),
        **await _last(desk, "forget", "forget"),
        **await _last(desk, "prune", "prune"),
        copies=[_copy(one, known.copies.get(one.name, CopyState())) for one in known.offsite],
        read_part=str(known.read_part) if known.read_part else None,
    )


def _copy(configured: Offsite, state: CopyState) -> CopyView:
    return CopyView(name=configured.name, profile=configured.profile, **state.model_dump())


async def _last(desk: Desk, kind: str, name: str) -> dict[str, Any]:
    """When the last task of a kind has ended, and whether well."""
    tasks = await desk.office.store.tasks(type=kind, limit=10)
    last = next((task for task in tasks if task.status.ended), None)
    return {
        f"last_{name}": last.finished_at if last else None,
        f"last_{name}_succeeded": last.status is Status.SUCCEEDED if last else None,
    }


@router.post("/init", **hands_in())
async def init(desk: AtDesk, submit: Submit) -> Response:
    """Make it, where there was never one."""
    desk.caller.must(Scope.ADMIN)
    return await submit.hand_in(plan_init_repository(await desk.known()))


@router.post("/check", **hands_in(CheckRequest))
async def check(
    desk: AtDesk,
    wanted: Annotated[CheckRequest, Depends(parsed(CheckRequest))],
    submit: Submit,
) -> Response:
    """Have rustic check it."""
    desk.caller.must(Scope.OPERATE)
    return await submit.hand_in(plan_check_repository(await desk.known(), wanted))


@router.post("/forget", **hands_in(ForgetRequest))
async def forget(
    desk: AtDesk,
    wanted: Annotated[ForgetRequest, Depends(parsed(ForgetRequest))],
    submit: Submit,
) -> Response:
    """Apply retention: with `dry_run`, what goes and what stays, and why."""
    desk.caller.must(Scope.ADMIN)
    backups = await desk.office.store.backups()
    plan = plan_forget(await desk.known(), wanted, backups, datetime.now(UTC))
    return await submit.hand_in(plan)


@router.post("/prune", **hands_in())
async def prune(desk: AtDesk, submit: Submit) -> Response:
    """Free the space of what was forgotten."""
    desk.caller.must(Scope.ADMIN)
    return await submit.hand_in(plan_prune(await desk.known()))


@router.post("/adopt", **hands_in(AdoptRequest))
async def adopt(
    desk: AtDesk,
    wanted: Annotated[AdoptRequest, Depends(parsed(AdoptRequest))],
    submit: Submit,
) -> Response:
    """Make records for snapshots that have none; they are unproven until verified."""
    desk.caller.must(Scope.ADMIN)
    return await submit.hand_in(plan_adopt(await desk.known(), wanted))


@router.post("/copy", **hands_in(CopyRequest))
async def copy(
    desk: AtDesk,
    wanted: Annotated[CopyRequest, Depends(parsed(CopyRequest))],
    submit: Submit,
) -> Response:
    """Copy all backups off site, and see that they are there."""
    desk.caller.must(Scope.OPERATE)
    return await submit.hand_in(plan_copy(await desk.known(), wanted))
