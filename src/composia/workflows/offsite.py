"""Copying backups to repositories off site, and restoring from there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Cancelled, ComposiaError, Conflict, Damaged, Failure, Told
from composia.model.backup import Backup
from composia.model.names import Name
from composia.model.service import RepositoryRef
from composia.operations.offsite import CopySnapshots, SnapshotsCopied
from composia.tools.wording import few, names
from composia.workflows.known import Known
from composia.workflows.objections import Objections
from composia.workflows.plan import Hold, PartlyDone, Run
from composia.workflows.repository import RepositoryPlan, holders, made

LOST = (
    "Something has deleted data there, and what is listed is not copied again: mend its index with"
    " rustic's `repair index`, `forget` there what `check` finds damaged, and copy again."
)


class CopyRequest(BaseModel):
    """Where backups are copied to; by default to every place that config.yaml names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    names: tuple[Name, ...] | None = Field(
        default=None, min_length=1, description="Of `controller.offsite`; by default all."
    )


class CopyPlan(RepositoryPlan):
    """All snapshots copied to each place that does not have them yet, and seen to be there."""

    plan: Literal["copy"] = "copy"
    targets: tuple[RepositoryRef, ...]

    @property
    def holds(self) -> tuple[Hold, ...]:
        copies = (Hold(name=f"copy {target.copy_name}") for target in self.targets)
        return (*copies, Hold(name="repository", shared=True))

    def __str__(self) -> str:
        return f"Copy all backups to {names([_name(target) for target in self.targets])}"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Copy", under the same numbers."""
        problems: dict[str, ComposiaError] = {}
        results = []
        for target in self.targets:
            try:
                results.append(await self._copy(run, target, problems))
            except Cancelled:
                raise
            except ComposiaError as error:
                problems[_name(target)] = error
                await _note(run, target, problem=error.message)
        result = {"copies": results}
        if problems:
            raise PartlyDone(
                "; ".join(f"{name}: {error.message}" for name, error in problems.items()),
                result=result,
                hint=next((error.hint for error in problems.values() if error.hint), None),
            )
        return result

    async def _copy(
        self, run: Run, target: RepositoryRef, problems: dict[str, ComposiaError]
    ) -> dict[str, Any]:
        operation = CopySnapshots(
            service=self.repository.service, repository=self.repository, offsite=target
        )
        done = await run.on(self.on[0], _step(target), operation)
        if error := _problem(done):
            problems[_name(target)] = error
        await _note(
            run,
            target,
            repository_id=done.repository_id,
            there=list(done.there),
            originals=dict(done.originals),
            problem=error.message if error else None,
        )
        return {
            "name": _name(target),
            **done.model_dump(mode="json", exclude={"there", "originals"}),
        }


def _problem(done: SnapshotsCopied) -> ComposiaError | None:
    """What keeps the copy from being complete: only its own listing counts, and its own check."""
    if not done.missing:
        return _of_fault(done.fault) if done.fault else None
    which = few([id_[:12] for id_ in done.missing])
    why = f": {done.problem.message}" if done.problem else ""
    return Conflict(
        f"{len(done.missing)} snapshots are not there ({which}){why}",
        hint=(done.problem.hint if done.problem else None)
        or "Copy again: it goes on from what is there.",
    )


def _of_fault(fault: Told) -> ComposiaError:
    if fault.kind == Damaged.__name__:
        return Damaged(f"all is listed, but the copy is not sound: {fault.message}", hint=LOST)
    return Failure(f"all is listed, but not seen to be sound: {fault.message}", hint=fault.hint)


async def _note(run: Run, target: RepositoryRef, **facts: Any) -> None:
    name = _name(target)
    await run.control(
        f"note_copy_{name}",
        "note_copy",
        name=name,
        task=run.task,
        copied_in=_step(target),
        **facts,
    )


def _step(target: RepositoryRef) -> str:
    return f"copy_to_{_name(target)}"


def _name(target: RepositoryRef) -> str:
    return target.copy_name or target.profile


def plan_copy(known: Known, request: CopyRequest) -> CopyPlan:
    """Raises ComposiaError for a name that config.yaml does not have, or where it has none."""
    wrong, every = Objections(), [one.name for one in known.offsite]
    if not every:
        wrong.conflict((), "no copy off site is configured", "Name one under `controller.offsite`.")
    wanted = tuple(dict.fromkeys(every if request.names is None else request.names))
    for place, name in enumerate(request.names or ()):
        if every and name not in every:
            wrong.unknown(("names", place), "copy off site", name, every)
    wrong.settle()
    return CopyPlan(
        repository=made(known),
        on=holders(known)[:1],
        targets=tuple(known.copy_off_site(name) for name in wanted),
    )


def source_of_copies(
    known: Known, name: str, node: str | None, wrong: Objections
) -> RepositoryRef | None:
    """The copy, to be restored from on a node that has its profile; None with objections."""
    every = [one.name for one in known.offsite]
    if name not in every:
        wrong.unknown(("from",), "copy off site", name, every)
        return None
    copy = known.copy_off_site(name)
    if copy.repository_id is None:
        wrong.conflict(
            ("from",), f"nothing was ever copied to {name}", f"`composia repo copy {name}` does."
        )
    on = known.repository_nodes()
    if node and node in known.nodes and node not in on and not known.catalog.remote_repository:
        wrong.conflict(
            ("node",),
            f"node {node} does not hold the repository, so it has no way to its copies",
            f"Restore on {' or '.join(on) or 'a main node'}, or add {node} to "
            "controller.rustic.main_nodes: it gets the rustic service, with its passwords.",
        )
    return copy


def as_in_copy(backups: Sequence[Backup], name: str) -> list[Backup]:
    """The records that a copy has, whatever became of their snapshots in the repository."""
    return [
        backup.model_copy(update={"missing": False}) for backup in backups if name in backup.copies
    ]
