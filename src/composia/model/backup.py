"""A backup: the record of one saved data item."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class BackupStatus(StrEnum):
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    UNPROVEN = "unproven"


class BackupKind(StrEnum):
    MANUAL = "manual"
    SCHEDULED = "scheduled"
    MIGRATION = "migration"
    BEFORE_RESTORE = "before_restore"
    BEFORE_UPDATE = "before_update"


#: Taken of data that somebody was about to replace, and so perhaps of what was broken: nothing
#: chooses one by itself, and it stands for no day, week, month or year.
SAFETY_COPIES = frozenset({BackupKind.BEFORE_RESTORE})


class Counted(BaseModel):
    """All records together. `added` in bytes, of those whose snapshot is there."""

    model_config = ConfigDict(frozen=True)

    snapshots: int = 0
    added: int = 0
    #: Whose snapshot is not there any more, and those that were never proven.
    missing: int = 0
    unproven: int = 0


class BackupDay(BaseModel):
    """What came of the backups of a day, in UTC."""

    model_config = ConfigDict(frozen=True)

    day: date
    good: int = 0
    #: Saved in part, or not proven.
    partial: int = 0
    failed: int = 0


def place_of(service: str, item: str, node: str) -> str:
    """A data item on a node, as one word: `service/item@node`."""
    return f"{service}/{item}@{node}"


class Backup(BaseModel):
    """As the API shows it. Sizes in bytes, duration in seconds."""

    model_config = ConfigDict(frozen=True)

    id: str
    service: str
    data_item: str
    node: str
    #: 64 hex digits; None where nothing was saved.
    snapshot_id: str | None
    #: The snapshot that it is a copy of, where the repository was a copy once.
    original: str | None = None
    status: BackupStatus
    size: int = 0
    added: int = 0
    files: int = 0
    #: When its data was read: the start of the save.
    time: datetime
    duration: float = 0.0
    kind: BackupKind = BackupKind.MANUAL
    task_id: str | None = None
    #: The strategy that saved it, by its name in the YAML.
    strategy: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    #: Paths that changed while they were read, and what its strategy left out.
    changed: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    verified_at: datetime | None = None
    verification: str | None = None
    #: True when a verification has found that it does not come back as it was saved.
    damaged: bool = False
    #: Copies off site that have it, by their names in config.yaml.
    copies: tuple[str, ...] = ()
    #: True when the repository was listed and its snapshot is not there any more.
    missing: bool = False
    #: True from when retention began to take its snapshot out until that was seen to be there.
    going: bool = False

    @property
    def item_on_node(self) -> tuple[str, str, str]:
        """What it is a backup of: service, item, and the node that it was saved on."""
        return self.service, self.data_item, self.node

    @property
    def place(self) -> str:
        """The same as one word: `service/item@node`."""
        return place_of(*self.item_on_node)

    def refused(self, why: str) -> Backup:
        """The same as the record of a failure: what the node said of it is not believed."""
        changes = {"snapshot_id": None, "status": BackupStatus.FAILED, "error": why}
        return self.model_copy(update=changes)

    @property
    def has_something(self) -> bool:
        """Whether something was saved, whole or not; its snapshot may be `missing` since."""
        return self.status is not BackupStatus.FAILED and self.snapshot_id is not None

    @property
    def is_whole(self) -> bool:
        """Whether all of it was saved and none of it was found damaged since.

        Its own task said so. One that was adopted becomes such a one when a verification can tell;
        what cannot be compared with anything but itself stays unproven, though it is verified.
        """
        return self.status is BackupStatus.SUCCESS and not self.damaged

    @property
    def is_good(self) -> bool:
        """Whether it is what a restore starts from where nobody names another one."""
        return self.is_whole and not self.missing and self.kind not in SAFETY_COPIES
