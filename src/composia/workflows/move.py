"""Planning a move: from a request and what two nodes look like, or from a move that is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.errors import Conflict
from composia.model.backup import Backup, BackupKind
from composia.model.catalog import Service
from composia.model.meta import DataItem
from composia.model.names import Name
from composia.model.node import Instance
from composia.model.service import CaddyRef, ServiceRef
from composia.model.task import OpenMove
from composia.operations.arriving import DumpToLoad
from composia.operations.cargo import Cargo
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
from composia.workflows.objections import Objections
from composia.workflows.rescue import NOT_GONE, RescuePlan, not_gone
from composia.workflows.restore import RestoreRequest, plan_restore
from composia.workflows.staying import Places, places

Data = Literal["carry", "discard"]


class MigrateRequest(BaseModel):
    """Where from, where to, and with what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_node: Name | None = Field(
        default=None, description="By default the service's node, where it has only one."
    )
    target_node: Name = Field(description="The node to move to.")
    data_items: tuple[Name, ...] | None = Field(
        default=None, description="By default all items under `migrate.data`."
    )
    leave_behind: tuple[str, ...] = Field(
        default=(), description="Volumes and binds whose data is not needed on the target."
    )
    source_is_gone: bool = Field(
        default=False, description="A person has seen that the source will never start again."
    )


@dataclass(frozen=True, slots=True)
class Move:
    """What is to move, as far as it can be told without asking the nodes."""

    service: Service
    source: str
    target: str
    items: tuple[DataItem, ...]
    request: MigrateRequest
    #: The move that was left open, where the service runs on the source because of it.
    open: OpenMove | None = None

    @property
    def nodes_after(self) -> tuple[str, ...]:
        """The nodes of the service once it has moved."""
        nodes = self.service.meta.nodes
        here = self.open.source if self.open and self.source not in nodes else self.source
        return tuple(dict.fromkeys(self.target if node == here else node for node in nodes))

    @property
    def cargo(self) -> tuple[Cargo, ...]:
        """The data of the items."""
        return tuple(cargo for item in self.items if (cargo := cargo_of(item)))


def begin(known: Known, service: str, request: MigrateRequest) -> tuple[Move, Objections]:
    """The first half of a plan: which nodes are to be asked about what.

    Raises ComposiaError where not even that can be told.
    """
    found, wrong = known.service(service), Objections()
    left = _left_open(known, found, request)
    source = left.target if left else _source(known, found, request, wrong)
    goes_back = left is not None and left.source == request.target_node
    if request.target_node not in known.nodes:
        wrong.unknown(("target_node",), "node", request.target_node, known.nodes)
    elif source == request.target_node:
        wrong.invalid(("target_node",), f"{service} is on {source} already: source = target")
    elif request.target_node in found.meta.nodes and not goes_back:
        wrong.conflict(("target_node",), f"{service} is meant for {request.target_node} already")
    known.object_to_a_disabled(found, wrong)
    items = _items(found, request, wrong)
    return Move(found, source or "", request.target_node, items, request, left), wrong


def _left_open(known: Known, service: Service, request: MigrateRequest) -> OpenMove | None:
    """The open move on whose target the service was when that burnt."""
    left = known.moves.get(service.name) if request.source_is_gone else None
    return left if left and request.source_node in (None, left.target) else None


def _source(
    known: Known, service: Service, request: MigrateRequest, wrong: Objections
) -> str | None:
    nodes = service.meta.nodes
    source = request.source_node or (nodes[0] if len(nodes) == 1 else None)
    if source is None:
        wrong.invalid(("source_node",), f"{service.name} has {len(nodes)} nodes: name the source")
    elif source not in known.nodes:
        wrong.unknown(("source_node",), "node", source, known.nodes)
    elif source not in nodes:
        wrong.conflict(("source_node",), f"{service.name} is not meant for node {source}")
    return source


def _items(service: Service, request: MigrateRequest, wrong: Objections) -> tuple[DataItem, ...]:
    meta = service.meta
    wanted = request.data_items
    chosen = [one.name for one in meta.migrate.data] if wanted is None else list(wanted)
    items = []
    for place, name in enumerate(dict.fromkeys(chosen)):
        item = meta.item(name)
        loc = ("data_items", place)
        if item is None:
            known = [one.name for one in meta.data_protect.data]
            wrong.unknown_item(loc, service.name, name, known)
        elif item.backup is None or item.restore is None:
            missing = "backup" if item.backup is None else "restore"
            wrong.invalid(
                loc,
                f"data item {name} has no `{missing}`: it could not be moved",
                "An item that moves needs both in its composia-meta.yaml.",
            )
        else:
            items.append(item)
    return tuple(items)


def cargo_of(item: DataItem) -> Cargo | None:
    """What of an item goes along."""
    match item.backup:
        case FilesCopy():
            return Cargo(item=item.name, include=item.backup.include, exclude=item.backup.exclude)
        case PgDumpAll():
            return Cargo(item=item.name, dump=True)
    return None


def plan_migrate(
    known: Known,
    move: Move,
    wrong: Objections,
    seen: tuple[SourceSeen, TargetSeen] | None,
    backups: Sequence[Backup] = (),
) -> MigratePlan:
    """The second half. `seen`: None where a node could not be asked, which is objected to already.

    Raises ComposiaError, with everything that stands in the way.
    """
    service, source, target = move.service, move.source, move.target
    _object_to_what_is_not_known(known, move, wrong)
    _object_to_what_has_left(known, move, wrong)
    _places(known, move).object_to_what_is_open(wrong)
    _object_to_dumps(move, wrong)
    after = move.nodes_after
    object_to_dns(known, service, after, wrong)
    if source in known.nodes and target in known.nodes:
        known.object_to_foreign_projects(service.ref, [source, target], wrong)
    if seen:
        for problem, hint in problems_of(service.ref, source, target, *seen):
            wrong.conflict((), problem, hint)
    caddy = _caddy(known, service, wrong) if source in known.nodes else {}
    _object_to_a_lost_site(known, move, caddy, wrong)
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
    _object_to_what_has_left(known, move, wrong)
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
    return RescuePlan(
        service=service.ref,
        gone=move.source,
        target=target,
        nodes_before=service.meta.nodes,
        nodes_after=after,
        # Whatever has left there comes back: an open move is what this one settles.
        restore=plan_restore(replace(known, moves={}), service.name, asked, lost)
        if asked
        else None,
        caddy_on_target=caddy.get(target),
        caddy_on_gone=caddy.get(move.source),
        records=dns_targets(known, service, after),
        our_addresses=known.dns.addresses,
        of_task=move.open.task if move.open else None,
        remarks=(_without_its_site(move),) if caddy and target not in caddy else (),
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


def _object_to_dumps(move: Move, wrong: Objections) -> None:
    for item in move.items:
        dumped, loaded = isinstance(item.backup, PgDumpAll), isinstance(item.restore, PgImport)
        if dumped and not loaded:
            wrong.invalid(
                ("data_items",),
                f"data item {item.name} is saved as a dump, and its `restore` would not load it",
                "Write `restore: {strategy: database.pgimport, service: ...}`, or save the "
                "database's volume with files.tar_after_stop.",
            )
        elif loaded and not dumped:
            wrong.invalid(("data_items",), f"data item {item.name} is loaded, but not dumped")


def _instance(known: Known, move: Move) -> Instance | None:
    state = known.nodes.get(move.source)
    there = state.instances if state and state.docker else ()
    return next((one for one in there if one.service == move.service.name), None)


def _object_to_what_is_not_known(known: Known, move: Move, wrong: Objections) -> None:
    if move.source in known.nodes and _instance(known, move) is None:
        wrong.conflict(
            ("source_node",),
            f"it is not known what {move.service.name} keeps on {move.source}",
            f"Was it deployed there, and does the Docker engine of {move.source} answer?",
        )


def _object_to_what_has_left(known: Known, move: Move, wrong: Objections) -> None:
    """Backups of what an open move has left are older than what runs where it went."""
    if left := known.moves.get(move.service.name):
        gone = f"composia migrate {left.service} --from {left.target} --to {move.target}"
        hint = (
            f"`composia task retry {left.task}` brings its names and `nodes` to {left.target}; "
            f"then move it from there. If {left.target} is gone: `{gone} --source-is-gone`."
        )
        known.object_to_what_has_left(move.service, [move.source], wrong, hint)


def _as_it_runs(known: Known, move: Move) -> ServiceRef:
    """At the revision that runs on the source: a move changes the place and nothing else."""
    instance, ref = _instance(known, move), move.service.ref
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


def _object_to_a_lost_site(
    known: Known, move: Move, caddy: Mapping[str, CaddyRef], wrong: Objections
) -> None:
    source, target = move.source, move.target
    if source in caddy and target in known.nodes and target not in caddy:
        wrong.conflict(
            ("network", "caddy"),
            _without_its_site(move),
            f"Add {target} to `nodes` of {caddy[source].service} and deploy it there, or set"
            f" `enabled: false` under `network.caddy` of {move.service.name}.",
        )


def _without_its_site(move: Move) -> str:
    return f"{move.target} has no Caddy: nobody would reach the site of {move.service.name} there"
