"""files.tar_after_stop: paths saved while the service is stopped."""

from __future__ import annotations

from typing import ClassVar, Literal

from composia.strategies.base import Needs
from composia.strategies.files_copy import FilesCopy, FilesCopyBack


class FilesTarAfterStop(FilesCopy):
    """The same as files.copy, of a stopped service."""

    needs: ClassVar[Needs] = Needs.STOPPED

    strategy: Literal["files.tar_after_stop", "files.copy_after_stop"]  # type: ignore[assignment]  # other names


class FilesTarBack(FilesCopyBack):
    """The same as files.copy."""

    strategy: Literal["files.tar_after_stop", "files.copy_after_stop"]  # type: ignore[assignment]  # other names
