"""Taking snapshots out of the repository, and freeing what no snapshot needs any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Conflict, Told, told
from composia.operations.base import Files, Operation
from composia.operations.repository import TagOfOurs, recognised, size_of
from composia.strategies.base import Site
from composia.tools.rustic import SnapshotInfo
from composia.tools.wording import few

#: Snapshots that go in one call of rustic.
CHUNK = 200


class SnapshotsForgotten(BaseModel):
    """What is not in the repository any more, and what is, against our will."""

    model_config = ConfigDict(frozen=True)

    gone: tuple[str, ...]
    #: Left alone: they do not say of themselves what our record says.
    foreign: tuple[str, ...] = ()
    #: How many snapshots there are now.
    left: int = 0
    #: Why it did not go on to the end.
    problem: Told | None = None


class ForgetSnapshots(Operation[SnapshotsForgotten]):
    """Take snapshots out by their full ids, some hundred at a time, and see that they are gone.

    One that is not there any more counts as gone. Raises Failure, before anything is forgotten,
    where the repository cannot be listed or is another one.
    """

    op: Literal["forget_snapshots"] = "forget_snapshots"
    snapshots: tuple[TagOfOurs, ...]

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = SnapshotsForgotten

    async def perform(self, site: Site) -> SnapshotsForgotten:
        await recognise(self, site)
        listed = {snapshot.id: snapshot for snapshot in await site.engine.snapshots()}
        foreign = [one.snapshot_id for one in self.snapshots if _is_foreign(one, listed)]
        doomed = [
            one.snapshot_id
            for one in self.snapshots
            if one.snapshot_id in listed and one.snapshot_id not in foreign
        ]
        problem = await self._forget(doomed, site)
        left = {snapshot.id for snapshot in await site.engine.snapshots()}
        return SnapshotsForgotten(
            gone=tuple(one.snapshot_id for one in self.snapshots if one.snapshot_id not in left),
            foreign=tuple(foreign),
            left=len(left),
            problem=problem or _withstood(left & set(doomed)),
        )

    async def _forget(self, doomed: Sequence[str], site: Site) -> Told | None:
        """Why it broke off; what is gone by then is gone."""
        for start in range(0, len(doomed), CHUNK):
            try:
                await site.engine.forget(doomed[start : start + CHUNK])
            except ComposiaError as error:
                return told(error)
            done = min(start + CHUNK, len(doomed))
            site.notes.log(f"Forgot {done} of {len(doomed)} snapshots")
        return None


class RepositoryPruned(BaseModel):
    """What a prune did, in bytes; the sizes are of the repository's files, where they are here."""

    model_config = ConfigDict(frozen=True)

    freed: int
    marked: int
    waiting: int
    remaining: int
    size_before: int | None = None
    size_after: int | None = None


class PruneRepository(Operation[RepositoryPruned]):
    """Free what no snapshot needs.

    Raises Conflict where a snapshot of ours is not listed: rustic would take what it needs for
    garbage.
    """

    op: Literal["prune_repository"] = "prune_repository"
    #: Every snapshot that our records name.
    snapshot_ids: tuple[str, ...]

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = RepositoryPruned

    async def perform(self, site: Site) -> RepositoryPruned:
        await recognise(self, site)
        listed = {snapshot.id for snapshot in await site.engine.snapshots()}
        if missing := [id_ for id_ in self.snapshot_ids if id_ not in listed]:
            which = few([id_[:12] for id_ in missing])
            raise Conflict(f"not pruned: these snapshots are not there: {which}")
        before = await size_of(site)
        site.notes.log(f"Pruning: {len(listed)} snapshots are listed, as our records have them")
        pruned = await site.engine.prune(on_progress=site.notes.progress)
        return RepositoryPruned(
            **pruned.model_dump(), size_before=before, size_after=await size_of(site)
        )


async def recognise(operation: Operation[Any], site: Site) -> None:
    """Raises Failure where the repository is gone, or is another one than is known."""
    recorded = operation.repository.repository_id if operation.repository else None
    recognised(await site.engine.repository_id(), recorded)


def _is_foreign(wanted: TagOfOurs, listed: Mapping[str, SnapshotInfo]) -> bool:
    found = listed.get(wanted.snapshot_id)
    return found is not None and not wanted.fits(found)


def _withstood(left: set[str]) -> Told | None:
    if not left:
        return None
    return Conflict(
        f"rustic did not forget {few([one[:12] for one in sorted(left)])}",
        hint="Somebody may have protected them (`--delete-never`): forget them by hand.",
    ).as_told()
