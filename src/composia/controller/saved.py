"""What of a node's word on its backups is believed: it may lie, or its clock be wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from composia.model.backup import Backup
from composia.model.task import Step


def believed(records: Sequence[Backup], asked: Mapping[str, Step], now: datetime) -> list[Backup]:
    """The records with times that can be: while their step was asked, by this clock.

    Retention counts by them. One that was adopted has its snapshot's time, and no step.
    """
    return [
        record.model_copy(update={"time": _within(record.time, asked.get(record.node), now)})
        for record in records
    ]


def _within(time: datetime, step: Step | None, now: datetime) -> datetime:
    began = step.started_at if step and step.started_at else None
    ended = step.finished_at if step and step.finished_at else now
    if began is None:
        return min(time, now)
    # A clock that was set back meanwhile has the end before the beginning.
    return max(began, min(time, ended))


def refusals(records: Sequence[Backup], taken: Mapping[str, str]) -> dict[str, str]:
    """Why, by id, for those that name the snapshot of another one: it would go with them.

    `taken`: the record of each snapshot that has one.
    """
    owners = dict(taken)
    found = {}
    for record in records:
        if record.snapshot_id is None:
            continue
        owner = owners.setdefault(record.snapshot_id, record.id)
        if owner != record.id:
            found[record.id] = (
                f"node {record.node} named snapshot {record.snapshot_id[:12]}, which is that of "
                f"backup {owner}"
            )
    return found
