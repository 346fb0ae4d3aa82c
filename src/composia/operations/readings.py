"""What one node can be asked to read out: bytes that go to a person and leave nothing behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.base import Files
from composia.strategies.base import Site


class Reading(BaseModel, ABC):
    """Something to read on a node, streamed as it comes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reading: str
    service: ServiceRef
    repository: RepositoryRef | None = None

    files: ClassVar[Files] = Files.IF_ABSENT

    @abstractmethod
    def read(self, site: Site) -> AsyncIterator[bytes]:
        """The bytes. Raises ComposiaError before the first of them where it can be known."""


class ListSnapshot(Reading):
    """The entries below a path of a snapshot, one JSON `Entry` a line."""

    reading: Literal["list_snapshot"] = "list_snapshot"
    snapshot_id: str
    path: str = ""

    def read(self, site: Site) -> AsyncIterator[bytes]:
        raise NotImplementedError


class ReadSnapshot(Reading):
    """A file's content, or a folder as a tar stream."""

    reading: Literal["read_snapshot"] = "read_snapshot"
    snapshot_id: str
    path: str
    #: What ListSnapshot said it is: file, or dir.
    type: Literal["file", "dir"]

    def read(self, site: Site) -> AsyncIterator[bytes]:
        raise NotImplementedError


class ContainerLogs(Reading):
    """A container's log."""

    reading: Literal["container_logs"] = "container_logs"
    #: A container's name or the compose service; None: all of the project, each line with a prefix.
    container: str | None = None
    follow: bool = False
    tail: int = 1000

    files: ClassVar[Files] = Files.AS_THEY_ARE

    def read(self, site: Site) -> AsyncIterator[bytes]:
        raise NotImplementedError
