"""Moving services: what the nodes are asked before a plan is made."""

from __future__ import annotations

from typing import Annotated, TypeVar

from fastapi import Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from composia import errors
from composia.controller.api.bodies import parsed
from composia.controller.api.desk import AtDesk, Desk, ServiceName, Submit
from composia.controller.api.queries import api_router
from composia.controller.api.routes import hands_in
from composia.controller.api.streams import read_all
from composia.errors import ComposiaError
from composia.model.config import Scope
from composia.model.node import ask_its_agent
from composia.model.service import ServiceRef
from composia.model.task import Task
from composia.operations.cargo import Cargo
from composia.operations.readings import Reading
from composia.operations.surveying import SourceSeen, SurveySource, SurveyTarget, TargetSeen
from composia.workflows.migrate import MigratePlan
from composia.workflows.move import Data, MigrateRequest, begin
from composia.workflows.objections import Objections
from composia.workflows.plan_moves import plan_migrate, plan_move_back, plan_rescue
from composia.workflows.rescue import RescuePlan

router = api_router("services", "/services")

Seen = TypeVar("Seen", bound=BaseModel)


class RollbackRequest(BaseModel):
    """For a move: what becomes of the data that was written on the target since."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Data = Field(
        default="carry", description="`carry` takes it back along, `discard` leaves it there."
    )


@router.post("/{service}/migrate", **hands_in(MigrateRequest, errors.Failure))
async def migrate(
    desk: AtDesk,
    service: ServiceName,
    wanted: Annotated[MigrateRequest, Depends(parsed(MigrateRequest))],
    submit: Submit,
) -> Response:
    """Move it to another node, with its data, its site and its names."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(await planned(desk, service, wanted))


async def planned(desk: Desk, service: str, wanted: MigrateRequest) -> MigratePlan | RescuePlan:
    """The plan of a move, for which both nodes are asked. Raises with all that is in the way."""
    known = await desk.known()
    move, wrong = begin(known, service, wanted)
    records = await desk.backups_of(service)
    if wanted.source_is_gone:
        online = desk.office.nodes.online(move.source)
        way = await desk.office.store.way_of(service, move.source)
        return plan_rescue(known, move, wrong, records, way, online=online)
    seen = await _seen(desk, move.service.ref, move.source, move.target, move.cargo, wrong)
    return plan_migrate(known, move, wrong, seen, records)


async def plan_back(desk: Desk, task: Task, of: MigratePlan, data: Data) -> MigratePlan:
    """The plan that takes a move back. Raises Conflict for one that is not open."""
    if "rollback" not in task.actions:
        raise errors.Conflict(
            f"task {task.id} leaves nothing open that could be rolled back",
            hint=f"To move it back: `composia migrate {of.service} --to {of.source}`.",
        )
    if not desk.office.nodes.online(of.target):
        left = (await desk.known()).moves.get(of.service.name)
        raise _is_away(task, of, answered=left is not None and left.task == task.id)
    if of.source not in desk.office.nodes.states():
        raise errors.Conflict(
            f"node {of.source}, where {of.service} was before, is not in config.yaml any more",
            hint=f"Add it again, or leave it as it is: `composia task abandon {task.id}`.",
        )
    wrong = Objections()
    cargo = of.cargo if data == "carry" else ()
    seen = await _seen(desk, of.service, of.target, of.source, cargo, wrong)
    wrong.settle()
    assert seen
    return plan_move_back(await desk.known(), of, task.id, data, seen)


def _is_away(task: Task, of: MigratePlan, *, answered: bool) -> errors.Conflict:
    """A move cannot be taken back from a target that is not there."""
    instead = (
        f"`composia migrate {of.service} --from {of.target} --to {of.source} --source-is-gone`"
    )
    if not answered:
        instead = f"`composia task retry {task.id}`, then cancel and abandon it where it waits"
    return errors.Conflict(
        f"node {of.target}, where {of.service} {'runs' if answered else 'may run'} since, is not"
        " connected",
        hint=f"See what its agent says. If it will never come back: {instead}.",
    )


async def _seen(
    desk: Desk,
    service: ServiceRef,
    source: str,
    target: str,
    cargo: tuple[Cargo, ...],
    wrong: Objections,
) -> tuple[SourceSeen, TargetSeen] | None:
    """What both nodes look like; None where one could not be asked, which is objected to."""
    there = desk.office.nodes.states()
    away = [node for node in (source, target) if node in there]
    away = [node for node in away if not desk.office.nodes.online(node)]
    for node in away:
        wrong.conflict((), f"node {node} is offline", ask_its_agent(node))
    if away or source not in there or target not in there:
        return None
    asked = SurveySource(service=service, cargo=cargo)
    try:
        seen = await _read(desk, source, asked, SourceSeen)
        images, folders = tuple(seen.images), tuple(seen.bound)
        looked = SurveyTarget(service=service, images=images, folders=folders)
        return seen, await _read(desk, target, looked, TargetSeen)
    except ComposiaError as error:
        wrong.conflict((), error.message, error.hint)
        return None


async def _read(desk: Desk, node: str, reading: Reading, kind: type[Seen]) -> Seen:
    return kind.model_validate_json(await read_all(desk.office, node, reading))
