"""Whether a move that was undone may be tried again just as it was planned."""

from __future__ import annotations

from collections.abc import Iterator

from composia.errors import Conflict
from composia.workflows.known import Known
from composia.workflows.migrate import MigratePlan
from composia.workflows.move import cargo_of


def refuse_outdated(known: Known, plan: MigratePlan, task: str) -> None:
    """Raise Conflict for one that would bring an old revision, or leave data behind unsaid."""
    move = known.moves.get(plan.service.name)
    if move and move.task == task:
        # Its target has answered: what is left carries nothing.
        return
    if changes := [*_revision(known, plan), *_cargo(known, plan)]:
        raise Conflict(
            f"what task {task} was to move is not the same any more: {'; '.join(changes)}",
            hint=f"Start a new move: `composia migrate {plan.service} --from {plan.source}"
            f" --to {plan.target}`.",
        )


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
