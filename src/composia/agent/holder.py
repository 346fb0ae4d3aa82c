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

#: Revisions of the repository's service that are remembered.
KNOWN = 8


class Holder:
    """Finds out what the repository's service says; once for each revision of it."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._known: dict[RepositoryRef, Repository] = {}
        self._finding = asyncio.Lock()
        self._cleared: set[Path] = set()

    async def repository(self, ref: RepositoryRef, key: str) -> Repository:
        """`key`: under which the service's files may be asked for.

        Raises Invalid where it is no folder of this node.
        """
        # The id is found out in the middle of a task, and changes nothing here.
        same = ref.model_copy(update={"repository_id": None})
        async with self._finding:
            if same not in self._known:
                found = await self._found(ref, key)
                kept = list(self._known.items())[1 - KNOWN :]
                self._known = {**dict(kept), same: found}
            return self._known[same]

    async def way(self, ref: RepositoryRef, key: str) -> Way:
        """How another node runs rustic. Raises Invalid where it cannot."""
        container = await self._container(ref, key)
        await _folder_of(container, ref)
        return await way_to(await container.prepared())

    async def forget(self, ref: RepositoryRef, key: str, call: ForgetCall) -> None:
        """Take out what that node has made for that task. Raises Denied for anything else."""
        engine = ContainerEngine(await self._container(ref, key))
        wanted = [one for one in await engine.snapshots() if one.id in call.ids]
        for snapshot in wanted:
            if not _is_made_by(snapshot, call):
                raise Denied(f"node {call.node} has not made {snapshot.id} for this task")
        await engine.forget([snapshot.id for snapshot in wanted])

    async def _found(self, ref: RepositoryRef, key: str) -> Repository:
        folder = await _folder_of(await self._container(ref, key), ref)
        if folder not in self._cleared:
            # What an agent that was killed has left of its uploads.
            scratch = folder / f".composia-{self._sites.node}"
            await asyncio.to_thread(try_to_remove, scratch)
            self._cleared.add(folder)
        return Repository(folder, self._sites.node)

    async def _container(self, ref: RepositoryRef, key: str) -> ServiceContainer:
        errand = Errand(ref.service, ref, TASK, key)
        await self._sites.check_out(errand, Files.IF_ABSENT)
        return self._sites.rustic(ref, TASK, NoNotes())


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
