"""`/nodes`: the machines."""

from __future__ import annotations

from composia import errors
from composia.controller.api.desk import AtDesk, Cursor, Desk, Limit, NodeId
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers
from composia.model.config import NodeConfig
from composia.model.node import Container, NodeState
from composia.model.shown import NodeView, Page
from composia.workflows.known import Known
from composia.workflows.objections import not_found

router = api_router("nodes", "/nodes")


@router.get("", **answers())
async def list_nodes(desk: AtDesk, limit: Limit = 1000, cursor: Cursor = None) -> Page[NodeView]:
    """All nodes of config.yaml, by their ids."""
    found = sorted(every(desk), key=lambda one: one.id)
    rest = [one for one in found if one.id > (cursor or "")]
    return Page[NodeView].cut(rest, limit, lambda one: one.id)


@router.get("/{node}", **answers(errors.NotFound))
async def get_node(desk: AtDesk, node: NodeId) -> NodeView:
    """One node."""
    found = desk.office.config.node(node)
    if found is None:
        raise not_found("node", node, [one.id for one in desk.office.config.nodes])
    return shown(desk, found, _holders(desk))


def every(desk: Desk) -> list[NodeView]:
    """All nodes as they are now."""
    holders = _holders(desk)
    return [shown(desk, node, holders) for node in desk.office.config.nodes]


def _holders(desk: Desk) -> tuple[str, ...] | None:
    """The nodes with the repository; None where the service that says so is broken."""
    office = desk.office
    known = Known(office.catalog.view(), {}, main_nodes=office.config.rustic.main_nodes)
    try:
        return known.repository_nodes()
    except errors.Invalid:
        return None


def shown(desk: Desk, node: NodeConfig, holders: tuple[str, ...] | None) -> NodeView:
    """A node as it is now; `holders`: the nodes with the repository, as far as is known."""
    nodes = desk.office.nodes
    state = nodes.states().get(node.id)
    return NodeView(
        id=node.id,
        display_name=node.label,
        online=nodes.online(node.id),
        needs_update=nodes.needs_update(node.id),
        last_seen=nodes.last_seen(node.id),
        docker=state.docker if state else None,
        repository=None if holders is None else node.id in holders,
        public_ipv4=node.public_ipv4,
        public_ipv6=node.public_ipv6,
        versions=state.versions if state else None,
        disks=list(state.disks) if state else [],
        containers=_containers(desk, state),
        services=[one.service for one in state.instances if desk.caller.may_see(one.service)]
        if state
        else [],
    )


def _containers(desk: Desk, state: NodeState | None) -> list[Container]:
    if state is None:
        return []
    if desk.caller.services == "all":
        return list(state.containers)
    theirs = {one.project for one in state.instances if desk.caller.may_see(one.service)}
    return [container for container in state.containers if container.project in theirs]
