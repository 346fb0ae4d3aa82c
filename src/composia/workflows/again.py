"""Whether a task that is over may be tried again just as it was planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from composia.errors import Conflict
from composia.workflows.caddy import CaddySyncPlan, plan_caddy_sync
from composia.workflows.dns import DnsUpdatePlan, plan_dns_update
from composia.workflows.known import Known
from composia.workflows.migrate import MigratePlan
from composia.workflows.move import cargo_of
from composia.workflows.objections import Objections
from composia.workflows.plan import Plan
from composia.workflows.rescue import RescuePlan
from composia.workflows.restore import RestorePlan
from composia.workflows.service import (
    DeployPlan,
    RestartPlan,
    ServiceRequest,
    StartPlan,
    StopPlan,
    UpdatePlan,
    UpdateRequest,
    plan_deploy,
    plan_restart,
    plan_stop,
    plan_update,
)

#: See `_compared`.
SEEN_TO = ("revision", "repository_id", "main_nodes", "elsewhere")
#: What takes the service's files to a node, as they were at the plan's revision.
FROM_CATALOG = (DeployPlan, UpdatePlan, CaddySyncPlan)


def refuse_outdated(known: Known, plan: Plan, task: str) -> None:
    """Raise ComposiaError for one that would not be planned so any more.

    A move would bring an old revision, or leave data behind unsaid; a deploy would start the
    service where it has moved away from since.
    """
    match plan:
        case MigratePlan() | RescuePlan():
            _refuse_move(known, plan, task)
        case RestorePlan(to="in_place"):
            wrong = Objections()
            known.object_to_what_has_left(known.service(plan.service.name), [plan.node], wrong)
            wrong.settle()
        case _:
            anew = _planned_anew(known, plan)
            differs = anew and _compared(anew.model_dump()) != _compared(plan.model_dump())
            if differs or _watches_more(known, anew, plan):
                raise outdated(plan, task, "it would be planned in another way now")


def outdated(plan: Plan, task: str, why: str) -> Conflict:
    """What a task of the catalog's state of then is refused with."""
    command = f"services {plan.plan}" if isinstance(plan, CaddySyncPlan) else plan.plan
    first = " --backup-first" if isinstance(plan, UpdatePlan) and plan.backup else ""
    return Conflict(
        f"task {task} is not what it would be now: {why}",
        hint=f"Start it afresh: `composia {command} {plan.service_name}{first}`.",
    )


def _planned_anew(known: Known, plan: Plan) -> Plan | None:
    """The same plan by what is known now; None for one that needs nothing of that."""
    name = plan.service_name or ""
    match plan:
        case DeployPlan():
            return plan_deploy(known, name, _on(plan.on))
        case UpdatePlan():
            backup_first = plan.backup is not None
            wanted = UpdateRequest(nodes=plan.on, backup_first=backup_first)
            return plan_update(known, name, wanted)
        case RestartPlan():
            return plan_restart(known, name, _on(plan.on))
        case StopPlan():
            return plan_stop(known, name, _on(plan.on))
        case DnsUpdatePlan():
            return plan_dns_update(known, name, _on(plan.on))
        case CaddySyncPlan():
            return plan_caddy_sync(known, name, _on(plan.nodes))
    return None


def _on(nodes: Sequence[str]) -> ServiceRequest:
    return ServiceRequest(nodes=tuple(nodes))


def _compared(plan: Any) -> Any:
    """A plan without what is seen to elsewhere.

    Each commit to any service makes a new revision: whether it is about this one is seen by git.
    Whether the repository is ours, and by which node, the step that opens it finds out. Where else
    nobody may be at work: `_watches_more`.
    """
    if isinstance(plan, dict):
        return {key: _compared(value) for key, value in plan.items() if key not in SEEN_TO}
    if isinstance(plan, list | tuple):
        return [_compared(one) for one in plan]
    return plan


def _watches_more(known: Known, anew: Plan | None, plan: Plan) -> bool:
    """Whether the service may be where it is not meant to be, and the plan holds nothing of that.

    A node that is merely new in config.yaml is no reason: nobody is at work on the service there.
    """
    if not isinstance(anew, StartPlan) or not isinstance(plan, StartPlan):
        return False
    more = set(anew.elsewhere) - set(plan.elsewhere)
    return any(known.may_be_on(anew.service.name, node) for node in more)


def _refuse_move(known: Known, plan: MigratePlan | RescuePlan, task: str) -> None:
    move = known.moves.get(plan.service.name)
    if move and move.task == task:
        # Its target has answered: what is left carries nothing.
        return
    gone = isinstance(plan, RescuePlan)
    source = plan.gone if isinstance(plan, RescuePlan) else plan.source
    changes = list(_nodes(known, plan))
    if isinstance(plan, MigratePlan):
        changes += [*_revision(known, plan), *_cargo(known, plan)]
    if changes:
        raise Conflict(
            f"what task {task} was to move is not the same any more: {'; '.join(changes)}",
            hint=f"Start a new move: `composia migrate {plan.service} --from {source}"
            f" --to {plan.target}{' --source-is-gone' if gone else ''}`.",
        )


def _nodes(known: Known, plan: MigratePlan | RescuePlan) -> Iterator[str]:
    now = known.service(plan.service.name).meta.nodes
    if now not in (plan.nodes_before, plan.nodes_after):
        yield f"its nodes are {', '.join(now) or 'none'}, and not {', '.join(plan.nodes_before)}"


def _revision(known: Known, plan: MigratePlan) -> Iterator[str]:
    state = known.nodes.get(plan.source)
    for one in state.instances if state and state.docker else ():
        if one.service == plan.service.name and one.revision not in (None, plan.service.revision):
            now, was = str(one.revision)[:7], plan.service.revision[:7]
            yield f"revision {now} is on {plan.source}, and not {was}"


def _cargo(known: Known, plan: MigratePlan) -> Iterator[str]:
    if plan.of_task:
        # It takes back what came, whatever the catalog says since.
        return
    meta = known.service(plan.service.name).meta
    for one in plan.cargo:
        item = meta.item(one.item)
        if item is None or cargo_of(item) != one:
            yield f"data item {one.item} has been changed"
