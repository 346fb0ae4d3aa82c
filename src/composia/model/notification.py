"""What the owner is told: the events, and one matter from the first message to its end."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class EventName(StrEnum):
    """What may be told, as `notifications.on` names it."""

    BACKUP_FAILED = "backup_failed"
    BACKUP_OVERDUE = "backup_overdue"
    BACKUP_MISSED = "backup_missed"
    BACKUP_MISSING = "backup_missing"
    BACKUP_SUCCEEDED = "backup_succeeded"
    RESTORE_FAILED = "restore_failed"
    VERIFY_FAILED = "verify_failed"
    CHECK_FAILED = "check_failed"
    FORGET_FAILED = "forget_failed"
    PRUNE_FAILED = "prune_failed"
    COPY_FAILED = "copy_failed"
    SCHEDULE_MISSED = "schedule_missed"
    MIGRATE_FAILED = "migrate_failed"
    MIGRATE_LEFT_OPEN = "migrate_left_open"
    MIGRATE_SUCCEEDED = "migrate_succeeded"
    NODE_OFFLINE = "node_offline"
    NODE_BACK = "node_back"
    CATALOG_BROKEN = "catalog_broken"
    CATALOG_UNREACHABLE = "catalog_unreachable"
    DISK_LOW = "disk_low"


#: Told again until somebody acknowledges it, and in the way of the dead-man's ping.
LOSES_DATA = frozenset(
    {
        EventName.BACKUP_FAILED,
        EventName.BACKUP_OVERDUE,
        EventName.BACKUP_MISSING,
        EventName.VERIFY_FAILED,
        EventName.CHECK_FAILED,
        EventName.MIGRATE_LEFT_OPEN,
    }
)
#: Told once, kept only where somebody asked for it, and nothing is to be done about it.
GOOD_NEWS = frozenset(
    {EventName.BACKUP_SUCCEEDED, EventName.MIGRATE_SUCCEEDED, EventName.NODE_BACK}
)
#: What is told where `on` says nothing.
USUAL = (
    EventName.BACKUP_FAILED,
    EventName.BACKUP_OVERDUE,
    EventName.BACKUP_MISSED,
    EventName.BACKUP_MISSING,
    EventName.VERIFY_FAILED,
    EventName.CHECK_FAILED,
    EventName.FORGET_FAILED,
    EventName.PRUNE_FAILED,
    EventName.COPY_FAILED,
    EventName.SCHEDULE_MISSED,
    EventName.MIGRATE_FAILED,
    EventName.MIGRATE_LEFT_OPEN,
    EventName.NODE_OFFLINE,
    EventName.CATALOG_BROKEN,
    EventName.DISK_LOW,
)


class NotificationState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    SETTLED = "settled"


class Matter(BaseModel):
    """Something that has happened, or that stands, in words for people."""

    model_config = ConfigDict(frozen=True)

    event: EventName
    #: What it is about: the same again, until it is settled, is the same notification.
    subject: str
    title: str
    #: The plain reason, and the next step.
    reason: str = ""
    hint: str | None = None
    since: datetime
    service: str | None = None
    node: str | None = None
    data_item: str | None = None
    task_id: str | None = None


class Delivery(BaseModel):
    """One message to one target, as far as it has come; never its address."""

    model_config = ConfigDict(frozen=True)

    target: str = Field(description="Where its address stands in config.yaml, and of what kind.")
    queued_at: datetime
    sent_at: datetime | None = None
    attempts: int = 0
    error: str | None = None


class Notification(BaseModel):
    """A matter and who was told of it."""

    model_config = ConfigDict(frozen=True)

    id: str
    event: EventName
    state: NotificationState
    service: str | None = None
    node: str | None = None
    data_item: str | None = None
    subject: str
    title: str
    reason: str = ""
    hint: str | None = None
    task_id: str | None = None
    time: datetime = Field(description="When it was first told.")
    since: datetime
    times: int = Field(1, description="How often it has happened.")
    told_at: datetime | None = Field(None, description="When a message was last made of it.")
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    settled_at: datetime | None = None
    settled_by: str | None = Field(None, description="What has ended it.")
    deliveries: list[Delivery] = []


class Tried(BaseModel):
    """What a test message to one target came to."""

    model_config = ConfigDict(frozen=True)

    target: str
    ok: bool
    error: str | None = None


class TriedAll(BaseModel):
    """One answer for each target."""

    model_config = ConfigDict(frozen=True)

    items: list[Tried]
