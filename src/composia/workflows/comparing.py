"""Our records beside what the repository lists: the first steps of whatever tidies it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from composia.model.service import RepositoryRef
from composia.operations.repository import CompareRepository, RepositoryCompared
from composia.workflows.plan import Run, numbered

MISSING_HINT = (
    "Is the right disk mounted, and all of it? If their snapshots were removed on purpose, "
    "`composia repo forget --drop-missing` drops the records."
)


@dataclass(frozen=True, slots=True)
class Compared:
    """The snapshot of every record, by the record's id, and what the repository said."""

    known: Mapping[str, str]
    listed: RepositoryCompared

    @property
    def missing(self) -> tuple[str, ...]:
        """Records whose snapshot is not there."""
        gone = set(self.listed.missing)
        return tuple(sorted(record for record, id_ in self.known.items() if id_ in gone))


async def compare(
    run: Run, repository: RepositoryRef, node: str, *, describe: bool = False
) -> Compared:
    """Three steps: the records are read, the repository is listed, what is missing is noted.

    The records come first: whatever is saved meanwhile is no surprise. Raises Failure for a
    repository that cannot be listed or is another one; then nothing is noted.
    """
    known: Mapping[str, str] = await run.control("read_records", "known_snapshots")
    operation = CompareRepository(
        service=repository.service,
        repository=repository,
        snapshot_ids=tuple(sorted(set(known.values()))),
        describe=describe,
    )
    listed = await run.on(node, "compare_repository", operation)
    if describe:
        listed = await _all_described(run, node, operation, listed)
    compared = Compared(known, listed)
    await run.control(
        "note_missing", "note_missing", looked_for=sorted(known), missing=list(compared.missing)
    )
    return compared


async def _all_described(
    run: Run, node: str, operation: CompareRepository, listed: RepositoryCompared
) -> RepositoryCompared:
    """The same, with all that are unknown described: one answer cannot tell of very many."""
    described, number = listed.described, 1
    while described and len(described) < listed.unknown:
        number += 1
        further = operation.model_copy(update={"after": described[-1]})
        found = await run.on(node, numbered("compare_repository", number), further)
        if not found.described:
            break
        described += found.described
    return listed.model_copy(update={"described": described})
