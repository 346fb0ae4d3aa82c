"""The records of backups, and which repository they are in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import MappingProxyType

from sqlalchemy import and_, delete, func, select, text, update
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from composia.controller.store.database import Database
from composia.controller.store.schema import BACKUPS, FACTS
from composia.controller.store.times import stored
from composia.model.backup import Backup, BackupStatus, Counted

_REPOSITORY = "repository_id"
#: So many are looked for by their ids; for more of them all are read.
FEW = 500
_COUNTED = text("""
    SELECT sum(missing IS NOT 1), sum(added * (missing IS NOT 1)), sum(missing IS 1),
           sum(missing IS NOT 1 AND status = 'unproven' AND NOT proven)
    FROM (SELECT status, json_extract(record, '$.missing') AS missing,
                 json_extract(record, '$.added') AS added,
                 json_extract(record, '$.verified_at') IS NOT NULL
                     AND json_extract(record, '$.damaged') IS NOT 1 AS proven
          FROM backups WHERE json_extract(record, '$.snapshot_id') IS NOT NULL)
""")


#: Whose snapshot is not there, and that nobody has taken out.
_MISSING = and_(
    func.json_extract(BACKUPS.c.record, "$.missing").is_(True),
    func.json_extract(BACKUPS.c.record, "$.going").is_not(True),
)


class Backups:
    """The table of backups."""

    _db: Database
    #: Grows with every change of a record; and what was found of the newest ones after so many.
    _record_changes: int = 0
    _newest: Mapping[bool, tuple[int, Sequence[Backup]]] = MappingProxyType({})
    #: The same of their numbers: to count takes part of a second where there are many.
    _counted: tuple[int, Counted] = (-1, Counted())
    _missing: tuple[int, Sequence[Backup]] = (-1, ())

    @asynccontextmanager
    async def _changing_records(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that changes records; what was found before is found again after it."""
        try:
            async with self._db.write() as db:
                yield db
        finally:
            self._record_changes += 1

    async def keep_backups(self, backups: Sequence[Backup]) -> None:
        """Keep them; a record of the same id is replaced."""
        async with self._changing_records() as db:
            for backup in backups:
                values = {
                    **backup.model_dump(include={"service", "data_item", "node", "task_id"}),
                    "status": backup.status,
                    "time": stored(backup.time),
                    "record": backup.model_dump_json(),
                }
                await db.execute(
                    insert(BACKUPS)
                    .values(id=backup.id, **values)
                    .on_conflict_do_update(index_elements=["id"], set_=values)
                )

    async def forget_backups(self, backup_ids: Sequence[str]) -> None:
        """Drop them; those that are not there are none the less."""
        async with self._changing_records() as db:
            await db.execute(delete(BACKUPS).where(BACKUPS.c.id.in_(backup_ids)))

    async def note_missing(
        self, looked_for: Sequence[str], missing: Sequence[str]
    ) -> Sequence[Backup]:
        """Of the records looked for: these have no snapshot any more. Those that changed."""
        gone = set(missing)

        def noted(record: Backup) -> Backup:
            is_gone = record.id in gone
            update = {"missing": is_gone, "going": record.going and is_gone}
            return record.model_copy(update=update)

        return await self._change_records(noted, looked_for)

    async def begin_forgetting(self, backups: Sequence[str]) -> Sequence[Backup]:
        """The snapshots of these are about to be taken out. Those that changed."""
        return await self._change_records(
            lambda record: record.model_copy(update={"going": True}), backups
        )

    async def _change_records(
        self, noted: Callable[[Backup], Backup], only: Iterable[str] | None = None
    ) -> Sequence[Backup]:
        query, wanted = select(BACKUPS.c.record), None if only is None else set(only)
        if wanted is not None and len(wanted) <= FEW:
            query = query.where(BACKUPS.c.id.in_(wanted))
        async with self._changing_records() as db:
            records = [Backup.model_validate_json(text) for text in await db.scalars(query)]
            meant = [one for one in records if wanted is None or one.id in wanted]
            changed = [new for old in meant if (new := noted(old)) != old]
            for record in changed:
                await _write(record, db)
        return changed

    async def backup(self, backup: str) -> Backup | None:
        """One record."""
        query = select(BACKUPS.c.record).where(BACKUPS.c.id == backup)
        async with self._db.read() as db:
            found = await db.scalar(query)
        return Backup.model_validate_json(found) if found is not None else None

    async def records_of(self, snapshots: Iterable[str | None]) -> dict[str, str]:
        """The record of each of these snapshots that has one."""
        snapshot = func.json_extract(BACKUPS.c.record, "$.snapshot_id")
        wanted = [one for one in snapshots if one]
        if not wanted:
            return {}
        query = select(snapshot, BACKUPS.c.id).where(snapshot.in_(wanted))
        async with self._db.read() as db:
            return {row[0]: row[1] for row in (await db.execute(query)).all()}

    async def backups(
        self,
        *,
        services: Sequence[str] | None = None,
        data_item: str | None = None,
        node: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> Sequence[Backup]:
        """The newest first."""
        query = select(BACKUPS.c.record).order_by(BACKUPS.c.id.desc()).limit(limit)
        if services is not None:
            query = query.where(BACKUPS.c.service.in_(services))
        fields = {"data_item": data_item, "node": node, "status": status}
        for name, wanted in fields.items():
            if wanted is not None:
                query = query.where(BACKUPS.c[name] == wanted)
        if before is not None:
            query = query.where(BACKUPS.c.id < before)
        async with self._db.read() as db:
            return [Backup.model_validate_json(one) for one in await db.scalars(query)]

    async def newest_backups(
        self, services: Sequence[str] | None = None, *, good: bool = False
    ) -> Sequence[Backup]:
        """The newest of each item on each node; `good`: of those that can be restored."""
        if services is not None:
            return await self._look_for_newest(services, good=good)
        # Pages ask for all of them all the time, and nearly always nothing has changed.
        changes, found = self._newest.get(good, (-1, ()))
        if changes != self._record_changes:
            changes = self._record_changes
            found = await self._look_for_newest(None, good=good)
            self._newest = MappingProxyType({**self._newest, good: (changes, found)})
        return found

    async def _look_for_newest(
        self, services: Sequence[str] | None, *, good: bool
    ) -> Sequence[Backup]:
        place = (BACKUPS.c.service, BACKUPS.c.data_item, BACKUPS.c.node)
        # Only what stands in an index is asked for: there may be very many records.
        ids = select(func.max(BACKUPS.c.id)).group_by(*place)
        if services is not None:
            ids = ids.where(BACKUPS.c.service.in_(services))
        if good:
            ids = ids.where(BACKUPS.c.status == BackupStatus.SUCCESS)
        async with self._db.read() as db:
            texts = await db.scalars(select(BACKUPS.c.record).where(BACKUPS.c.id.in_(ids)))
            found = [Backup.model_validate_json(one) for one in texts]
        if not good:
            return found
        kept = [await self._restorable(one) for one in found]
        return [one for one in kept if one is not None]

    async def _restorable(self, newest: Backup) -> Backup | None:
        if newest.is_good:
            return newest
        others = await self.backups(
            services=(newest.service,), data_item=newest.data_item, node=newest.node
        )
        return next((one for one in others if one.is_good), None)

    async def counted_backups(self) -> Counted:
        """All of them together."""
        changes, found = self._record_changes, self._counted
        if found[0] != changes:
            async with self._db.read() as db:
                row = (await db.execute(_COUNTED)).one()
            numbers = dict(zip(Counted.model_fields, (one or 0 for one in row), strict=True))
            found = self._counted = (changes, Counted(**numbers))
        return found[1]

    async def missing_backups(self) -> Sequence[Backup]:
        """Those whose snapshot has gone, though nobody has forgotten it; the oldest first."""
        changes, found = self._record_changes, self._missing
        if found[0] != changes:
            query = select(BACKUPS.c.record).where(_MISSING).order_by(BACKUPS.c.id)
            async with self._db.read() as db:
                texts = (await db.scalars(query)).all()
            found = self._missing = (changes, [Backup.model_validate_json(one) for one in texts])
        return found[1]

    async def repository_id(self) -> str | None:
        """The repository that was seen first; None while none was."""
        query = select(FACTS.c.value).where(FACTS.c.name == _REPOSITORY)
        async with self._db.read() as db:
            found: str | None = await db.scalar(query)
        return found

    async def remember_repository(self, repository_id: str) -> None:
        """Write down its id when it is seen for the first time."""
        async with self._db.write() as db:
            await db.execute(
                insert(FACTS).values(name=_REPOSITORY, value=repository_id).on_conflict_do_nothing()
            )

    async def replace_repository(self, repository_id: str) -> None:
        """Write down another id: a person's word."""
        async with self._db.write() as db:
            await db.execute(
                insert(FACTS)
                .values(name=_REPOSITORY, value=repository_id)
                .on_conflict_do_update(index_elements=["name"], set_={"value": repository_id})
            )


async def _write(record: Backup, db: AsyncConnection) -> None:
    await db.execute(
        update(BACKUPS)
        .where(BACKUPS.c.id == record.id)
        .values(status=record.status, record=record.model_dump_json())
    )
