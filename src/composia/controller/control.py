"""What workflows ask of the controller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from composia.controller.events import Event, Events
from composia.controller.store.store import Store
from composia.controller.store.times import now
from composia.errors import Failure
from composia.model.backup import Backup


class StoreControl:
    """Control, on the store. Every method may be called twice with one meaning."""

    def __init__(self, store: Store, events: Events) -> None:
        self._store = store
        self._events = events

    async def record_backups(self, backups: Sequence[Any]) -> None:
        """Keep the records; a record of the same id is replaced."""
        records = [Backup.model_validate(backup) for backup in backups]
        await self._store.keep_backups(records)
        for record in records:
            data = record.model_dump(mode="json")
            self._events.publish(Event("backup", record.service, data))

    async def forget_backups(self, backup_ids: Sequence[str]) -> None:
        """Drop the records; those that are not there are none the less."""
        await self._store.forget_backups(backup_ids)

    async def remember_repository(self, repository_id: str) -> None:
        """Write down the repository's id when it is seen for the first time. Raises Failure."""
        await self._store.remember_repository(repository_id)
        known = await self._store.repository_id()
        if known != repository_id:
            raise Failure(
                f"this is repository {repository_id[:12]}, and we know {str(known)[:12]}",
                hint="Is the right disk mounted, and does the profile name the right place?",
            )

    async def now(self) -> str:
        """The time, RFC 3339 in UTC."""
        return now()
