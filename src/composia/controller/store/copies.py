"""Copies off site, what of the repository was read, and what verifications found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert

from composia.controller.store.backups import Backups
from composia.controller.store.schema import FACTS
from composia.controller.store.times import stored
from composia.model.backup import Backup, BackupStatus
from composia.model.offsite import CopyState, ReadPart

_COPY = "copy:"
_READ_PART = "read_part"
_TRIED = "tried:"


class Copies(Backups):
    """What the table of facts and the records say of them."""

    async def copies(self) -> Mapping[str, CopyState]:
        """Every copy that was ever tried, by its name."""
        query = select(FACTS.c.name, FACTS.c.value).where(FACTS.c.name.startswith(_COPY))
        async with self._db.read() as db:
            return {
                name.removeprefix(_COPY): CopyState.model_validate_json(value)
                for name, value in (await db.execute(query)).all()
            }

    async def keep_copy(self, name: str, state: CopyState) -> None:
        """Write down what is known of a copy."""
        await self._keep(f"{_COPY}{name}", state.model_dump_json())

    async def note_copied(
        self, name: str, there: Collection[str], originals: Mapping[str, str]
    ) -> Sequence[Backup]:
        """The copy has these snapshots, by their ids in the repository; what records changed.

        `originals`: of those that are copies there, what of, by their id.
        """
        # Of a repository that is gone since there may be records too.
        has = {*there, *originals.values()}

        def noted(record: Backup) -> Backup:
            others = [one for one in record.copies if one != name]
            copies = sorted({*others, *([name] if record.snapshot_id in has else [])})
            original = originals.get(record.snapshot_id or "", record.original)
            return record.model_copy(update={"copies": tuple(copies), "original": original})

        return await self._change_records(noted)

    async def note_verification(
        self,
        backup: str,
        text: str,
        *,
        at: datetime | None,
        proven: bool | None,
        whole: bool = True,
    ) -> Sequence[Backup]:
        """What a verification found; with `proven` None what was known before stays.

        `whole`: whether it can tell that all was saved, and not only that this comes back.
        """

        def noted(record: Backup) -> Backup:
            if proven is None:
                # It could not be tried: an earlier proof is worth more than that.
                told = record.verification if record.verified_at or record.damaged else text
                return record.model_copy(update={"verification": told})
            changes: dict[str, object] = {"verification": text, "damaged": not proven}
            changes["verified_at"] = at if proven else None
            if proven and whole and record.status is BackupStatus.UNPROVEN:
                changes["status"] = BackupStatus.SUCCESS
            return record.model_copy(update=changes)

        if at is not None and (record := await self.backup(backup)):
            await self._keep(f"{_TRIED}{record.place}", stored(at))
        return await self._change_records(noted, [backup])

    async def tried(self) -> Mapping[str, datetime]:
        """When a proof of each item was last tried, whatever came of it, by `Backup.place`.

        The record that was tried may be forgotten before the next run.
        """
        query = select(FACTS.c.name, FACTS.c.value).where(FACTS.c.name.startswith(_TRIED))
        async with self._db.read() as db:
            return {
                name.removeprefix(_TRIED): datetime.fromisoformat(value)
                for name, value in (await db.execute(query)).all()
            }

    async def read_part(self) -> ReadPart | None:
        """The part of the repository's data that was read last."""
        query = select(FACTS.c.value).where(FACTS.c.name == _READ_PART)
        async with self._db.read() as db:
            found = await db.scalar(query)
        return ReadPart.model_validate_json(found) if found is not None else None

    async def note_read_part(self, part: ReadPart) -> None:
        """This one was read."""
        await self._keep(_READ_PART, part.model_dump_json())

    async def _keep(self, name: str, value: str) -> None:
        async with self._db.write() as db:
            await db.execute(
                insert(FACTS)
                .values(name=name, value=value)
                .on_conflict_do_update(index_elements=["name"], set_={"value": value})
            )
