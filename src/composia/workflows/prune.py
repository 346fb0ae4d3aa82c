"""Freeing the space of what was forgotten."""

from __future__ import annotations

from typing import Any, Literal

from composia.errors import Conflict
from composia.operations.repository import CheckRepository
from composia.operations.tidying import PruneRepository
from composia.tools.wording import few, names
from composia.workflows.comparing import MISSING_HINT, Compared, compare
from composia.workflows.known import Known
from composia.workflows.plan import Hold, Run
from composia.workflows.repository import RepositoryPlan, holders, made

#: The step that looks at what the prune has left.
CHECK = "check_repository"


class PrunePlan(RepositoryPlan):
    """Whatever no snapshot needs, marked by one run and removed by one a day later."""

    plan: Literal["prune"] = "prune"

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name="repository"),)

    def __str__(self) -> str:
        return f"Prune the repository on {names(self.on)}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Prune", under the same numbers."""
        compared = await compare(run, self.repository, self.on[0])
        _refuse_missing(compared)
        operation = PruneRepository(
            service=self.repository.service,
            repository=self.repository,
            snapshot_ids=tuple(sorted(set(compared.known.values()))),
        )
        pruned = await run.on(self.on[0], "prune_repository", operation)
        check = CheckRepository(service=self.repository.service, repository=self.repository)
        await run.on(self.on[0], CHECK, check)
        return {**pruned.model_dump(mode="json"), "snapshots": compared.listed.snapshots}


def plan_prune(known: Known) -> PrunePlan:
    """Raises Conflict where there is no repository."""
    return PrunePlan(repository=made(known), on=holders(known)[:1])


def _refuse_missing(compared: Compared) -> None:
    # What a snapshot that is not listed needs is garbage to rustic, and gone a day later.
    if compared.missing:
        raise Conflict(
            f"not pruned: the repository has no snapshot of {few(compared.missing)}",
            hint=MISSING_HINT + " What a forget that broke off has left, `composia repo forget` "
            "settles.",
        )
