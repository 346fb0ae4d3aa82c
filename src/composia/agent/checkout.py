"""The catalog's files on this node, between what containers and people write beside them.

The manifest of a folder (`state_dir/checkouts/<folder>.json`) is all that the agent knows of what
it wrote. Only that is ever replaced or removed.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, Field

from composia.agent.bundle import Bundle
from composia.agent.placing import Looks, Placing, look, same_content
from composia.errors import Conflict, Failure, Invalid, NotFound
from composia.model.names import FOLDER_PATTERN
from composia.model.service import ServiceRef
from composia.operations.base import Files
from composia.tools import durable
from composia.tools.bundle import ENCRYPTED
from composia.tools.threads import in_thread
from composia.tools.wording import few

Fetch = Callable[[], Awaitable[IO[bytes]]]


class Written(BaseModel):
    """A file of ours: what it holds, and how it looked when we had written it."""

    model_config = ConfigDict(frozen=True)

    mode: int
    sha256: str
    looks: Looks | None = None


class Manifest(BaseModel):
    """What of a service's folder is ours."""

    model_config = ConfigDict(frozen=True)

    service: ServiceRef
    #: True while files are being written: the revision is not whole.
    writing: bool = False
    files: dict[str, Written] = Field(default_factory=dict)
    #: Besides: what may have been written by an update that did not come to its end.
    begun: dict[str, Written] = Field(default_factory=dict)


class Checkouts:
    """The service folders of this node."""

    def __init__(self, repo_dir: Path, state_dir: Path) -> None:
        self.repo_dir = repo_dir
        self._manifests = state_dir / "checkouts"
        #: One at a time writes a folder: that of a service which others need is brought by theirs.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def all(self) -> Iterator[Manifest]:
        """Every service that was checked out here."""
        for path in sorted(self._manifests.glob("[!.]*.json")):
            yield Manifest.model_validate_json(path.read_bytes())

    def folder(self, service: ServiceRef) -> Path:
        """Where a service's files are. Raises Invalid for a name that would lead elsewhere."""
        if not re.fullmatch(FOLDER_PATTERN.strip("^$"), service.folder):
            raise Invalid(f"`{service.folder}` is no name of a service's folder")
        return self.repo_dir / service.folder

    def manifest(self, service: ServiceRef) -> Manifest | None:
        """What is checked out of a service; None where nothing ever was."""
        folder = self.folder(service)
        found = durable.read(self._manifests / f"{folder.name}.json", Manifest)
        if found and found.service.name != service.name:
            raise Conflict(
                f"{folder} holds service {found.service.name} on this node",
                hint=f"Move its data away and remove {folder.name}.json from "
                f"{self._manifests} when that service is gone for good.",
            )
        return found

    async def bring(self, service: ServiceRef, files: Files, fetch: Fetch) -> bool:
        """Have the service's files there, as `files` says; answers whether any changed.

        Raises NotFound, or Conflict for a file that is in the way and not ours.
        """
        if files is Files.NOT_NEEDED or not await self._is_wanted(service, files):
            return False
        # In nobody's turn: whoever needs the folder must not wait for the controller.
        with await fetch() as file:
            async with self._turns[service.folder]:
                if not await self._lacks(service, files):
                    # Somebody else has brought them meanwhile.
                    return True
                return await in_thread(self._update, self.manifest(service), service, file)

    async def _is_wanted(self, service: ServiceRef, files: Files) -> bool:
        async with self._turns[service.folder]:
            return await self._lacks(service, files)

    async def _lacks(self, service: ServiceRef, files: Files) -> bool:
        """Whether files are to be fetched, in the folder's turn. Raises NotFound, Conflict."""
        there = self.manifest(service)
        usable = there is not None and self._can_be_read(there)
        if files is Files.AS_THEY_ARE and not usable:
            raise NotFound(
                f"{service.name} was never deployed on this node, or its folder is gone",
                hint=f"Deploy it first: composia deploy {service.name}",
            )
        half = there is not None and there.writing and files is not Files.AS_THEY_ARE
        if usable and not half and files is not Files.UPDATE:
            return False
        return not await in_thread(self._is_current, there, service)

    def _can_be_read(self, there: Manifest) -> bool:
        # A folder that somebody lost is to be checked out again, whatever we wrote there once.
        folder = self.folder(there.service)
        return all((folder / name).is_file() for name in there.service.compose_files)

    def _is_current(self, there: Manifest | None, service: ServiceRef) -> bool:
        if there is None or there.writing or there.service != service:
            return False
        if any(path.endswith(ENCRYPTED) for path in there.files):
            # The controller may have its identity by now.
            return False
        folder = self.folder(service)
        return all(
            written.looks is not None and look(folder, path) == written.looks
            for path, written in there.files.items()
        )

    def _update(self, there: Manifest | None, service: ServiceRef, file: IO[bytes]) -> bool:
        bundle, folder = Bundle(file), self.folder(service)
        ours = {**there.files, **there.begun} if there else {}
        placing = Placing(folder, bundle)
        self._refuse_foreign(placing, ours, there)
        wanted = {
            path: Written(mode=member.mode, sha256=member.sha256)
            for path, member in bundle.members.items()
        }
        # Before the first of them is written: after a crash they are known to be ours.
        self._keep(
            Manifest(
                service=there.service if there else service,
                writing=True,
                files=there.files if there else {},
                begun={**(there.begun if there else {}), **wanted},
            )
        )
        changed = self._place(placing, ours, wanted)
        files = {
            path: written.model_copy(update={"looks": look(folder, path)})
            for path, written in wanted.items()
        }
        self._keep(Manifest(service=service, files=files))
        return changed

    def _refuse_foreign(
        self, placing: Placing, ours: dict[str, Written], there: Manifest | None
    ) -> None:
        begun = there.begun if there else {}
        known = {path for path in ours if path not in begun or (there and path in there.files)}
        known |= {
            path for path, one in begun.items() if same_content(placing.folder, path, one.sha256)
        }
        in_the_way = placing.in_the_way(known)
        if in_the_way:
            named = few([f"./{path}" for path in in_the_way])
            raise Conflict(
                f"{named} in {placing.folder} is not from the catalog, and the catalog has "
                "another file of that name",
                hint="Move it away, or make it the same as in the catalog; nothing was changed.",
            )

    def _place(
        self, placing: Placing, ours: dict[str, Written], wanted: dict[str, Written]
    ) -> bool:
        changed = False
        for path in sorted(ours.keys() - wanted.keys()):
            changed |= placing.remove(path, ours[path].sha256)
        for path in sorted(wanted):
            before = ours.get(path)
            changed |= placing.put(path, before.mode if before else None)
        if changed:
            placing.flush()
        return changed

    def _keep(self, manifest: Manifest) -> None:
        path = self._manifests / f"{manifest.service.folder}.json"
        try:
            durable.keep(path, manifest)
        except OSError as error:
            raise Failure(
                f"{path} cannot be written: {error.strerror}", hint="Is the disk full?"
            ) from error
