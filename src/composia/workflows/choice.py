"""Which backups a restore starts from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from composia.model.backup import SAFETY_COPIES, Backup, BackupStatus
from composia.model.catalog import Service
from composia.operations.restore import ItemToRestore
from composia.strategies.base import Wanted
from composia.strategies.files_copy import FilesCopyBack
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport
from composia.tools.paths import overlapping, parse_include
from composia.workflows.objections import Objections, Place

TAKE_UNPROVEN = "`--unproven` takes adopted ones too."
DUMP = PgDumpAll.model_fields["strategy"].default


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request says: items (None: all), records by id, a time (None: the newest)."""

    items: Sequence[str] | None = None
    ids: Sequence[str] = ()
    at: datetime | None = None
    #: Where an item has no good backup: also one that was adopted and never proven.
    unproven: bool = False
    #: The copy off site that they are taken from, instead of the repository.
    source: str | None = None


def backups(
    service: Service, node: str, asked: Asked, known: Sequence[Backup], wrong: Objections
) -> list[Backup]:
    """One backup an item: those named by id, then the newest good ones."""
    named = _by_id(service, asked.ids, known, wrong)
    covered = {backup.data_item for backup in named}
    if asked.items is None and asked.ids:
        return named
    wanted = _all_items(service) if asked.items is None else asked.items
    found = list(named)
    for place, item in enumerate(dict.fromkeys(wanted)):
        newest = newest_asked_for(service.name, item, node, asked, known)
        if item not in covered and newest:
            found.append(newest)
        elif item not in covered and asked.items is not None:
            _object_to_none(service, item, asked.at, known, ("data_items", place), wrong)
    if asked.items is None and not found:
        _object_to_none(service, None, asked.at, known, (), wrong)
    return found


def newest_asked_for(
    service: str, item: str, node: str, asked: Asked, known: Sequence[Backup]
) -> Backup | None:
    """The newest good backup of an item, or where that was asked for an unproven one."""
    newest = newest_good(known, service, item, node, asked.at)
    if newest is None and asked.unproven:
        taken = [
            one for one in known if _is_unproven(one, service) and one.kind not in SAFETY_COPIES
        ]
        newest = newest_good(taken, service, item, node, asked.at, good=_is_there)
    return newest


def newest_good(
    known: Sequence[Backup],
    service: str,
    item: str,
    node: str,
    at: datetime | None = None,
    *,
    good: Callable[[Backup], bool] | None = None,
) -> Backup | None:
    """The newest good backup of an item, not younger than a time; `good`: what counts as such.

    The node's own go before those of other nodes: each node has data of its own.
    """
    found = [
        backup
        for backup in known
        if (backup.service, backup.data_item) == (service, item)
        and (backup.is_good if good is None else good(backup))
        and (at is None or backup.time <= at)
    ]
    own = [backup for backup in found if backup.node == node]
    return max(own or found, key=lambda backup: backup.id, default=None)


def _is_there(backup: Backup) -> bool:
    return backup.snapshot_id is not None and not backup.missing


def remarks(chosen: Sequence[Backup], node: str) -> tuple[str, ...]:
    """What a person should know of the backups that a restore on a node starts from."""
    return tuple(
        f"backup {backup.id} of {backup.data_item} {fault}"
        for backup in chosen
        for fault in _faults(backup, node)
    )


def _faults(backup: Backup, node: str) -> Iterator[str]:
    if backup.node != node:
        yield f"was taken on {backup.node}, not on {node}"
    if _is_unproven(backup, backup.service):
        never = "" if backup.verified_at else ", and it was never verified"
        yield f"is unproven: nobody has recorded that it was saved whole{never}"
    if backup.damaged:
        yield f"was found damaged: {backup.verification}"


def left_out(
    service: Service, chosen: Sequence[Backup], asked: Asked, known: Sequence[Backup]
) -> tuple[str, ...]:
    """Items that can be restored and are not, for want of a good backup; each with the reason."""
    of_item: dict[str, list[Backup]] = {
        item: [] for item in _all_items(service) if item not in {one.data_item for one in chosen}
    }
    for one in known:
        if one.service == service.name and one.data_item in of_item:
            of_item[one.data_item].append(one)
    return tuple(
        f"{item} was left as it is: {_why_left_out(records, asked)}"
        for item, records in of_item.items()
    )


def _why_left_out(records: Sequence[Backup], asked: Asked) -> str:
    there = [one for one in records if asked.at is None or one.time <= asked.at]
    then = f" at {asked.at.isoformat()} or before" if asked.at else ""
    where = f" in {asked.source}" if asked.source else ""
    if not there:
        return f"it has no backup{where}{then}"
    if any(_is_unproven(one, one.service) for one in there):
        return f"it has only unproven backups{where}{then}. {TAKE_UNPROVEN}"
    return f"it has no good backup{where}{then}"


def _is_unproven(backup: Backup, service: str) -> bool:
    there = backup.service == service and _is_there(backup)
    return there and backup.status is BackupStatus.UNPROVEN


def object_to_a_bad_one(
    backup: Backup, loc: Place, wrong: Objections, cannot: str = "it cannot be restored"
) -> None:
    """A backup of which nothing was saved, or whose snapshot is gone, is of no use."""
    if not backup.has_something:
        wrong.conflict(loc, f"backup {backup.id} is {backup.status}: {cannot}", others_of(backup))
    elif backup.missing:
        told = f"the snapshot of backup {backup.id} is not in the repository any more"
        wrong.conflict(loc, told, others_of(backup))


def others_of(backup: Backup) -> str:
    """A hint where a backup is of no use."""
    return f"`composia backups --service {backup.service}` lists the others."


def items_to_restore(
    service: Service, chosen: Sequence[Backup], wrong: Objections
) -> tuple[ItemToRestore, ...]:
    """Each backup with the way its item is brought back."""
    items = []
    for backup in chosen:
        item = service.meta.item(backup.data_item)
        if item is None or item.restore is None:
            wrong.conflict(
                (),
                f"data item {backup.data_item} has no way to be restored",
                "Give it a `restore` in the composia-meta.yaml of the service.",
            )
        elif isinstance(item.restore, PgImport) and backup.strategy != DUMP:
            wrong.conflict(
                (),
                f"backup {backup.id} of {backup.data_item} is no dump: {item.restore.strategy} "
                f"cannot take what {backup.strategy} saved",
                "Name another backup, or give the item `restore: {strategy: files.copy, ...}`.",
            )
        elif backup.snapshot_id:
            items.append(ItemToRestore(wanted=as_wanted(backup), strategy=item.restore))
    _object_to_overlaps(items, wrong)
    return tuple(items)


def as_wanted(backup: Backup) -> Wanted:
    """The backup as a node is told of it."""
    return Wanted(
        item=backup.data_item,
        backup_id=backup.id,
        snapshot_id=backup.snapshot_id or "",
        original=backup.original,
        saved_by=backup.strategy or "",
        exclude=backup.exclude,
    )


def _object_to_overlaps(items: Sequence[ItemToRestore], wrong: Objections) -> None:
    includes = [
        include
        for item in items
        if isinstance(item.strategy, FilesCopyBack)
        for include in item.strategy.include
    ]
    if both := overlapping(parse_include(include) for include in includes):
        wrong.invalid(
            ("data_items",),
            f"{both[0]} and {both[1]} overlap",
            "Restore these data items one after the other.",
        )


def _by_id(
    service: Service, ids: Sequence[str], known: Sequence[Backup], wrong: Objections
) -> list[Backup]:
    records = {backup.id: backup for backup in known}
    found: dict[str, Backup] = {}
    for place, one in enumerate(dict.fromkeys(ids)):
        loc, backup = ("backup_ids", place), records.get(one)
        if backup is None:
            wrong.unknown(loc, "backup", one, ())
        elif backup.service != service.name:
            wrong.conflict(loc, f"backup {one} is of service {backup.service}")
        elif backup.data_item in found:
            wrong.invalid(loc, f"two backups of data item {backup.data_item}: name one")
        else:
            object_to_a_bad_one(backup, loc, wrong)
            found[backup.data_item] = backup
    return list(found.values())


def _all_items(service: Service) -> list[str]:
    return [item.name for item in service.meta.data_protect.data if item.restore]


def _object_to_none(
    service: Service,
    item: str | None,
    at: datetime | None,
    found: Sequence[Backup],
    loc: Place,
    wrong: Objections,
) -> None:
    known = [one.name for one in service.meta.data_protect.data]
    if item is not None and item not in known:
        wrong.unknown_item(loc, service.name, item, known)
        return
    then = f" at {at.isoformat()} or before" if at else ""
    adopted = any(_is_unproven(one, service.name) for one in found)
    wrong.conflict(
        loc,
        f"{service.name} has no good backup{f' of {item}' if item else ''}{then}",
        f"`composia backups --service {service.name}` lists what there is."
        + (f" {TAKE_UNPROVEN}" if adopted else ""),
    )
