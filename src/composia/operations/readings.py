"""What one node can be asked to read out: bytes that go to a person and leave nothing behind."""

from __future__ import annotations

import asyncio
import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Invalid, NotFound
from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.base import Files
from composia.operations.project import containers_of
from composia.strategies.aside import Aside
from composia.strategies.base import Site
from composia.tools import archive
from composia.tools.cancelling import to_the_end
from composia.tools.containers import ContainerInfo
from composia.tools.rustic import NoSuchPath


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
    """The entries of a folder of a snapshot, one JSON `Entry` a line."""

    reading: Literal["list_snapshot"] = "list_snapshot"
    snapshot_id: str
    path: str = ""

    async def read(self, site: Site) -> AsyncIterator[bytes]:
        try:
            entries = await site.engine.list_files(self.snapshot_id, _inside(self.path))
        except NoSuchPath as error:
            raise NotFound(
                f"there is no folder `{self.path}` in the backup",
                hint="List the one above it: it may be a file, or spelled otherwise.",
            ) from error
        # Plain JSON: a name that is no text has surrogates, which are escaped there.
        for entry in entries:
            yield json.dumps(entry.model_dump()).encode() + b"\n"


class ReadSnapshot(Reading):
    """A file's content, or a folder as a tar stream."""

    reading: Literal["read_snapshot"] = "read_snapshot"
    snapshot_id: str
    path: str
    #: What ListSnapshot said it is: file, or dir.
    type: Literal["file", "dir"]

    async def read(self, site: Site) -> AsyncIterator[bytes]:
        path = _inside(self.path)
        pieces = self._folder(path, site) if self.type == "dir" else self._file(path, site)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _file(self, path: str, site: Site) -> AsyncGenerator[bytes]:
        async with site.engine.read_file(self.snapshot_id, path) as pieces:
            async for piece in pieces:
                yield piece

    async def _folder(self, path: str, site: Site) -> AsyncGenerator[bytes]:
        # rustic's own tar has no hard links, setuid bits and device numbers: ours is of a copy.
        aside = Aside(site.aside, f"reading-{secrets.token_hex(8)}")
        try:
            folder = await self._copy(path, aside, site)
            name = path.rpartition("/")[2] or site.service
            async with aclosing(archive.packed(folder, name)) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            await to_the_end(aside.discard(site.docker))

    async def _copy(self, path: str, aside: Aside, site: Site) -> Path:
        folder = await asyncio.to_thread(aside.beside, aside.folder / "copy", "download")
        folder.mkdir(mode=0o700)
        targets = {path: folder} if path else await self._topmost(folder, site)
        await site.engine.restore(self.snapshot_id, targets, on_progress=lambda done, total: None)
        return folder

    async def _topmost(self, folder: Path, site: Site) -> dict[str, Path]:
        listed = await site.engine.list_files(self.snapshot_id, "")
        targets = {entry.path: folder / entry.path for entry in listed if entry.type == "dir"}
        if not targets:
            names = " or ".join(f"`{entry.path}`" for entry in listed)
            raise Invalid(
                "this snapshot holds a single file: download it by its name",
                hint=f"Its path is {names}." if names else None,
            )
        for target in targets.values():
            target.mkdir(mode=0o700)
        return targets


def _inside(path: str) -> str:
    """A path of a snapshot, tidied. Raises Invalid for one that leads out of it."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"`{path}` must not leave the backup: `..` is refused")
    return "/".join(parts)


class ContainerLogs(Reading):
    """A container's log."""

    reading: Literal["container_logs"] = "container_logs"
    #: A container's name or the compose service; None: all of the project, each line with a prefix.
    container: str | None = None
    follow: bool = False
    tail: int = 1000

    files: ClassVar[Files] = Files.AS_THEY_ARE

    async def read(self, site: Site) -> AsyncIterator[bytes]:
        chosen = self._chosen(await containers_of(site), site)
        prefixed = self.container is None or len(chosen) > 1
        logs = {
            f"{one.name} | ".encode() if prefixed else b"": site.docker.logs(
                one.id, follow=self.follow, tail=self.tail
            )
            for one in chosen
        }
        async with aclosing(_together(logs)) as lines:
            async for line in lines:
                yield line

    def _chosen(self, there: Sequence[ContainerInfo], site: Site) -> list[ContainerInfo]:
        """Only of this project, whatever the name is."""
        found = [
            one for one in there if self.container in (None, one.name, one.id, one.compose_service)
        ]
        if not found:
            names = ", ".join(sorted(one.name for one in there)) or "none"
            raise NotFound(
                f"{site.service} has no container {self.container or ''} on {site.node}".rstrip(),
                hint=f"Its containers: {names}.",
            )
        return sorted(found, key=lambda one: one.name)


async def _together(logs: Mapping[bytes, AsyncIterator[bytes]]) -> AsyncGenerator[bytes]:
    """The lines of several logs as they come; those of one after another where none follows."""
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1000)

    async def pass_on(prefix: bytes, log: AsyncIterator[bytes]) -> None:
        async for line in log:
            await lines.put(prefix + line)

    async def all_of_them() -> None:
        try:
            await asyncio.gather(*(pass_on(*pair) for pair in logs.items()))
        except Exception:
            await lines.put(None)
            raise
        await lines.put(None)

    reading = asyncio.ensure_future(all_of_them())
    try:
        while (line := await lines.get()) is not None:
            yield line
        await reading
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
