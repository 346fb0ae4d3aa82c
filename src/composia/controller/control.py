"""What workflows ask of the controller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from composia.controller.dns.names import Names
from composia.controller.events import Event, Events
from composia.controller.manifests import drop_manifests
from composia.controller.saved import believed, refusals
from composia.controller.store.moves import ANSWERED, BEGUN
from composia.controller.store.store import Store
from composia.controller.store.times import Ids, now
from composia.errors import Conflict, Failure
from composia.model.backup import Backup
from composia.model.dns import DnsTarget, DnsUpdated
from composia.model.ids import STAMP
from composia.model.offsite import CopyState, ReadPart
from composia.model.retention import states_of
from composia.model.task import Step
from composia.workflows.rescue import NOT_GONE, not_gone


class Writable(Protocol):
    """A catalog that takes commits."""

    async def write_back(
        self, service: str, folder: str, nodes: Sequence[str], was: Sequence[str]
    ) -> str:
        """See `Catalog.write_back`."""
        ...


class StoreControl:
    """Control, on the store, the catalog and whoever serves DNS zones.

    Every method may be called twice with one meaning.
    """

    def __init__(
        self,
        store: Store,
        events: Events,
        names: Callable[[], Names],
        catalog: Writable,
        state_dir: Path,
        online: Callable[[str], bool],
        ids: Ids,
    ) -> None:
        self._store = store
        self._ids = ids
        self._state_dir = state_dir
        self._events = events
        self._names = names
        self._catalog = catalog
        self._online = online

    async def record_backups(
        self, backups: Sequence[Any], task: str | None = None, saved_in: str | None = None
    ) -> dict[str, str]:
        """See `Control.record_backups`."""
        said = [Backup.model_validate(backup) for backup in backups]
        records = believed(said, await self._asked(task, saved_in), datetime.now(UTC))
        taken = await self._store.records_of([one.snapshot_id for one in records])
        refused = refusals(records, taken)
        records = [one.refused(refused[one.id]) if one.id in refused else one for one in records]
        await self._store.keep_backups(records)
        self._tell(records)
        return refused

    async def _asked(self, task: str | None, step: str | None) -> Mapping[str, Step]:
        """The step in which they were saved, by its node."""
        found = await self._store.task(task) if task else None
        steps = found.steps if found else ()
        return {one.node: one for one in steps if one.name == step and one.node}

    async def forget_backups(self, backup_ids: Sequence[str]) -> None:
        """Drop the records and their manifests; those that are not there are none the less."""
        await self._store.forget_backups(backup_ids)
        await asyncio.to_thread(drop_manifests, self._state_dir, backup_ids)

    async def known_snapshots(self) -> dict[str, str]:
        """The snapshot of every record that has one, by the record's id."""
        records = await self._store.backups()
        return {record.id: record.snapshot_id for record in records if record.snapshot_id}

    async def saved_by(self, task: str) -> list[str]:
        """The snapshots of the records of a task, of all its attempts."""
        records = [one for one in await self._store.backups() if one.task_id == task]
        return sorted(record.snapshot_id for record in records if record.snapshot_id)

    async def new_stamp(self) -> str:
        """How ids begin that come after all there are."""
        return self._ids.next()[:STAMP]

    async def backup_states(self) -> dict[str, str]:
        """A digest of what retention depends on; see `Control.backup_states`."""
        return states_of(await self._store.backups())

    async def note_missing(self, looked_for: Sequence[str], missing: Sequence[str]) -> None:
        """Of the records that were looked for: these have no snapshot any more, the others do."""
        self._tell(await self._store.note_missing(looked_for, missing))

    async def begin_forgetting(self, backup_ids: Sequence[str]) -> None:
        """The snapshots of these are about to be taken out."""
        self._tell(await self._store.begin_forgetting(backup_ids))

    async def remember_repository(self, repository_id: str) -> None:
        """Write down the repository's id when it is seen for the first time. Raises Failure."""
        await self._store.remember_repository(repository_id)
        known = await self._store.repository_id()
        if known != repository_id:
            raise Failure(
                f"this is repository {repository_id[:12]}, and we know {str(known)[:12]}",
                hint="Is the right disk mounted, and does the profile name the right place?",
            )

    async def replace_repository(self, repository_id: str) -> None:
        """Write down another id than the one that was known."""
        await self._store.replace_repository(repository_id)

    async def note_copy(
        self,
        name: str,
        repository_id: str | None = None,
        there: Sequence[str] | None = None,
        originals: Mapping[str, str] | None = None,
        problem: str | None = None,
        task: str | None = None,
        copied_in: str | None = None,
    ) -> None:
        """What a copy off site has; see `Control.note_copy`."""
        at = datetime.now(UTC)
        began = [one.started_at for one in (await self._asked(task, copied_in)).values()]
        state = (await self._store.copies()).get(name, CopyState())
        changes: dict[str, Any] = {"tried_at": at, "problem": problem}
        changes |= {"repository_id": repository_id} if repository_id else {}
        if problem is None:
            # What was saved since then may not be in it.
            changes["complete_at"] = min((one for one in began if one), default=at)
        if there is not None:
            changes["snapshots"] = len(there)
            self._tell(await self._store.note_copied(name, there, originals or {}))
        await self._store.keep_copy(name, state.model_copy(update=changes))

    async def note_verification(
        self, backup_id: str, text: str, proven: bool | None, whole: bool = True
    ) -> None:
        """What a verification found; see `Control.note_verification`."""
        at = datetime.now(UTC)
        found = await self._store.note_verification(
            backup_id, text, at=at, proven=proven, whole=whole
        )
        self._tell(found)

    async def note_read_part(self, number: int, of: int, damaged: bool) -> bool:
        """What was read; see `Control.note_read_part`."""
        last = await self._store.read_part()
        part = ReadPart(number=number, of=of).read(last, damaged=damaged)
        await self._store.note_read_part(part)
        return part.ends_whole

    async def note_damage(self) -> None:
        """The round is spoilt; see `Control.note_damage`."""
        if last := await self._store.read_part():
            await self._store.note_read_part(last.model_copy(update={"whole": False}))

    def _tell(self, records: Sequence[Backup]) -> None:
        for record in records:
            data = record.model_dump(mode="json")
            self._events.publish(Event("backup", record.service, data))

    async def update_dns(self, records: Sequence[Any], ours: Sequence[str]) -> DnsUpdated:
        """Bring the records to what they should be; see `Control.update_dns`."""
        targets = [DnsTarget.model_validate(record) for record in records]
        return await self._names().update(targets, ours)

    async def write_back(
        self, service: str, folder: str, nodes: Sequence[str], was: Sequence[str]
    ) -> dict[str, str]:
        """`nodes` in the service's meta file; see `Control.write_back`."""
        return {"revision": await self._catalog.write_back(service, folder, nodes, was)}

    async def begin_move(self, task: str, service: str, source: str, target: str) -> dict[str, Any]:
        """Note that a move begins; see `Control.begin_move`."""
        stage, facts = await self._store.begin_move(task, service, source, target)
        return {"answered": stage == ANSWERED, "half_done": stage == BEGUN, "facts": facts}

    async def give_up_target(self, task: str, node: str) -> None:
        """The target of a move is gone for good; see `Control.give_up_target`."""
        # Noted first: one that comes back after this look is stopped.
        await self._store.note_target_gone(task, gone=True)
        if self._online(node):
            await self._store.note_target_gone(task, gone=False)
            raise Conflict(not_gone(node), hint=f"`composia task retry {task}` stops it there.")

    async def refuse_connected(self, task: str, node: str) -> None:
        """Refuse a rescue from a node that is there; see `Control.refuse_connected`."""
        if self._online(node) and not await self._store.source_stopped(task):
            raise Conflict(not_gone(node), hint=NOT_GONE)

    async def give_up(self, task: str) -> None:
        """A rescue is over; see `Control.give_up`."""
        await self._store.give_up(task)

    async def source_stopped(self, task: str) -> bool:
        """Whether a rescue's source came back; see `Control.source_stopped`."""
        return await self._store.source_stopped(task)

    async def note_source_stopped(self, task: str) -> bool:
        """What still ran on a rescue's source has stopped; see `Control.note_source_stopped`."""
        return await self._store.note_source_stopped(task)

    async def answer_move(
        self, task: str, held_seconds: float, start_seconds: float, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The target has answered; see `Control.answer_move`."""
        # To its end: a target that was waited for, or was asked again, has answered nobody.
        later = await self._store.between_ends(task, "1_export_data", "5_start_on_target")
        between = max(round(later - start_seconds, 3), 0.0)
        parts = {
            "held_seconds": held_seconds,
            "between_seconds": between,
            "start_seconds": start_seconds,
        }
        total = round(held_seconds + between + start_seconds, 3)
        found = {**facts, "downtime_seconds": total, **parts}
        await self._store.note_move(task, ANSWERED, found)
        return found

    async def note_move(self, task: str, stage: str, facts: Mapping[str, Any]) -> None:
        """How far a move has come; see `Control.note_move`."""
        await self._store.note_move(task, stage, facts)

    async def now(self) -> str:
        """The time, RFC 3339 in UTC."""
        return now()
