"""files.copy: paths saved while the service runs, and put back by exchange."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from composia.strategies.base import (
    BackupStrategy,
    Needs,
    RestoreStrategy,
    Saved,
    Site,
    Staged,
    Wanted,
)
from composia.tools.paths import IncludePath


class FilesCopy(BackupStrategy):
    """Save paths and volumes while the service runs."""

    needs: ClassVar[Needs] = Needs.NOTHING

    strategy: Literal["files.copy"] = "files.copy"
    include: tuple[IncludePath, ...] = Field(min_length=1)
    exclude: tuple[IncludePath, ...] = ()

    async def save(self, item: str, site: Site) -> Saved:
        raise NotImplementedError


class FilesCopyBack(RestoreStrategy):
    """Put paths and volumes back; a dump is put into the folder as a file."""

    strategy: Literal["files.copy"] = "files.copy"
    include: tuple[IncludePath, ...] = Field(min_length=1)

    async def fetch(self, wanted: Wanted, site: Site) -> Staged:
        raise NotImplementedError
