"""Records for snapshots that have none: saved by hand, or by a controller whose store is lost."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.ids import DIGITS, STAMP, TASK_ID, stamp
from composia.model.names import NAME_PATTERN
from composia.strategies import dump
from composia.strategies.files_copy import FilesCopy
from composia.strategies.pgdumpall import PgDumpAll
from composia.tools.digests import DIGEST_PATTERN
from composia.tools.rustic import SnapshotInfo
from composia.tools.wording import names
from composia.workflows.backup import KIND, LIVE, RECORD, TAKEN_LIVE, backup_id
from composia.workflows.comparing import Compared, compare
from composia.workflows.known import Known
from composia.workflows.plan import Hold, Run, numbered
from composia.workflows.repository import RepositoryPlan, holders

#: Records that one step keeps.
CHUNK = 500
#: How many strangers a result describes.
DESCRIBED = 100
BACKUP = re.compile(rf"[{DIGITS}]{{{STAMP}}}[0-9A-V]{{16}}")
REMARK = "found in the repository without a record: unproven, for it may not be whole"


class AdoptRequest(BaseModel):
    """Which repository; by default the one that is known, or the one that is there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository_id: str | None = Field(
        default=None,
        pattern=DIGEST_PATTERN,
        description="Its id, where it is to take the place of another one that is known.",
    )


class SavedAs(BaseModel):
    """What the catalog says of an item that a snapshot does not."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strategy: str
    exclude: tuple[str, ...] = ()


class AdoptPlan(RepositoryPlan):
    """Every snapshot of ours that has no record gets one."""

    plan: Literal["adopt"] = "adopt"
    #: By `service/item`.
    items: Mapping[str, SavedAs]
    #: The id that was known, where another one is to take its place.
    instead_of: str | None = None

    @property
    def holds(self) -> tuple[Hold, ...]:
        return (Hold(name="repository"),)

    def __str__(self) -> str:
        if self.instead_of and self.repository.repository_id:
            known, new = self.instead_of[:12], self.repository.repository_id[:12]
            return f"Adopt repository {new} on {names(self.on)} instead of {known}"
        return f"Adopt what the repository on {names(self.on)} holds without a record"

    async def carry_out(self, run: Run) -> dict[str, Any]:
        """The steps of docs/design.md, "Adopt", under the same numbers."""
        compared = await compare(run, self.repository, self.on[0], describe=True)
        found = compared.listed.repository_id
        action = "replace_repository" if self.instead_of else "remember_repository"
        await run.control(action, action, repository_id=found)
        records, strangers = _sorted_out(compared, self.items)
        for number, start in enumerate(range(0, len(records), CHUNK), 1):
            part = [one.model_dump(mode="json") for one in records[start : start + CHUNK]]
            step = numbered("record_backups", number)
            await run.control(step, "record_backups", backups=part)
        for stranger in strangers:
            run.log(f"Not ours: {_described(stranger)}")
        return {
            "repository_id": found,
            "adopted": len(records),
            "not_ours": len(strangers),
            "strangers": [_described(one) for one in strangers[:DESCRIBED]],
            "missing": list(compared.missing),
        }


def plan_adopt(known: Known, request: AdoptRequest) -> AdoptPlan:
    """Raises Conflict where no service or node holds a repository. None is ever made."""
    repository, wanted = known.repository(), request.repository_id
    before = repository.repository_id
    return AdoptPlan(
        repository=repository.model_copy(update={"repository_id": wanted or before}),
        on=holders(known)[:1],
        items=_items(known),
        instead_of=before if wanted and before and wanted != before else None,
    )


def _items(known: Known) -> dict[str, SavedAs]:
    return {
        f"{service.name}/{item.name}": SavedAs(
            strategy=item.backup.strategy, exclude=getattr(item.backup, "exclude", ())
        )
        for service in known.catalog.services.values()
        for item in service.meta.data_protect.data
        if item.backup
    }


def _sorted_out(
    compared: Compared, items: Mapping[str, SavedAs]
) -> tuple[list[Backup], list[SnapshotInfo]]:
    """Records for what is ours, and what is not."""
    taken, records, strangers = set(compared.known), list[Backup](), list[SnapshotInfo]()
    for snapshot in compared.listed.described:
        if record := adopted(snapshot, items, taken):
            taken.add(record.id)
            records.append(record)
        else:
            strangers.append(snapshot)
    return records, strangers


def adopted(
    snapshot: SnapshotInfo, items: Mapping[str, SavedAs], taken: Iterable[str]
) -> Backup | None:
    """What the snapshot says of itself as a record; None where it does not say whose it is."""
    tags = dict(tag.partition("=")[::2] for tag in snapshot.tags)
    service, item, node = tags.get("service", ""), tags.get("item", ""), snapshot.host
    if not all(_is_name(one) for one in (service, item, node)):
        return None
    task = tags.get("task") if re.fullmatch(TASK_ID, tags.get("task", "")) else None
    known = items.get(f"{service}/{item}")
    live = LIVE in snapshot.tags
    return Backup(
        id=_id(snapshot, tags.get(RECORD, ""), task, item, node, taken),
        service=service,
        data_item=item,
        node=node,
        snapshot_id=snapshot.id,
        # Whatever a verification finds: all of it comes back, and it was never whole.
        status=BackupStatus.PARTIAL if live else BackupStatus.UNPROVEN,
        error=TAKEN_LIVE if live else None,
        kind=_kind(tags.get(KIND)),
        size=snapshot.size or 0,
        added=snapshot.added or 0,
        files=snapshot.files or 0,
        # rustic writes the time of its container's own zone.
        time=datetime.fromisoformat(snapshot.time).astimezone(UTC),
        duration=snapshot.duration or 0.0,
        task_id=task,
        strategy=_strategy(snapshot, None if live else known),
        warnings=(REMARK,),
        exclude=known.exclude if known else (),
    )


def _kind(tag: str | None) -> BackupKind:
    return BackupKind(tag) if tag in set(BackupKind) else BackupKind.MANUAL


def _id(
    snapshot: SnapshotInfo,
    record: str,
    task: str | None,
    item: str,
    node: str,
    taken: Iterable[str],
) -> str:
    """The id that its record had: what was kept beside it is found again under that."""
    had = record if BACKUP.fullmatch(record) else backup_id(task, item, node) if task else ""
    if had and had not in taken:
        return had
    return backup_id(_stamp(snapshot), item, snapshot.id)


def _stamp(snapshot: SnapshotInfo) -> str:
    """The beginning of an id that sorts by the snapshot's time, as those of tasks do."""
    return stamp(int(datetime.fromisoformat(snapshot.time).timestamp() * 1000))


def _strategy(snapshot: SnapshotInfo, known: SavedAs | None) -> str:
    """A dump is seen by its name; for files it is the catalog's, where that saves files now."""
    if any(path.strip("/") == dump.NAME for path in snapshot.paths):
        return str(PgDumpAll.model_fields["strategy"].default)
    files = str(FilesCopy.model_fields["strategy"].default)
    return known.strategy if known and known.strategy not in dump.SAVED_BY else files


def _is_name(text: str) -> bool:
    return re.fullmatch(NAME_PATTERN, text) is not None


def _described(snapshot: SnapshotInfo) -> str:
    of = snapshot.label or ", ".join(snapshot.paths)
    return f"{snapshot.id[:12]} of {of} on {snapshot.host}, {snapshot.time[:19]}"
