"""`/repository`: where the snapshots are."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from composia import errors
from composia.controller.api.bodies import parsed
from composia.controller.api.desk import AtDesk, Submit
from composia.controller.api.routes import answers, hands_in
from composia.model.config import Scope
from composia.model.shown import RepositoryView
from composia.model.task import Status
from composia.workflows.repository import (
    CheckRequest,
    plan_check_repository,
    plan_init_repository,
)

router = APIRouter(prefix="/repository", tags=["repository"])


@router.get("", **answers(errors.Conflict))
async def get_repository(desk: AtDesk) -> RepositoryView:
    """The repository, as our records know it."""
    desk.caller.must(Scope.READ)
    known = await desk.known()
    kept = [
        backup
        for backup in await desk.office.store.backups()
        if backup.snapshot_id and not backup.missing
    ]
    checks = await desk.office.store.tasks(type="check_repository", limit=10)
    last = next((check for check in checks if check.status.ended), None)
    holder = known.catalog.infra_rustic
    return RepositoryView(
        repository_id=known.repository_id,
        service=holder.name if holder else None,
        nodes=list(known.repository_nodes()),
        snapshots=len(kept),
        size=sum(backup.added for backup in kept),
        last_check=last.finished_at if last else None,
        last_check_succeeded=last.status is Status.SUCCEEDED if last else None,
    )


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
