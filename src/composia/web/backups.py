"""`/backups`: the list, one of them, and what can be done with it but restoring."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from composia.controller.api.desk import Cursor, Id, ServiceName
from composia.controller.api.services import shown
from composia.errors import ComposiaError, Invalid
from composia.model.backup import Backup, BackupStatus
from composia.model.config import Scope
from composia.model.shown import Page
from composia.web.forms import parsed
from composia.web.visit import AtVisit, Visit
from composia.workflows.repository import ForgetBackupPlan, plan_forget_backup
from composia.workflows.verify import plan_verify_backup

router = APIRouter()

#: On one page.
LIMIT = 50

Filter = Annotated[str, Query(max_length=128)]


class Confirmed(BaseModel):
    """What somebody has typed, so that nothing goes by a slip of the hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confirm: str = Field(default="", max_length=4096)


@router.get("/backups")
async def list_backups(
    visit: AtVisit,
    service: Filter = "",
    data_item: Filter = "",
    node: Filter = "",
    status: Filter = "",
    cursor: Cursor = None,
) -> Response:
    """All backups, the newest first."""
    chosen = {"service": service, "data_item": data_item, "node": node, "status": status}
    found = await visit.office.store.backups(
        services=visit.services(service or None),
        data_item=data_item or None,
        node=node or None,
        status=status or None,
        before=cursor,
        limit=LIMIT + 1,
    )
    return visit.page(
        "backups.html",
        backups=Page[Backup].cut(found, LIMIT, lambda one: one.id),
        chosen=chosen,
        offered=_offered(visit, service),
        cursor=cursor,
    )


@router.get("/services/{service}/backups")
async def list_of_service(
    visit: AtVisit,
    service: ServiceName,
    data_item: Filter = "",
    status: Filter = "",
    cursor: Cursor = None,
) -> Response:
    """Those of one service, as a tab of its page."""
    visit.caller.must_see(service)
    found = await visit.office.store.backups(
        services=(service,),
        data_item=data_item or None,
        status=status or None,
        before=cursor,
        limit=LIMIT + 1,
    )
    return visit.page(
        "service_backups.html",
        service=await shown(visit, service),
        tab="backups",
        backups=Page[Backup].cut(found, LIMIT, lambda one: one.id),
        chosen={"data_item": data_item, "status": status},
        offered=_offered(visit, service),
        cursor=cursor,
    )


@router.get("/backups/{id}")
async def show_backup(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # as api.md names it
    """Everything that is known of it."""
    backup = await visit.backup(id)
    can_verify = backup.has_something and not backup.missing
    return visit.page("backup.html", backup=backup, tab="overview", can_verify=can_verify)


@router.post("/backups/{id}/verify")
async def verify(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """Restore it for real to a place of its own, and compare."""
    backup = await visit.backup(id)
    visit.caller.must(Scope.OPERATE, backup.service)
    return await visit.submit(plan_verify_backup(await visit.known(), backup))


@router.get("/backups/{id}/delete")
async def ask_delete(visit: AtVisit, id: Id) -> Response:  # noqa: A002  # see above
    """Really? Or why it stays."""
    backup = await visit.backup(id)
    visit.caller.must(Scope.ADMIN, backup.service)
    refusal = None
    try:
        await _forgetting(visit, backup)
    except ComposiaError as error:
        refusal = error.as_told()
    return visit.dialog("delete_dialog.html", back=f"/backups/{id}", backup=backup, refusal=refusal)


@router.post("/backups/{id}/delete")
async def delete(visit: AtVisit, id: Id, request: Request) -> Response:  # noqa: A002  # see above
    """Take its snapshot out of the repository, and the record with it."""
    backup = await visit.backup(id)
    visit.caller.must(Scope.ADMIN, backup.service)
    plan = await _forgetting(visit, backup)
    typed = await parsed(request, Confirmed)
    if typed.confirm.strip() != backup.data_item:
        raise Invalid(
            f"what you typed is not `{backup.data_item}`", hint="Type the data item's name."
        )
    return await visit.submit(plan)


async def _forgetting(visit: Visit, backup: Backup) -> ForgetBackupPlan:
    others = await visit.backups_of(backup.service)
    return plan_forget_backup(await visit.known(), backup, others)


def _offered(visit: Visit, service: str) -> dict[str, list[str]]:
    """What there is to choose from."""
    every = {
        name: one
        for name, one in visit.office.catalog.view().services.items()
        if visit.caller.may_see(name)
    }
    of = [one for name, one in every.items() if service in ("", name)]
    items = {item.name for one in of for item in one.meta.data_protect.data}
    return {
        "service": sorted(every),
        "data_item": sorted(items),
        "node": [one.id for one in visit.office.config.nodes],
        "status": list(BackupStatus),
    }
