"""What metrics count and measure: a question each, however many items there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select, text

from composia.controller.store.database import Database
from composia.controller.store.schema import BACKUPS
from composia.controller.store.times import stored
from composia.model.backup import SAFETY_COPIES, BackupDay, BackupStatus

#: `Backup.is_good`.
_GOOD = f"""
    status = 'success'
      AND json_extract(record, '$.missing') IS NOT 1
      AND json_extract(record, '$.damaged') IS NOT 1
      AND json_extract(record, '$.kind') NOT IN ({", ".join(f"'{one}'" for one in SAFETY_COPIES)})
"""
# With max() SQLite gives the other columns of the row that has it.
_LAST_GOOD = text(f"""
    SELECT service, data_item, node, record, max(time) AS at FROM backups
    WHERE {_GOOD}
    GROUP BY service, data_item, node
""")  # noqa: S608  # a constant
_LAST_VERIFIED = text(f"""
    SELECT service, data_item, node, max(json_extract(record, '$.verified_at')), max(time)
    FROM backups
    WHERE {_GOOD} AND json_extract(record, '$.verified_at') IS NOT NULL
    GROUP BY service, data_item, node
""")  # noqa: S608  # a constant
_LAST_TASKS = text("""
    SELECT type, max(finished_at) FROM tasks WHERE status = 'succeeded' GROUP BY type
""")
_OUTAGES = text("""
    SELECT service, max(task), json_extract(facts, '$.downtime_seconds') AS last,
           (SELECT sum(json_extract(every.facts, '$.downtime_seconds')) FROM moves AS every
            WHERE every.service = moves.service) AS total
    FROM moves WHERE json_extract(facts, '$.downtime_seconds') IS NOT NULL GROUP BY service
""")
_MISSED = text("""
    SELECT schedule, node, sum(times) FROM runs WHERE state = 'missed' GROUP BY schedule, node
""")
_UNDELIVERED = text("SELECT count(*) FROM deliveries WHERE sent_at IS NULL AND error IS NOT NULL")
_LEFT_OPEN = text("""
    SELECT count(DISTINCT holds.task) FROM holds JOIN tasks ON tasks.id = holds.task
    WHERE tasks.status NOT IN ('pending', 'running')
""")


class LastGood(BaseModel):
    """The last good backup of an item on a node. Sizes in bytes, duration in seconds."""

    model_config = ConfigDict(frozen=True)

    of: tuple[str, str, str]
    at: str
    size: int
    added: int
    files: int
    duration: float


class LastVerified(BaseModel):
    """When a backup of an item on a node was last proven, and of when the newest proven one is."""

    model_config = ConfigDict(frozen=True)

    of: tuple[str, str, str]
    proven_at: str
    newest: str


class Outage(BaseModel):
    """How long a service did not answer while it moved, in seconds."""

    model_config = ConfigDict(frozen=True)

    service: str
    last: float
    total: float


class Numbers:
    """Sums and latest times over the other tables."""

    _db: Database

    async def last_good_backups(self) -> Sequence[LastGood]:
        """Of each item on each node."""
        return [
            LastGood(of=(row[0], row[1], row[2]), at=row[4], **_sizes(row[3]))
            for row in await self._numbers(_LAST_GOOD)
        ]

    async def backup_days(
        self, since: datetime, services: Sequence[str] | None = None
    ) -> Sequence[BackupDay]:
        """Of each day with a backup, the oldest first."""
        day, status = func.substr(BACKUPS.c.time, 1, 10), BACKUPS.c.status
        good, failed = status == BackupStatus.SUCCESS, status == BackupStatus.FAILED
        counts = (func.sum(good), func.sum(~(good | failed)), func.sum(failed))
        query = select(day, *counts).where(BACKUPS.c.time >= stored(since)).group_by(day)
        if services is not None:
            query = query.where(BACKUPS.c.service.in_(services))
        return [
            BackupDay(day=row[0], good=row[1], partial=row[2], failed=row[3])
            for row in await self._numbers(query.order_by(day))
        ]

    async def last_verified(self) -> Sequence[LastVerified]:
        """Of each item on each node that has a proven backup."""
        return [
            LastVerified(of=(row[0], row[1], row[2]), proven_at=row[3], newest=row[4])
            for row in await self._numbers(_LAST_VERIFIED)
        ]

    async def last_tasks(self) -> Sequence[tuple[str, str]]:
        """Of each type, when one last succeeded."""
        return [(row[0], row[1]) for row in await self._numbers(_LAST_TASKS)]

    async def outages(self) -> Sequence[Outage]:
        """Of every service that has moved."""
        return [
            Outage(service=row[0], last=row[2], total=row[3])
            for row in await self._numbers(_OUTAGES)
        ]

    async def missed_runs(self) -> Sequence[tuple[str, str, int]]:
        """Of each schedule and node, among the runs that are kept."""
        return [(row[0], row[1], row[2]) for row in await self._numbers(_MISSED)]

    async def undelivered(self) -> int:
        """Messages that could not be delivered so far."""
        return int((await self._numbers(_UNDELIVERED))[0][0])

    async def moves_left_open(self) -> int:
        """Tasks that hold on until a person decides."""
        return int((await self._numbers(_LEFT_OPEN))[0][0])

    async def _numbers(self, query: Any) -> Sequence[Any]:
        async with self._db.read() as db:
            return (await db.execute(query)).all()


def _sizes(record: str) -> dict[str, Any]:
    found = json.loads(record)
    return {name: found.get(name, 0) for name in ("size", "added", "files", "duration")}
