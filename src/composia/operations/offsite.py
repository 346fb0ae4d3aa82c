"""Copying snapshots to a repository off site, and finding them there again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Conflict, Failure, Told, told
from composia.model.service import RepositoryRef
from composia.operations.base import Files, Operation
from composia.operations.repository import recognised
from composia.strategies.base import Site, Wanted
from composia.tools.rustic import Engine


class SnapshotsCopied(BaseModel):
    """What the copy holds afterwards, as its own listing says."""

    model_config = ConfigDict(frozen=True)

    repository_id: str
    #: True when it was made just now.
    made: bool
    #: How many came now, and how many were there before.
    copied: int
    already_there: int
    #: Snapshots of the repository that the copy does not have.
    missing: tuple[str, ...] = ()
    #: Every snapshot that the copy has, by the id that it has in the repository.
    there: tuple[str, ...] = ()
    #: Of those that are copies in the repository already: what they are copies of, by their id.
    originals: Mapping[str, str] = {}
    #: Why it did not go on to the end.
    problem: Told | None = None
    #: What is wrong with a copy that lists all of them: what they are made of may be gone.
    fault: Told | None = None


class CopySnapshots(Operation[SnapshotsCopied]):
    """Copy what the repository off site does not have yet, and see that it is there.

    That repository is made only when no id was ever recorded for it and nothing is at its place.
    Raises Failure where one of both is gone or another one, or the copy could not be listed.
    """

    op: Literal["copy_snapshots"] = "copy_snapshots"
    offsite: RepositoryRef

    files: ClassVar[Files] = Files.IF_ABSENT
    beside: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = SnapshotsCopied

    async def perform(self, site: Site) -> SnapshotsCopied:
        target = _target(site)
        recorded = self.repository.repository_id if self.repository else None
        source = recognised(await site.engine.repository_id(), recorded)
        found = await target.repository_id(far=True)
        self._refuse(found, source)
        wanted = {snapshot.root: snapshot.id for snapshot in await site.engine.snapshots()}
        before = await _roots(target) if found else set()
        problem = await self._copy(target, site, make=found is None)
        made = found is None
        if made and problem and await target.repository_id(far=True) is None:
            raise _as_failure(problem)
        there = await _roots(target)
        missing = tuple(id_ for root, id_ in wanted.items() if root not in there)
        return SnapshotsCopied(
            repository_id=recognised(await target.repository_id(far=True), found),
            made=made,
            copied=len(there - before),
            already_there=len(before & wanted.keys()),
            missing=missing,
            there=tuple(sorted(wanted.get(root, root) for root in there)),
            originals={id_: root for root, id_ in wanted.items() if root in there and root != id_},
            problem=problem,
            fault=None if missing else await _fault(target),
        )

    def _refuse(self, found: str | None, source: str) -> None:
        if found == source:
            raise Conflict(
                f"the profile {self.offsite.profile} names the repository itself, not a copy of it",
                hint="Give the copy a place of its own in that rustic profile.",
            )
        if self.offsite.repository_id:
            recognised(found, self.offsite.repository_id)

    async def _copy(self, target: Engine, site: Site, *, make: bool) -> Told | None:
        """Why it broke off; what has come by then stays, and the next run goes on from it."""
        if make:
            site.notes.log(f"Making the repository off site {self.offsite.copy_name}")
        try:
            await site.engine.copy(target, make=make, on_progress=site.notes.progress)
        except ComposiaError as error:
            return told(error)
        return None


def _target(site: Site) -> Engine:
    if site.offsite is None:
        raise Failure(f"node {site.node} has no way to the repository off site")
    return site.offsite


async def _roots(target: Engine) -> set[str]:
    return {one.root for one in await target.snapshots()}


async def _fault(target: Engine) -> Told | None:
    """A snapshot that is listed may lack its data: of what is there already nothing is copied."""
    try:
        await target.check()
    except ComposiaError as error:
        return told(error)
    return None


def _as_failure(problem: Told) -> Failure:
    return Failure(problem.message, hint=problem.hint)


async def in_copy(wanted: Sequence[Wanted], site: Site) -> tuple[Wanted, ...]:
    """The same backups under the ids that their snapshots have in a copy. Raises Failure."""
    ids = {one.root: one.id for one in await site.engine.snapshots()}
    for one in wanted:
        if one.root not in ids:
            raise Failure(
                f"the copy does not have snapshot {one.snapshot_id[:12]} of {one.item}",
                hint="`composia repo copy` says what it has. Choose another backup.",
            )
    return tuple(one.model_copy(update={"snapshot_id": ids[one.root]}) for one in wanted)
