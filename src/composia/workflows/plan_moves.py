"""Planning a move: from what two nodes look like, from backups, or from a move that is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from composia.errors import Conflict
from composia.model.backup import Backup, BackupKind
from composia.model.catalog import Service
from composia.model.meta import DataItem
from composia.model.service import CaddyRef, ServiceRef
from composia.operations.arriving import DumpToLoad
from composia.operations.leaving import DumpToTake
from composia.operations.surveying import Size, SourceSeen, TargetSeen
from composia.strategies.files_copy import FilesCopy
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport
from composia.workflows.backup import BackupPlan, BackupRequest, NamedItem, plan_backup
from composia.workflows.check import expected, problems_of
from composia.workflows.dns import dns_targets, object_to_dns
from composia.workflows.known import Known
from composia.workflows.migrate import MigratePlan
from composia.workflows.move import (
    Data,
    Move,
    instance_on_source,
    object_to_a_lost_site,
    object_to_dumps,
    object_to_what_has_left,
    object_to_what_is_not_known,
    without_its_site,
)
from composia.workflows.objections import Objections
from composia.workflows.rescue import NOT_GONE, RescuePlan, not_gone
from composia.workflows.restore import RestoreRequest, plan_restore
from composia.workflows.staying import Places, places


def plan_migrate(
    known: Known,
    move: Move,
    wrong: Objections,
    seen: tuple[SourceSeen, TargetSeen] | None,
    backups: Sequence[Backup] = (),
) -> MigratePlan:
    """The second half, after `begin`.

    `seen`: None where a node could not be asked, which is objected to already. Raises
    ComposiaError, with everything that stands in the way.
    """
    service, source, target = move.service, move.source, move.target
    object_to_what_is_not_known(known, move, wrong)
    object_to_what_has_left(known, move, wrong)
    _places(known, move).object_to_what_is_open(wrong)
    object_to_dumps(move, wrong)
    after = move.nodes_after
    object_to_dns(known, service, after, wrong)
    if source in known.nodes and target in known.nodes:
        known.object_to_foreign_projects(service.ref, [source, target], wrong)
    if seen:
        for problem, hint in problems_of(service.ref, source, target, *seen):
            wrong.conflict((), problem, hint)
    caddy = _caddy(known, service, wrong) if source in known.nodes else {}
    object_to_a_lost_site(known, move, caddy, wrong)
    wrong.settle()
    return _plan(known, move, after, seen, caddy, backups)


def plan_rescue(
    known: Known,
    move: Move,
    wrong: Objections,
    backups: Sequence[Backup],
    way: Sequence[str] = (),
    *,
    online: bool,
) -> RescuePlan:
    """From the last backups, of a source that a person has given up. Raises ComposiaError.

    `way`: the nodes from which the service came to the source, the latest first.
    """
    service, target = move.service, move.target
    if online:
        wrong.conflict(("source_is_gone",), not_gone(move.source), NOT_GONE)
    object_to_what_has_left(known, move, wrong)
    _places(known, move).object_to_what_is_open(wrong)
    after = move.nodes_after
    object_to_dns(known, service, after, wrong)
    caddy = _caddy(known, service, wrong)
    wrong.settle()
    lost = _of_the_lost(move, backups, way)
    # What an open move has left on its source is younger than any backup that was taken there.
    kept = {one.data_item for one in lost} if move.open and move.open.source == target else None
    items = tuple(one.name for one in move.items if kept is None or one.name in kept)
    asked = RestoreRequest(node=target, data_items=items) if items else None
    # Whatever has left there comes back: an open move is what this one settles.
    settled = replace(known, moves={})
    restore = plan_restore(settled, service.name, asked, lost) if asked else None
    return RescuePlan(
        service=service.ref,
        gone=move.source,
        target=target,
        nodes_before=service.meta.nodes,
        nodes_after=after,
        restore=restore,
        caddy_on_target=caddy.get(target),
        caddy_on_gone=caddy.get(move.source),
        records=dns_targets(known, service, after),
        our_addresses=known.dns.addresses,
        of_task=move.open.task if move.open else None,
        remarks=(without_its_site(move),) if caddy and target not in caddy else (),
    )


def _of_the_lost(move: Move, backups: Sequence[Backup], way: Sequence[str]) -> list[Backup]:
    """Of each item the backups of the lost node, else those of the node that it came from."""
    before = () if move.open and move.open.source == move.target else way
    found: list[Backup] = []
    for item in move.items:
        for node in (move.source, *before):
            saved = [one for one in backups if (one.data_item, one.node) == (item.name, node)]
            if any(one.is_good for one in saved):
                found += saved
                break
    return found


def plan_move_back(
    known: Known,
    of: MigratePlan,
    of_task: str,
    data: Data,
    seen: tuple[SourceSeen, TargetSeen],
) -> MigratePlan:
    """The same the other way round. Raises ComposiaError, with all that stands in the way."""
    wrong = Objections()
    found = known.service(of.service.name)
    for problem, hint in problems_of(of.service, of.target, of.source, *seen):
        wrong.conflict((), problem, hint)
    after = tuple(of.source if node == of.target else node for node in found.meta.nodes)
    object_to_dns(known, found, after, wrong)
    wrong.settle()
    carries = data == "carry"
    items = tuple(one.item for one in of.cargo) if carries else ()
    return MigratePlan(
        service=of.service,
        source=of.target,
        target=of.source,
        nodes_before=found.meta.nodes,
        nodes_after=after,
        cargo=of.cargo if carries else (),
        dumps_out=of.dumps_out if carries else (),
        dumps_in=of.dumps_in if carries else (),
        backup=_safety_copy(known, found.name, of.target, items),
        caddy_on_source=of.caddy_on_target,
        caddy_on_target=of.caddy_on_source,
        target_address=known.dns.address_of(of.source),
        records=dns_targets(known, found, after),
        our_addresses=known.dns.addresses,
        moves=of.moves if carries else (),
        stays=of.stays if carries else (*of.moves, *of.stays),
        sizes=of.sizes if carries else {},
        downtime=of.downtime,
        of_task=of_task,
    )


def _plan(
    known: Known,
    move: Move,
    after: tuple[str, ...],
    seen: tuple[SourceSeen, TargetSeen] | None,
    caddy: Mapping[str, CaddyRef],
    backups: Sequence[Backup],
) -> MigratePlan:
    service, source = move.service, move.source
    ref = _as_it_runs(known, move)
    items = tuple(item.name for item in move.items)
    dumps = {one.item: _last_size(one.item, backups) for one in move.cargo if one.dump}
    sizes = seen[0].sizes if seen else {}
    return MigratePlan(
        service=ref,
        source=source,
        target=move.target,
        nodes_before=service.meta.nodes,
        nodes_after=after,
        cargo=move.cargo,
        dumps_out=_dumps_out(move.items),
        dumps_in=_dumps_in(move.items),
        backup=_safety_copy(known, service.name, source, items),
        caddy_on_source=caddy.get(source),
        caddy_on_target=caddy.get(move.target),
        target_address=known.dns.address_of(move.target),
        records=dns_targets(known, service, after),
        our_addresses=known.dns.addresses,
        moves=_places(known, move).moving,
        stays=_places(known, move).staying,
        sizes={name: size for name, size in _bytes(sizes, dumps).items() if size is not None},
        downtime=expected({name: sizes[name] for name in sizes if name not in dumps}, dumps),
    )


def _bytes(sizes: Mapping[str, Size], dumps: Mapping[str, int | None]) -> Mapping[str, int | None]:
    return {**{name: size.size for name, size in sizes.items()}, **dumps}


def _safety_copy(
    known: Known, service: str, node: str, items: tuple[str, ...]
) -> BackupPlan | None:
    """None where nothing moves. Nothing stops for it: not for as long as rustic takes."""
    if not items:
        return None
    request = BackupRequest(nodes=(node,), data_items=items)
    found = plan_backup(known, service, request, BackupKind.MIGRATION)
    return found.model_copy(update={"items": tuple(map(_while_it_runs, found.items))})


def _while_it_runs(item: NamedItem) -> NamedItem:
    match item.strategy:
        case FilesTarAfterStop(include=include, exclude=exclude):
            live = FilesCopy(include=include, exclude=exclude)
            return NamedItem(name=item.name, strategy=live, taken_live=True)
    return item


def _dumps_out(items: Sequence[DataItem]) -> tuple[DumpToTake, ...]:
    return tuple(
        DumpToTake(item=item.name, strategy=item.backup)
        for item in items
        if isinstance(item.backup, PgDumpAll)
    )


def _dumps_in(items: Sequence[DataItem]) -> tuple[DumpToLoad, ...]:
    return tuple(
        DumpToLoad(item=item.name, strategy=item.restore)
        for item in items
        if isinstance(item.restore, PgImport)
    )


def _last_size(item: str, backups: Sequence[Backup]) -> int | None:
    return next((one.size for one in backups if one.data_item == item and one.size), None)


def _as_it_runs(known: Known, move: Move) -> ServiceRef:
    """At the revision that runs on the source: a move changes the place and nothing else."""
    instance, ref = instance_on_source(known, move), move.service.ref
    if instance is None or not instance.revision:
        return ref
    return ref.model_copy(update={"revision": instance.revision})


def _places(known: Known, move: Move) -> Places:
    return places(known, move.service, move.source, move.items, move.request.leave_behind)


def _caddy(known: Known, service: Service, wrong: Objections) -> Mapping[str, CaddyRef]:
    fragment = service.meta.network.caddy
    if fragment is None or not fragment.enabled:
        return {}
    try:
        found = known.caddy(service)
    except Conflict as error:
        wrong.conflict(("network", "caddy"), error.message, error.hint)
        return {}
    return {node: ref.model_copy(update={"source": fragment.source}) for node, ref in found.items()}
