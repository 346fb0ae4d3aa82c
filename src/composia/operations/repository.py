"""Opening, describing and checking the repository."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict, Failure
from composia.operations.base import Files, Nothing, Operation
from composia.strategies.base import Site
from composia.tools.rustic import Part, SnapshotInfo

LOCK = "repository.lock"
#: Snapshots that one answer describes, each in half a KiB.
DESCRIBED = 5000
MOUNT_HINT = "Is the right disk mounted, and does the rustic profile name the right place?"
NEVER_HINT = f"{MOUNT_HINT} Where there was never one: back something up, or `composia repo init`."


class RepositoryOpened(BaseModel):
    model_config = ConfigDict(frozen=True)

    repository_id: str
    #: True when it was made just now.
    made: bool


class OpenRepository(Operation[RepositoryOpened]):
    """Make sure that the repository is there and is the one we know.

    It is made only when no id was ever recorded (`repository.repository_id` is None) and its place
    is listable and empty. `service` is the infrastructure service itself.
    """

    op: Literal["open_repository"] = "open_repository"

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = RepositoryOpened

    async def perform(self, site: Site) -> RepositoryOpened:
        async with _alone(site.state):
            found = await site.engine.repository_id()
            if found is None and self._recorded is None:
                site.notes.log("Making the repository: its place is empty")
                return RepositoryOpened(repository_id=await site.engine.init(), made=True)
        return RepositoryOpened(repository_id=recognised(found, self._recorded), made=False)

    @property
    def _recorded(self) -> str | None:
        return self.repository.repository_id if self.repository else None


class RepositoryDescribed(BaseModel):
    model_config = ConfigDict(frozen=True)

    repository_id: str
    snapshots: tuple[SnapshotInfo, ...]
    #: Bytes of the repository's files where it is a folder of this node.
    size: int | None = None


class DescribeRepository(Operation[RepositoryDescribed]):
    """List the snapshots and tell the size."""

    op: Literal["describe_repository"] = "describe_repository"

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = RepositoryDescribed

    async def perform(self, site: Site) -> RepositoryDescribed:
        recorded = self.repository.repository_id if self.repository else None
        found = recognised(await site.engine.repository_id(), recorded)
        snapshots = tuple(await site.engine.snapshots())
        size = await size_of(site)
        return RepositoryDescribed(repository_id=found, snapshots=snapshots, size=size)


class RepositoryCompared(BaseModel):
    """The repository beside our records."""

    model_config = ConfigDict(frozen=True)

    repository_id: str
    #: How many snapshots there are, and bytes of its files where it is a folder of this node.
    snapshots: int
    size: int | None = None
    #: Of those asked for: the ids that are not there.
    missing: tuple[str, ...] = ()
    #: How many are there that were not asked for; described where that was wanted, the oldest
    #: first, and so many at once as one answer can tell.
    unknown: int = 0
    described: tuple[SnapshotInfo, ...] = ()


class CompareRepository(Operation[RepositoryCompared]):
    """List the snapshots, and compare them with those that should be there.

    Raises Failure for a place that cannot be listed, is empty, or is another repository.
    """

    op: Literal["compare_repository"] = "compare_repository"
    snapshot_ids: tuple[str, ...]
    describe: bool = False
    #: Only those after this snapshot, which an earlier answer has described.
    after: SnapshotInfo | None = None

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = RepositoryCompared

    async def perform(self, site: Site) -> RepositoryCompared:
        recorded = self.repository.repository_id if self.repository else None
        found = recognised(await site.engine.repository_id(), recorded)
        listed = {snapshot.id: snapshot for snapshot in await site.engine.snapshots()}
        unknown = [listed[id_] for id_ in listed.keys() - set(self.snapshot_ids)]
        return RepositoryCompared(
            repository_id=found,
            snapshots=len(listed),
            size=await size_of(site),
            missing=tuple(id_ for id_ in self.snapshot_ids if id_ not in listed),
            unknown=len(unknown),
            described=self._next(unknown) if self.describe else (),
        )

    def _next(self, unknown: Sequence[SnapshotInfo]) -> tuple[SnapshotInfo, ...]:
        left = (one for one in unknown if self.after is None or _age(one) > _age(self.after))
        return tuple(sorted(left, key=_age)[:DESCRIBED])


def _age(snapshot: SnapshotInfo) -> tuple[str, str]:
    return snapshot.time, snapshot.id


class CheckRepository(Operation[Nothing]):
    """rustic's own check."""

    op: Literal["check_repository"] = "check_repository"
    #: Read all data too: the only way to find flipped bytes.
    read_data: bool = False
    #: Only this part of all data.
    part: Part | None = None

    files: ClassVar[Files] = Files.IF_ABSENT

    async def perform(self, site: Site) -> Nothing:
        recorded = self.repository.repository_id if self.repository else None
        recognised(await site.engine.repository_id(), recorded)
        await site.engine.check(read_data=self.read_data, part=self.part)
        return Nothing()


class TagOfOurs(BaseModel):
    """A snapshot to forget, and what it must say of itself: a node told its id, and may lie."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshot_id: str
    #: None: it was adopted without one.
    task: str | None
    service: str | None = None
    item: str | None = None
    node: str | None = None

    def fits(self, found: SnapshotInfo) -> bool:
        """Whether its tags and its host are those of our record."""
        wanted = {"task": self.task, "service": self.service, "item": self.item}
        tags = {f"{name}={value}" for name, value in wanted.items() if value is not None}
        return tags <= set(found.tags) and self.node in (None, found.host)


class ForgetSnapshot(Operation[Nothing]):
    """Take one snapshot out of the repository; harmless when it is not there any more.

    Raises Failure where the repository is gone, or is another one: there it would not be listed.
    Raises Conflict where it is not what our record says.
    """

    op: Literal["forget_snapshot"] = "forget_snapshot"
    snapshot_id: str
    of: TagOfOurs | None = None

    files: ClassVar[Files] = Files.IF_ABSENT

    async def perform(self, site: Site) -> Nothing:
        recorded = self.repository.repository_id if self.repository else None
        recognised(await site.engine.repository_id(), recorded)
        # rustic forgets nothing of a list with one unknown id in it.
        listed = {snapshot.id: snapshot for snapshot in await site.engine.snapshots()}
        if found := listed.get(self.snapshot_id):
            if self.of and not self.of.fits(found):
                raise Conflict(
                    f"snapshot {found.id[:12]} is of {found.label or 'something else'} on "
                    f"{found.host}, and not what the record says",
                    hint="Who told the controller of it? Look at the node that the record names.",
                )
            await site.engine.forget([self.snapshot_id])
        return Nothing()


def recognised(found: str | None, recorded: str | None) -> str:
    """The id, where it is the one we know. An unmounted disk looks like an empty place: Failure."""
    if found is None:
        missing = "the repository is gone: its place is empty" if recorded else "no repository yet"
        hint = MOUNT_HINT if recorded else NEVER_HINT
        raise Failure(missing, hint=hint)
    if recorded not in (None, found):
        raise Failure(
            f"this is another repository: {found[:12]}, and {str(recorded)[:12]} is the one known",
            hint=MOUNT_HINT,
        )
    return found


async def size_of(site: Site) -> int | None:
    """Bytes of the repository's files where it is a folder of this node."""
    folder = await site.engine.repository_folder()
    return await asyncio.to_thread(_size, folder) if folder else None


@asynccontextmanager
async def _alone(state: Path) -> AsyncIterator[None]:
    """Nobody else on this node opens it meanwhile: two that make one leave none that opens."""
    state.mkdir(parents=True, exist_ok=True)
    handle = os.open(state / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _size(folder: Path) -> int:
    """Bytes of all files; one that goes away meanwhile counts nothing."""
    total = 0
    for here, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(here, name)).st_size
            except FileNotFoundError:
                continue
    return total
