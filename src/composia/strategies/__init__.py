"""How a data item can be saved and brought back: the table of contents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from composia.strategies.files_copy import FilesCopy, FilesCopyBack
from composia.strategies.files_tar_after_stop import FilesTarAfterStop, FilesTarBack
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport

AnyBackupStrategy = Annotated[
    FilesCopy | FilesTarAfterStop | PgDumpAll, Field(discriminator="strategy")
]
AnyRestoreStrategy = Annotated[
    FilesCopyBack | FilesTarBack | PgImport, Field(discriminator="strategy")
]
