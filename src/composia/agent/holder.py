"""The repository that this node holds, for nodes that do not."""

from __future__ import annotations

import asyncio
from pathlib import Path

from composia.agent.readings import TASK, NoNotes
from composia.agent.repository import Repository
from composia.agent.sites import Errand, Sites
from composia.errors import Denied, Invalid
from composia.model.service import RepositoryRef
from composia.operations.base import Files
from composia.operations.messages import ForgetCall
from composia.tools.mounts import try_to_remove
from composia.tools.rustic import SnapshotInfo
from composia.tools.rustic_engine import ContainerEngine
from composia.tools.rustic_service import ServiceContainer
from composia.tools.rustic_way import Way, way_to

#: Repositories that are remembered, by what the catalog says of them.
KNOWN = 8


class Holder:
    """Finds out what the repository's service says; anew for each operation, which asks the way."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._known: dict[RepositoryRef, Repository] = {}
        self._finding = asyncio.Lock()
        self._cleared: set[Path] = set()

    async def repository(self, ref: RepositoryRef, key: str) -> Repository:
        """`key`: under which the service's files may be asked for.

        Raises Invalid where it is no folder of this node.
        """
        async with self._finding:
            found = self._known.get(_same(ref))
            return found or await self._found(await self._container(ref, key), ref)

    async def way(self, ref: RepositoryRef, key: str) -> Way:
        """How another node runs rustic. Raises Invalid where it cannot."""
        container = await self._container(ref, key)
        async with self._finding:
            # What was remembered may be of files that have been deployed anew since.
            await self._found(container, ref)
        return await way_to(await container.prepared())

    async def forget(self, ref: RepositoryRef, key: str, call: ForgetCall) -> None:
        """Take out what that node has made for that task. Raises Denied for anything else."""
        engine = ContainerEngine(await self._container(ref, key))
        wanted = [one for one in await engine.snapshots() if one.id in call.ids]
        for snapshot in wanted:
            if not _is_made_by(snapshot, call):
                raise Denied(f"node {call.node} has not made {snapshot.id} for this task")
        await engine.forget([snapshot.id for snapshot in wanted])

    async def _found(self, container: ServiceContainer, ref: RepositoryRef) -> Repository:
        folder = await _folder_of(container, ref)
        if folder not in self._cleared:
            # What an agent that was killed has left of its uploads.
            scratch = folder / f".composia-{self._sites.node}"
            await asyncio.to_thread(try_to_remove, scratch)
            self._cleared.add(folder)
        found = Repository(folder, self._sites.node)
        others = [one for one in self._known.items() if one[0] != _same(ref)]
        self._known = {**dict(others[1 - KNOWN :]), _same(ref): found}
        return found

    async def _container(self, ref: RepositoryRef, key: str) -> ServiceContainer:
        errand = Errand(ref.service, ref, TASK, key)
        await self._sites.check_out(errand, Files.IF_ABSENT)
        return self._sites.rustic(ref, TASK, NoNotes())


def _same(ref: RepositoryRef) -> RepositoryRef:
    """The id is found out in the middle of a task, and changes nothing here."""
    return ref.model_copy(update={"repository_id": None})


async def _folder_of(container: ServiceContainer, ref: RepositoryRef) -> Path:
    folder = await container.repository_folder()
    if folder is None:
        raise Invalid(
            f"the repository of {ref.service} is no folder that its compose service mounts",
            hint="For one that every node reaches by itself, keep the rustic profile in the "
            "catalog; for a folder, mount it.",
        )
    return folder


def _is_made_by(snapshot: SnapshotInfo, call: ForgetCall) -> bool:
    return snapshot.host == call.node and f"task={call.task}" in snapshot.tags
