"""Proving a backup: it is restored for real, to a place of its own, and compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.operations.base import Files, Operation
from composia.strategies import proof
from composia.strategies.aside import Aside
from composia.strategies.base import Site, Wanted
from composia.strategies.pgimport import PgImport
from composia.tools.cancelling import to_the_end

ONLY_ITSELF = "all equal to its snapshot; whether that is all there was is not known"


class BackupProven(BaseModel):
    """What was found, in words for people. Sizes in bytes."""

    model_config = ConfigDict(frozen=True)

    text: str
    #: Whether it can tell that all was saved, and not only that this comes back.
    whole: bool = True
    size: int
    files: int
    #: Of a dump.
    databases: int = 0
    tables: int = 0
    rows: int = 0
    warnings: tuple[str, ...] = ()


class _Verification(Operation[BackupProven]):
    wanted: Wanted

    result: ClassVar[type[BaseModel]] = BackupProven

    async def perform(self, site: Site) -> BackupProven:
        aside = Aside(site.aside, site.task)
        await aside.discard(site.docker)
        await site.notes.note("verifying", folder=str(aside.folder))
        try:
            return await self._prove(site)
        finally:
            await to_the_end(aside.discard(site.docker))

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        for facts in notes.values():
            if container := facts.get("container"):
                await site.docker.kill_and_remove(str(container))
        if "verifying" in notes:
            await Aside(site.aside, site.task).discard(site.docker)

    @abstractmethod
    async def _prove(self, site: Site) -> BackupProven:
        """Restore and compare; whatever lies aside is removed afterwards."""


class VerifyFiles(_Verification):
    """Restore a snapshot of files to scratch, and compare it with what was saved."""

    op: Literal["verify_files"] = "verify_files"

    #: Nothing of the service has to be here: any node that reaches the repository will do.
    files: ClassVar[Files] = Files.NOT_NEEDED
    beside: ClassVar[bool] = True

    async def _prove(self, site: Site) -> BackupProven:
        found = await proof.files(self.wanted, site)
        saved = "all equal to what was saved" if found.whole else ONLY_ITSELF
        return BackupProven(
            text=f"restored {found.told}, {saved}",
            whole=found.whole,
            size=found.size,
            files=found.files,
            warnings=found.warnings,
        )


class VerifyDump(_Verification):
    """Import a dump into a throw-away database of the service's own image, and count its rows."""

    op: Literal["verify_dump"] = "verify_dump"
    compose_service: str

    files: ClassVar[Files] = Files.AS_THEY_ARE

    async def _prove(self, site: Site) -> BackupProven:
        size, counted = await PgImport(service=self.compose_service).prove(self.wanted, site)
        text = f"imported, {counted.tables:,} tables, {counted.rows:,} rows"
        return BackupProven(
            text=text,
            size=size,
            files=1,
            databases=counted.databases,
            tables=counted.tables,
            rows=counted.rows,
        )
