"""What keeps the household of `seed.py` safe: what is in its backups, copies, proofs, messages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from composia.model.backup import Backup
from composia.model.config import Offsite
from composia.model.meta import Keep
from composia.model.notification import Delivery, EventName, Notification, NotificationState
from composia.model.offsite import CopyState
from tests.twins.office import REPOSITORY, MemoryOffice, notification

#: The newest backup of the uploads.
NEWEST = "01B000240"
#: Names that files may have.
ODD = (
    "<img src=x onerror=alert(1)>.html",
    "photo\u202egpj.exe",
    "two\nlines\tand tabs.txt",
    "שלום עולם.txt",
    "100% & more #1?.txt",
    'quote".txt',
    "long-" * 50,
)
#: A folder with more than a page of entries.
MANY = 10_000


def safeguard(office: MemoryOffice, now: datetime) -> None:
    """Add all of it."""
    office.nodes.files = files()
    copies = (
        Offsite(name="attic", profile="offsite-attic"),
        Offsite(name="s3", profile="offsite-s3"),
    )
    # No rule of weeks: on a Sunday it keeps another number.
    backup = office.config.backup.model_copy(update={"keep": Keep(daily=9)})
    office.config = office.config.model_copy(update={"offsite": copies, "backup": backup})
    office.store.copied = {
        "s3": CopyState(
            repository_id=REPOSITORY,
            complete_at=now - timedelta(hours=3),
            tried_at=now - timedelta(hours=3),
            snapshots=48,
        ),
        "attic": CopyState(
            tried_at=now - timedelta(hours=2),
            problem="the copy's host attic.example.org does not answer",
        ),
    }
    office.store.records = [_as_it_became(one, now) for one in office.store.records]
    office.store.notices = {one.id: one for one in _notices(now)}


def files() -> dict[str, bytes]:
    """Everyday files, odd ones, and very many."""
    found = {f"files/data/uploads/{name}": b"odd" for name in ODD}
    found |= {f"files/data/uploads/2026/{n:02}/photo.jpg": b"x" * 2048 for n in range(1, 13)}
    found |= {f"files/data/uploads/thumbs/{n:05}.jpg": b"x" * 90 for n in range(MANY)}
    return found | {"files/data/uploads/a.txt": b"hello", "files/data/uploads/report.pdf": b"x" * 9}


def _as_it_became(backup: Backup, now: datetime) -> Backup:
    changes: dict[str, dict[str, Any]] = {
        NEWEST: {
            "copies": ("s3",),
            "verified_at": now - timedelta(minutes=4),
            "verification": "312 files, 508 MiB: all as they were saved",
            "exclude": ("./data/uploads/temp",),
            "changed": ("./data/uploads/2026/11/photo.jpg",),
        },
        "01B000230": {
            "damaged": True,
            "verification": "2 of 313 files came back with other bytes",
        },
        "01B000220": {"missing": True},
    }
    return backup.model_copy(update=changes.get(backup.id, {}))


def _notices(now: datetime) -> list[Notification]:
    hour = timedelta(hours=1)
    sent = Delivery(target="urls[0] (mailto)", queued_at=now - hour, sent_at=now - hour, attempts=1)
    return [
        notification(
            "01N0001",
            service=None,
            data_item=None,
            node="edge",
            event=EventName.NODE_OFFLINE,
            subject="node:edge",
            title="Node edge is offline",
            reason="its agent was last heard 2 hours ago",
            state=NotificationState.SETTLED,
            time=now - 50 * hour,
            since=now - 50 * hour,
            settled_at=now - 49 * hour,
            settled_by="it is back",
            deliveries=[sent],
        ),
        notification(
            "01N0002",
            service="guestbook",
            data_item="entries",
            subject="backup:guestbook/entries@main",
            title="Backup failed: entries of guestbook on main",
            reason="No space left on device: /srv/repository",
            hint="Free some space on main, then back it up again.",
            task_id="01T90000",
            time=now - hour / 20,
            since=now - hour / 20,
            times=3,
            deliveries=[
                sent,
                Delivery(
                    target="urls[1] (json)",
                    queued_at=now - hour / 20,
                    attempts=4,
                    error="no answer within 10 s",
                ),
            ],
        ),
        notification(
            "01N0003",
            service=None,
            data_item=None,
            node=None,
            event=EventName.COPY_FAILED,
            subject="copy:attic",
            title="Copy to attic failed",
            reason="the copy's host attic.example.org does not answer",
            state=NotificationState.ACKNOWLEDGED,
            time=now - 2 * hour,
            since=now - 2 * hour,
            acknowledged_at=now - hour,
            acknowledged_by="token:admin",
        ),
    ]
