"""What a restore is about to replace piece by piece, saved before it does: promise 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from composia.errors import ComposiaError
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.catalog import Service
from composia.operations.repository import RepositoryOpened
from composia.operations.restore import ItemToRestore, Moved
from composia.strategies.files_copy import FilesCopy
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.strategies.pgimport import PgImport
from composia.workflows.backup import BackupPlan, NamedItem, Recorded
from composia.workflows.known import Known
from composia.workflows.plan import PartlyDone, Run

STEP = "save_before"
#: The strategies that save files of a stopped service.
COLD = get_args(FilesTarAfterStop.model_fields["strategy"].annotation)
HINT = (
    "Nothing was replaced. `--without-safety-copy`, or its box in the pages, restores without"
    " saving first what is there now."
)


def plan_safety_copy(
    known: Known, service: Service, node: str, items: Sequence[ItemToRestore]
) -> BackupPlan:
    """How each item is saved as always; what is replaced of it is known when it was fetched."""
    found = [service.meta.item(item.wanted.item) for item in items]
    return BackupPlan(
        service=service.ref,
        repository=known.repository(),
        on=(node,),
        items=tuple(
            NamedItem(name=one.name, strategy=one.backup) for one in found if one and one.backup
        ),
        kind=BackupKind.BEFORE_RESTORE,
    )


async def save_before(
    run: Run,
    plan: BackupPlan,
    items: Sequence[ItemToRestore],
    moved: Sequence[Moved],
    opened: Mapping[str, RepositoryOpened | ComposiaError],
) -> list[str]:
    """Save what is replaced by moves; answers what a person should know of that.

    As files, for what is broken cannot be saved in any other way: only a database is asked for a
    dump first. Raises PartlyDone where something that is there was not saved.
    """
    by_name = {item.wanted.item: item for item in items}
    dumps = {one.name: one for one in plan.items if _is_imported(by_name[one.name])}
    files = {one.item: _as_files(one, by_name[one.item]) for one in moved if one.include}
    ways = {one.item: dumps.get(one.item) or files.get(one.item) for one in moved}
    remarks = [
        f"{item}: what is replaced of it was not saved before, for nothing can save it"
        for item, way in ways.items()
        if way is None
    ]
    again: list[NamedItem] = []
    if first := [way for way in ways.values() if way]:
        kept = await _saving(plan, first).keep(run, STEP, opened)
        lost = {one.data_item for one in kept.records if _is_lost(one)} & dumps.keys()
        again = [way for item, way in files.items() if item in lost]
        remarks += _settled(kept.without([one.name for one in again]))
    if again:
        remarks += _settled(await _saving(plan, again).keep(run, STEP, opened, number=2))
    return remarks


def _is_imported(item: ItemToRestore) -> bool:
    return isinstance(item.strategy, PgImport)


def _saving(plan: BackupPlan, items: Sequence[NamedItem]) -> BackupPlan:
    return plan.model_copy(update={"items": tuple(items)})


def _as_files(moved: Moved, item: ItemToRestore) -> NamedItem:
    """Where its files are no use while somebody writes them, of the stopped service."""
    include, exclude = moved.include, item.wanted.exclude
    if _is_imported(item):
        # What was saved was a dump: nothing is left out of that.
        return NamedItem(name=moved.item, strategy=_cold(include, ()))
    if item.wanted.saved_by in COLD:
        return NamedItem(name=moved.item, strategy=_cold(include, exclude))
    return NamedItem(name=moved.item, strategy=FilesCopy(include=include, exclude=exclude))


def _cold(include: tuple[str, ...], exclude: tuple[str, ...]) -> FilesTarAfterStop:
    return FilesTarAfterStop(strategy="files.tar_after_stop", include=include, exclude=exclude)


def _settled(kept: Recorded) -> list[str]:
    try:
        kept.settle()
    except PartlyDone as error:
        if any(_is_lost(one) for one in kept.records):
            hint = f"{error.hint} {HINT}" if error.hint else HINT
            raise PartlyDone(error.message, result=error.result, hint=hint) from error
        return [
            f"what was there was saved before, but: {error.message}",
            *filter(None, [error.hint]),
        ]
    return []


def _is_lost(record: Backup) -> bool:
    return record.status is BackupStatus.FAILED
