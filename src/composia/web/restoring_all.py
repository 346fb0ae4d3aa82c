"""`/services/NAME/restore`: the newest good backup of each data item, brought back together."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from composia.controller.api.desk import ServiceName
from composia.errors import ComposiaError, Conflict, Told
from composia.model.backup import Backup, BackupStatus
from composia.model.catalog import Service
from composia.model.config import Scope
from composia.model.names import Name
from composia.web.forms import asked, parsed
from composia.web.restoring import Outlook, outlook
from composia.web.visit import AtVisit, Visit
from composia.workflows import choice
from composia.workflows.known import Known
from composia.workflows.offsite import as_in_copy
from composia.workflows.restore import RestorePlan, RestoreRequest, To, plan_restore

router = APIRouter(prefix="/services")

LISTS = ("data_items", "backup_ids")
NOTHING = Told(kind="", message="no data item is chosen", hint="Tick one that has a backup.")


class Choice(BaseModel):
    """What stands in the form; `backup_ids` are those that were looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    node: Name | None = None
    source: Name | None = Field(default=None, alias="from")
    to: To = "in_place"
    unproven: bool = False
    without_safety_copy: bool = False
    data_items: tuple[Name, ...] = ()
    backup_ids: tuple[str, ...] = ()


class Offer(BaseModel):
    """A data item that can be brought back, with what it would be brought back from."""

    model_config = ConfigDict(frozen=True)

    item: str
    backup: Backup | None
    is_chosen: bool


@router.get("/{service}/restore")
async def ask_restore_all(visit: AtVisit, service: ServiceName, request: Request) -> Response:
    """All that can be brought back, from when, and what that replaces."""
    found = await _service(visit, service)
    wanted = asked(request, Choice, LISTS)
    every = tuple(item.name for item in found.meta.data_protect.data if item.restore)
    chosen = wanted if wanted.data_items else wanted.model_copy(update={"data_items": every})
    shown = await _shown(visit, found, chosen)
    return visit.dialog("restore_all_dialog.html", back=f"/services/{service}", **shown)


@router.get("/{service}/restore/plan")
async def show_plan_of_all(visit: AtVisit, service: ServiceName, request: Request) -> Response:
    """The same for another choice."""
    found = await _service(visit, service)
    return visit.page(
        "restore_all_choice.html", **await _shown(visit, found, asked(request, Choice, LISTS))
    )


@router.post("/{service}/restore")
async def restore_all(visit: AtVisit, service: ServiceName, request: Request) -> Response:
    """Do it, with the backups that were looked at."""
    found = await _service(visit, service)
    wanted = await parsed(request, Choice, LISTS)
    records = await visit.backups_of(service)
    known = {one.id: one for one in records}
    looked_at = [known[one] for one in wanted.backup_ids if one in known]
    if not looked_at or {one.data_item for one in looked_at} != set(wanted.data_items):
        raise Conflict(
            "what is chosen is not what was shown",
            hint="Tick the data items to bring back, read what that replaces, and press again.",
        )
    return await visit.submit(_plan(await visit.known(), found, wanted, looked_at, records))


async def _service(visit: Visit, service: str) -> Service:
    visit.caller.must(Scope.OPERATE, service)
    return (await visit.known()).service(service)


async def _shown(visit: Visit, service: Service, wanted: Choice) -> dict[str, object]:
    known, records = await visit.known(), await visit.backups_of(service.name)
    node = wanted.node or next(iter(service.meta.nodes), next(iter(known.nodes)))
    wanted = wanted.model_copy(update={"node": node})
    offers = _offers(service, wanted, records)
    chosen = [one.backup for one in offers if one.is_chosen and one.backup]
    return {
        "service": service,
        "wanted": wanted,
        "offers": offers,
        "chosen": chosen,
        "nodes": list(known.nodes),
        "sources": [
            one.name for one in known.offsite if any(one.name in each.copies for each in records)
        ],
        "has_unproven": any(one.status is BackupStatus.UNPROVEN for one in records),
        **_outlook(known, service, wanted, chosen, records),
    }


def _offers(service: Service, wanted: Choice, records: Sequence[Backup]) -> list[Offer]:
    there = as_in_copy(records, wanted.source) if wanted.source else records
    how, node = choice.Asked(unproven=wanted.unproven), wanted.node or ""
    offers = []
    for item in (one.name for one in service.meta.data_protect.data if one.restore):
        backup = choice.newest_asked_for(service.name, item, node, how, there)
        is_chosen = backup is not None and item in wanted.data_items
        offers.append(Offer(item=item, backup=backup, is_chosen=is_chosen))
    return offers


def _outlook(
    known: Known,
    service: Service,
    wanted: Choice,
    chosen: Sequence[Backup],
    records: Sequence[Backup],
) -> dict[str, Outlook | Told | None]:
    """`outlook`, or the `refusal` with all that stands in the way."""
    if not chosen:
        return {"outlook": None, "refusal": NOTHING}
    try:
        plan = _plan(known, service, wanted, chosen, records)
    except ComposiaError as error:
        return {"outlook": None, "refusal": error.as_told()}
    return {"outlook": outlook(plan, known.nodes), "refusal": None}


def _plan(
    known: Known,
    service: Service,
    wanted: Choice,
    chosen: Sequence[Backup],
    records: Sequence[Backup],
) -> RestorePlan:
    request = RestoreRequest(
        node=wanted.node,
        source=wanted.source,
        backup_ids=tuple(one.id for one in chosen),
        to=wanted.to,
        without_safety_copy=wanted.without_safety_copy,
    )
    return plan_restore(known, service.name, request, records)
