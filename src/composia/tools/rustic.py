"""The repository, through the user's own rustic service. The rules are in docs/design.md."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Failure
from composia.tools.digests import DIGEST_PATTERN

#: (bytes done, bytes in all where known)
OnProgress = Callable[[int, int | None], None]


class Snapshot(BaseModel):
    """What rustic keeps. Sizes in bytes, duration in seconds."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(pattern=DIGEST_PATTERN)
    size: int
    added: int
    files: int
    duration: float
    #: Folders, with those above what was saved and `/`.
    dirs: int | None = None


class Labels(BaseModel):
    """Whose data a snapshot holds: becomes rustic's host, label and tags."""

    model_config = ConfigDict(frozen=True)

    node: str
    service: str
    item: str
    task: str
    #: What more is written on it, as `name=value`.
    marks: tuple[str, ...] = ()


class Entry(BaseModel):
    """One entry of a snapshot's listing."""

    model_config = ConfigDict(frozen=True)

    #: Below the snapshot's root, without `/composia`; bytes that are not UTF-8 as surrogates.
    path: str
    type: str
    size: int | None = None


class SnapshotInfo(BaseModel):
    """A snapshot as the repository lists it."""

    model_config = ConfigDict(frozen=True)

    id: str
    time: str
    host: str
    label: str
    tags: tuple[str, ...]
    paths: tuple[str, ...]
    #: The snapshot that it is a copy of; its own id where it is none. A copy of a copy keeps it.
    original: str | None = None
    size: int | None = None
    files: int | None = None
    added: int | None = None
    duration: float | None = None

    @property
    def root(self) -> str:
        """The same for a snapshot and all its copies, and copies of those."""
        return self.original or self.id


class Part(BaseModel):
    """One part of all data, by rustic's own division: the first has the number 1."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(ge=1)
    of: int = Field(ge=1)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


class Pruned(BaseModel):
    """What a prune did, in bytes, as nearly as rustic tells."""

    model_config = ConfigDict(frozen=True)

    #: Removed now: what earlier runs had marked.
    freed: int
    #: Marked now, to be removed by a run 23 h later or more.
    marked: int
    #: Marked earlier, and too young to be removed.
    waiting: int
    #: What is in use.
    remaining: int


class SavedTree(BaseModel):
    """A snapshot of files, with what rustic complained about while it read them."""

    model_config = ConfigDict(frozen=True)

    snapshot: Snapshot
    unread: tuple[str, ...] = ()
    #: Whether the user's own profile may have left something out, of which rustic says nothing.
    filtered: bool = False


class Stream(Protocol):
    """A dump on its way into the repository."""

    async def write(self, chunk: bytes) -> None: ...

    async def finish(self) -> Snapshot:
        """Close it and answer the snapshot; Failure when its size is not what was written."""
        ...


class NoSuchPath(Failure):
    """The snapshot has nothing at that path, or something else than was asked for."""


class Engine(Protocol):
    """The repository. Every call is a program of ours with a name written down beforehand.

    A cancelled caller kills the program, waits until it is gone, and forgets what it left.
    Raises Failure with the reason in the user's words: repository gone, wrong password, read-only,
    full, corrupt, unreachable.
    """

    async def repository_id(self, *, far: bool = False) -> str | None:
        """Its id; None where its place is listable and empty. Failure for anything else.

        With `far` a place that cannot be listed is believed when it says that nothing is there.
        """
        ...

    async def place(self) -> str:
        """The rustic profile that names it, as rustic is told of it."""
        ...

    async def init(self) -> str:
        """Make the repository, under a hold, where `repository_id` is None; answers its id."""
        ...

    async def save(
        self,
        sources: Mapping[str, Path],
        labels: Labels,
        *,
        exclude: Sequence[str],
        on_progress: OnProgress,
    ) -> SavedTree:
        """Save each source under `/composia/<key>`, the excluded (also `<key>/...`) left out."""
        ...

    def save_stream(self, name: str, labels: Labels) -> AbstractAsyncContextManager[Stream]:
        """Save what is written as the file `/name`. Leaving without `finish` leaves no snapshot."""
        ...

    async def restore(
        self,
        snapshot_id: str,
        targets: Mapping[str, Path],
        *,
        single: Collection[str] = (),
        on_progress: OnProgress,
    ) -> None:
        """Restore `/composia/<key>` into each target folder, which is new and empty.

        The target takes the owner, mode, times and xattrs of a key that is a folder. A key that is
        a single file or link, told in `single`, comes to lie in its target under its own name. A
        key may be any path of the snapshot, not only one that was saved as a source.
        """
        ...

    async def differences(self, snapshot_id: str, targets: Mapping[str, Path]) -> tuple[str, ...]:
        """Paths whose content is not the snapshot's; everything is read."""
        ...

    async def list_files(
        self, snapshot_id: str, path: str, *, deep: bool = False
    ) -> Sequence[Entry]:
        """What is in a folder of the snapshot, and with `deep` in all below it.

        An empty path is the topmost. Raises NoSuchPath where there is no such folder.
        """
        ...

    def read_file(
        self, snapshot_id: str, path: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The content of one file."""
        ...

    async def snapshots(self) -> Sequence[SnapshotInfo]:
        """All of them; Failure where they cannot be listed (never an empty list by mistake)."""
        ...

    async def forget(self, ids: Sequence[str]) -> None:
        """Forget snapshots by their full ids; with one that is not there, none is forgotten."""
        ...

    async def check(self, *, read_data: bool = False, part: Part | None = None) -> None:
        """Failure where the repository is not sound; only reading data finds flipped bytes.

        Of all data only one part is read where that is named.
        """
        ...

    async def copy(self, target: Engine, *, make: bool, on_progress: OnProgress) -> None:
        """Copy all snapshots that the target does not have yet; with `make` it is made first.

        What was copied is to be listed afterwards. Raises Failure when rustic complained.
        """
        ...

    async def prune(self, *, on_progress: OnProgress) -> Pruned:
        """Free what no snapshot needs: marked by one run, removed by one 23 h later.

        Only with nobody else at work there, and after `snapshots` has listed all there should be.
        """
        ...

    async def put_right(self, containers: Collection[str]) -> None:
        """End what a crash left: containers by the names that were noted, and their snapshots."""
        ...

    async def repository_folder(self) -> Path | None:
        """The repository's folder where it is one of this node."""
        ...
