"""Opening, describing and checking the repository."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.operations.base import Files, Nothing, Operation
from composia.strategies.base import Site
from composia.tools.rustic import SnapshotInfo


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
        raise NotImplementedError


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
        raise NotImplementedError


class CheckRepository(Operation[Nothing]):
    """rustic's own check."""

    op: Literal["check_repository"] = "check_repository"
    #: Read all data too: the only way to find flipped bytes.
    read_data: bool = False

    files: ClassVar[Files] = Files.IF_ABSENT

    async def perform(self, site: Site) -> Nothing:
        raise NotImplementedError


class ForgetSnapshot(Operation[Nothing]):
    """Take one snapshot out of the repository; harmless when it is not there any more."""

    op: Literal["forget_snapshot"] = "forget_snapshot"
    snapshot_id: str

    files: ClassVar[Files] = Files.IF_ABSENT

    async def perform(self, site: Site) -> Nothing:
        # rustic forgets nothing of a list with one unknown id in it.
        listed = {snapshot.id for snapshot in await site.engine.snapshots()}
        if self.snapshot_id in listed:
            await site.engine.forget([self.snapshot_id])
        return Nothing()
