"""What workflows ask of the controller, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from composia.errors import Failure
from composia.model.backup import Backup
from composia.model.dns import DnsTarget, DnsUpdated
from composia.model.offsite import ReadPart
from composia.model.retention import states_of


class MemoryControl:
    """Keeps what it is told; its clock stands still."""

    def __init__(self) -> None:
        self.backups: dict[str, Backup] = {}
        self.repository_id: str | None = None
        self.records: list[DnsTarget] = []
        self.written_back: dict[str, tuple[str, ...]] = {}
        self.moves: dict[str, tuple[str, dict[str, Any]]] = {}
        self.copies: dict[str, dict[str, Any]] = {}
        self.verified: dict[str, tuple[str, bool | None]] = {}
        self.read_part: ReadPart | None = None
        self.stamps = 0
        self.time = "2026-01-02T03:04:05.000000Z"

    async def record_backups(
        self, backups: Sequence[Any], task: str | None = None, saved_in: str | None = None
    ) -> dict[str, str]:
        """See `Control`."""
        for backup in backups:
            record = Backup.model_validate(backup)
            self.backups[record.id] = record
        return {}

    async def forget_backups(self, backup_ids: Sequence[str]) -> None:
        """See `Control`."""
        for backup_id in backup_ids:
            self.backups.pop(backup_id, None)

    async def known_snapshots(self) -> dict[str, str]:
        """See `Control`."""
        return {one.id: one.snapshot_id for one in self.backups.values() if one.snapshot_id}

    async def saved_by(self, task: str) -> list[str]:
        """See `Control`."""
        of = (one.snapshot_id for one in self.backups.values() if one.task_id == task)
        return sorted(filter(None, of))

    async def new_stamp(self) -> str:
        """See `Control`."""
        self.stamps += 1
        return f"{self.stamps:010}"

    async def backup_states(self) -> dict[str, str]:
        """See `Control`."""
        return states_of(self.backups.values())

    async def note_missing(self, looked_for: Sequence[str], missing: Sequence[str]) -> None:
        """See `Control`."""
        for backup_id in set(looked_for) & self.backups.keys():
            known, gone = self.backups[backup_id], backup_id in missing
            update = {"missing": gone, "going": known.going and gone}
            self.backups[backup_id] = known.model_copy(update=update)

    async def begin_forgetting(self, backup_ids: Sequence[str]) -> None:
        """See `Control`."""
        for backup_id in backup_ids:
            known = self.backups[backup_id]
            self.backups[backup_id] = known.model_copy(update={"going": True})

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
        """See `Control`."""
        self.copies[name] = {"repository_id": repository_id, "there": there, "problem": problem}

    async def note_verification(
        self, backup_id: str, text: str, proven: bool | None, whole: bool = True
    ) -> None:
        """See `Control`."""
        self.verified[backup_id] = (text, proven)

    async def note_read_part(self, number: int, of: int, damaged: bool) -> bool:
        """See `Control`."""
        last, self.read_part = self.read_part, ReadPart(number=number, of=of)
        self.read_part = self.read_part.read(last, damaged=damaged)
        return self.read_part.ends_whole

    async def note_damage(self) -> None:
        """See `Control`."""
        if self.read_part:
            self.read_part = self.read_part.model_copy(update={"whole": False})

    async def replace_repository(self, repository_id: str) -> None:
        """See `Control`."""
        self.repository_id = repository_id

    async def remember_repository(self, repository_id: str) -> None:
        """See `Control`."""
        self.repository_id = self.repository_id or repository_id
        if self.repository_id != repository_id:
            raise Failure(f"this is repository {repository_id}, and we know another")

    async def update_dns(self, records: Sequence[Any], ours: Sequence[str]) -> DnsUpdated:
        """See `Control`."""
        self.records = [DnsTarget.model_validate(record) for record in records]
        return DnsUpdated()

    async def write_back(
        self, service: str, folder: str, nodes: Sequence[str], was: Sequence[str]
    ) -> dict[str, str]:
        """See `Control`."""
        self.written_back[service] = tuple(nodes)
        return {"revision": "b" * 40}

    async def begin_move(self, task: str, service: str, source: str, target: str) -> dict[str, Any]:
        """See `Control`."""
        answered = self.moves.get(task, ("", {}))[0] == "answered"
        return {"answered": answered, "facts": self.moves.get(task, ("", {}))[1]}

    async def give_up(self, task: str) -> None:
        """See `Control`."""
        await self.note_move(task, "given_up", {})

    async def answer_move(
        self, task: str, held_seconds: float, start_seconds: float, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """See `Control`."""
        found = {**facts, "downtime_seconds": held_seconds + start_seconds}
        self.moves[task] = ("answered", found)
        return found

    async def note_move(self, task: str, stage: str, facts: Mapping[str, Any]) -> None:
        """See `Control`."""
        self.moves[task] = (stage, {**self.moves.get(task, ("", {}))[1], **facts})

    async def now(self) -> str:
        """See `Control`."""
        return self.time
