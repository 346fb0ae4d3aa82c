"""What is to move, from where to where, and what stands in its way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from composia.model.catalog import Service
from composia.model.meta import DataItem
from composia.model.names import Name
from composia.model.node import Instance
from composia.model.service import CaddyRef
from composia.model.task import OpenMove
from composia.operations.cargo import Cargo
from composia.strategies.files_copy import FilesCopy
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport
from composia.workflows.known import Known, nodes_of
from composia.workflows.objections import Objections

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
        told = f"{service.name} has {len(nodes)} nodes: name the source"
        wrong.invalid(("source_node",), told, nodes_of(service))
    elif source not in known.nodes:
        wrong.unknown(("source_node",), "node", source, known.nodes)
    elif source not in nodes:
        told = f"{service.name} is not meant for node {source}"
        wrong.conflict(("source_node",), told, nodes_of(service))
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


def object_to_what_is_not_known(known: Known, move: Move, wrong: Objections) -> None:
    """What the source keeps must be seen."""
    if move.source in known.nodes and instance_on_source(known, move) is None:
        wrong.conflict(
            ("source_node",),
            f"it is not known what {move.service.name} keeps on {move.source}",
            f"Was it deployed there, and does the Docker engine of {move.source} answer?",
        )


def object_to_what_has_left(known: Known, move: Move, wrong: Objections) -> None:
    """Backups of what an open move has left are older than what runs where it went."""
    if left := known.moves.get(move.service.name):
        gone = f"composia migrate {left.service} --from {left.target} --to {move.target}"
        hint = (
            f"`composia task retry {left.task}` brings its names and `nodes` to {left.target}; "
            f"then move it from there. If {left.target} is gone: `{gone} --source-is-gone`."
        )
        known.object_to_what_has_left(move.service, [move.source], wrong, hint)


def object_to_dumps(move: Move, wrong: Objections) -> None:
    """What is saved as a dump must be loaded, and nothing else."""
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


def object_to_a_lost_site(
    known: Known, move: Move, caddy: Mapping[str, CaddyRef], wrong: Objections
) -> None:
    """Where the source has a Caddy, the target needs one."""
    source, target = move.source, move.target
    if source in caddy and target in known.nodes and target not in caddy:
        wrong.conflict(
            ("network", "caddy"),
            without_its_site(move),
            f"Add {target} to `nodes` of {caddy[source].service} and deploy it there, or set"
            f" `enabled: false` under `network.caddy` of {move.service.name}.",
        )


def without_its_site(move: Move) -> str:
    """What a person should know of a target without a Caddy."""
    return f"{move.target} has no Caddy: nobody would reach the site of {move.service.name} there"


def instance_on_source(known: Known, move: Move) -> Instance | None:
    """The service on its source, as the node sees it."""
    state = known.nodes.get(move.source)
    there = state.instances if state and state.docker else ()
    return next((one for one in there if one.service == move.service.name), None)
