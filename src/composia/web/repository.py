"""`/repository`: where the snapshots are, how they are, and what is done with all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from composia.controller.api import repository
from composia.errors import ComposiaError, Told
from composia.model.config import Scope
from composia.web.forms import asked, parsed
from composia.web.visit import AtVisit, Visit
from composia.workflows.adopt import AdoptRequest, plan_adopt
from composia.workflows.known import Known
from composia.workflows.offsite import CopyRequest, plan_copy
from composia.workflows.plan import Plan
from composia.workflows.prune import plan_prune
from composia.workflows.repository import (
    CheckRequest,
    plan_check_repository,
    plan_init_repository,
)
from composia.workflows.retention import (
    ForgetPlan,
    ForgetRequest,
    Judged,
    JudgedItem,
    plan_forget,
)

router = APIRouter(prefix="/repository")

#: So many checks read all data, where no round of them has begun yet.
PARTS = 10
#: So many backups that go are listed before they do.
LISTED = 200


class Care(StrEnum):
    """What is done with all of it; templates/repository_dialog.html has the words."""

    INIT = "init"
    CHECK = "check"
    COPY = "copy"
    FORGET = "forget"
    PRUNE = "prune"
    ADOPT = "adopt"


NEEDS = {Care.CHECK: Scope.OPERATE, Care.COPY: Scope.OPERATE}


class Thorough(BaseModel):
    """How much of the data a check reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["structure", "part", "all"] = "structure"

    def request(self, parts: int) -> CheckRequest:
        """The same as the API says it."""
        return CheckRequest(
            read_data=self.how == "all", parts=parts if self.how == "part" else None
        )


class Leaving(BaseModel):
    """A data item on a node: what goes of it, and how many stay."""

    model_config = ConfigDict(frozen=True)

    title: str
    policy: Mapping[str, int]
    going: tuple[Judged, ...]
    #: Those that go, beyond the ones that are listed.
    more: int
    stay: int


class Forgetting(BaseModel):
    """What retention would do now."""

    model_config = ConfigDict(frozen=True)

    going: int
    stay: int
    items: tuple[Leaving, ...]
    #: Items of which nothing goes, for the same reason each.
    untouched: int


@router.get("")
async def show_repository(visit: AtVisit) -> Response:
    """How it is."""
    found = await repository.get_repository(visit)
    return visit.page("repository.html", repository=found)


@router.get("/forget/plan")
async def show_forgetting(visit: AtVisit, request: Request) -> Response:
    """What goes, and why, as things stand."""
    visit.caller.must(Scope.ADMIN)
    return visit.page("forget_plan.html", **await _forgetting(visit, asked(request, ForgetRequest)))


@router.get("/{care}")
async def ask(visit: AtVisit, care: Care) -> Response:
    """What does it do? And then: really?"""
    visit.caller.must(NEEDS.get(care, Scope.ADMIN))
    facts: dict[str, Any] = {}
    if care is Care.FORGET:
        facts = await _forgetting(visit, ForgetRequest())
    elif care is Care.CHECK:
        facts = {"parts": _parts(await visit.known())}
    return visit.dialog(
        "repository_dialog.html",
        back="/repository",
        care=care,
        offsite=[one.name for one in visit.office.config.offsite],
        **facts,
    )


@router.post("/{care}")
async def do(visit: AtVisit, care: Care, request: Request) -> Response:
    """Do it."""
    visit.caller.must(NEEDS.get(care, Scope.ADMIN))
    return await visit.submit(await PLANNERS[care](visit, request))


async def _init(visit: Visit, _request: Request) -> Plan:
    return plan_init_repository(await visit.known())


async def _check(visit: Visit, request: Request) -> Plan:
    wanted = await parsed(request, Thorough)
    known = await visit.known()
    return plan_check_repository(known, wanted.request(_parts(known)))


def _parts(known: Known) -> int:
    # As the schedule does it: else a round would take longer than it allows for.
    return known.read_part.of if known.read_part else PARTS


async def _copy(visit: Visit, request: Request) -> Plan:
    return plan_copy(await visit.known(), await parsed(request, CopyRequest, lists=("names",)))


async def _forget(visit: Visit, request: Request) -> ForgetPlan:
    return await _judged(visit, await parsed(request, ForgetRequest))


async def _prune(visit: Visit, _request: Request) -> Plan:
    return plan_prune(await visit.known())


async def _adopt(visit: Visit, request: Request) -> Plan:
    return plan_adopt(await visit.known(), await parsed(request, AdoptRequest))


PLANNERS: Mapping[Care, Callable[[Visit, Request], Awaitable[Plan]]] = {
    Care.INIT: _init,
    Care.CHECK: _check,
    Care.COPY: _copy,
    Care.FORGET: _forget,
    Care.PRUNE: _prune,
    Care.ADOPT: _adopt,
}


async def _judged(visit: Visit, wanted: ForgetRequest) -> ForgetPlan:
    backups = await visit.office.store.backups()
    return plan_forget(await visit.known(), wanted, backups, datetime.now(UTC))


async def _forgetting(
    visit: Visit, wanted: ForgetRequest
) -> dict[str, Forgetting | Told | ForgetRequest | None]:
    try:
        plan = await _judged(visit, wanted)
    except ComposiaError as error:
        return {"forgetting": None, "refusal": error.as_told(), "wanted": wanted}
    return {"forgetting": forgetting(plan.items), "refusal": None, "wanted": wanted}


def forgetting(judged: Sequence[JudgedItem]) -> Forgetting:
    """What goes of each item; the first `LISTED` of them one by one."""
    every = [one for item in judged for one in item.backups]
    going = sum(not one.keeps for one in every)
    items = tuple(_leaving(judged))
    return Forgetting(
        going=going,
        stay=len(every) - going,
        items=items,
        untouched=len(judged) - len(items),
    )


def _leaving(items: Sequence[JudgedItem]) -> Iterator[Leaving]:
    room = LISTED
    for item in items:
        going = [one for one in item.backups if not one.keeps]
        if not going:
            continue
        listed = going[:room]
        room -= len(listed)
        yield Leaving(
            title=str(item),
            policy=item.keep.model_dump(exclude_none=True) if item.keep else {},
            going=tuple(listed),
            more=len(going) - len(listed),
            stay=len(item.backups) - len(going),
        )
