"""A repository in memory that keeps what the operations give it; for tests of operations only."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from composia.errors import Failure
from composia.tools.rustic import (
    Engine,
    Entry,
    Labels,
    NoSuchPath,
    OnProgress,
    SavedTree,
    Snapshot,
    SnapshotInfo,
    Stream,
)


class MemoryEngine(Engine):
    """Saves and streams, with what a test wants to go wrong."""

    def __init__(self) -> None:
        self.kept: dict[str, Labels] = {}
        self.times: dict[str, datetime] = {}
        self.streams: dict[str, bytes] = {}
        #: The sources and excludes of each save.
        self.saved: list[tuple[Mapping[str, Path], Sequence[str]]] = []
        #: Called in the middle of each save: somebody writes, or it fails.
        self.meanwhile: Callable[[], None] = lambda: None
        self.unread: tuple[str, ...] = ()
        #: How many files each snapshot tells of; None: as many as there are.
        self.files: int | None = None
        #: How many folders it tells of, those above included.
        self.dirs: int | None = None
        #: Whether the user's profile leaves something out.
        self.filtered = False
        #: What each folder of a snapshot holds, where it is asked for.
        self.listings: dict[str, list[Entry]] = {}
        self.fails = False

    async def save(
        self,
        sources: Mapping[str, Path],
        labels: Labels,
        *,
        exclude: Sequence[str],
        on_progress: OnProgress,
    ) -> SavedTree:
        self._answer()
        self.saved.append((dict(sources), tuple(exclude)))
        on_progress(5, 10)
        files = sum(map(_files, sources.values())) if self.files is None else self.files
        self.meanwhile()
        on_progress(10, 10)
        snapshot = self._keep(labels, 10, files)
        return SavedTree(snapshot=snapshot, unread=self.unread, filtered=self.filtered)

    @asynccontextmanager
    async def save_stream(self, name: str, labels: Labels) -> AsyncIterator[Stream]:
        self._answer()
        yield _Stream(self, name, labels)

    async def snapshots(self) -> Sequence[SnapshotInfo]:
        self._answer()
        return [
            SnapshotInfo(
                id=id_,
                time=self.times[id_].isoformat(),
                host=labels.node,
                label=f"{labels.service}/{labels.item}",
                tags=(
                    f"service={labels.service}",
                    f"item={labels.item}",
                    f"task={labels.task}",
                    *labels.marks,
                ),
                paths=("/composia",),
            )
            for id_, labels in self.kept.items()
        ]

    async def list_files(
        self, snapshot_id: str, path: str, *, deep: bool = False
    ) -> Sequence[Entry]:
        self._answer()
        self._find([snapshot_id])
        if path not in self.listings:
            raise NoSuchPath(f"no {path} in it")
        return self.listings[path]

    async def forget(self, ids: Sequence[str]) -> None:
        self._answer()
        self._find(ids)
        for id_ in ids:
            del self.kept[id_]

    def _find(self, ids: Sequence[str]) -> None:
        if unknown := set(ids) - self.kept.keys():
            raise Failure(f"there is no snapshot {', '.join(sorted(unknown))}")

    def _keep(self, labels: Labels, size: int, files: int = 1) -> Snapshot:
        id_ = os.urandom(32).hex()
        self.kept[id_], self.times[id_] = labels, datetime.now(UTC)
        return Snapshot(id=id_, size=size, added=size, files=files, duration=0.1, dirs=self.dirs)

    def _answer(self) -> None:
        if self.fails:
            raise Failure("the repository is gone")


def _files(source: Path) -> int:
    return sum(not path.is_dir() or path.is_symlink() for path in (source, *source.rglob("*")))


class _Stream(Stream):
    def __init__(self, engine: MemoryEngine, name: str, labels: Labels) -> None:
        self._engine, self._name, self._labels = engine, name, labels
        self._written = b""

    async def write(self, chunk: bytes) -> None:
        self._written += chunk

    async def finish(self) -> Snapshot:
        self._engine.streams[self._name] = self._written
        return self._engine._keep(self._labels, len(self._written))
