"""`/services`: what there is, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.responses import StreamingResponse

from composia import errors
from composia.controller.api.bodies import parsed
from composia.controller.api.desk import AtDesk, Desk, Limit, NodeId, ServiceName, Submit
from composia.controller.api.queries import api_router
from composia.controller.api.routes import FROM_A_NODE, answers, hands_in, reads
from composia.controller.api.streams import reading
from composia.controller.api.views import Records, service_view
from composia.model.backup import Backup
from composia.model.config import Scope
from composia.model.node import NodeState
from composia.model.schedule import Overdue
from composia.model.shown import Page, ServiceView
from composia.operations.readings import ContainerLogs
from composia.workflows.backup import BackupRequest, plan_backup
from composia.workflows.caddy import plan_caddy_sync
from composia.workflows.dns import plan_dns_update
from composia.workflows.restore import RestoreRequest, plan_restore
from composia.workflows.service import (
    ServiceRequest,
    UpdateRequest,
    plan_deploy,
    plan_restart,
    plan_stop,
    plan_update,
)

router = api_router("services", "/services")

Nodes = Annotated[ServiceRequest, Depends(parsed(ServiceRequest))]


@router.get("", **answers())
async def list_services(
    desk: AtDesk,
    limit: Limit = 1000,
    cursor: Annotated[
        str | None,
        Query(max_length=128, description="`next_cursor` of the page before."),
    ] = None,
) -> Page[ServiceView]:
    """All services with their instances, data items and warnings; broken ones too."""
    rest = [one for one in await every(desk) if one.name > (cursor or "")]
    return Page[ServiceView].cut(rest, limit, lambda one: one.name)


@router.get("/{service}", **answers(errors.NotFound))
async def get_service(desk: AtDesk, service: ServiceName) -> ServiceView:
    """One service; 422 with its problems for one that is broken."""
    desk.caller.must_see(service)
    return await shown(desk, service)


async def every(desk: Desk) -> list[ServiceView]:
    """All services that the token is for, broken ones too, by their names."""
    catalog, overview = desk.office.catalog.view(), desk.office.overview
    records = overview.records(*await _recorded(desk, None))
    found = overview.services(catalog, *_nodes(desk), records)
    # What goes by its folder only, for its name cannot be read, is nobody's in particular.
    named = {*catalog.services, *(one.name for one in catalog.broken)}
    return [one for one in found if desk.caller.may_see(one.name if one.name in named else None)]


async def shown(desk: Desk, service: str) -> ServiceView:
    """A service as it is now. Raises NotFound, or Invalid for one that is broken."""
    records = Records.of(*await _recorded(desk, (service,)))
    return service_view(desk.office.catalog.view().service(service), *_nodes(desk), records)


async def _recorded(
    desk: Desk, services: Sequence[str] | None
) -> tuple[Sequence[Backup], Sequence[Backup], Sequence[Overdue]]:
    """The newest good backups and the newest of all, and who is late."""
    store = desk.office.store
    return (
        await store.newest_backups(services, good=True),
        await store.newest_backups(services),
        await desk.office.scheduler.overdue(),
    )


def _nodes(desk: Desk) -> tuple[Mapping[str, NodeState | None], Mapping[str, bool]]:
    """Their states, and which of them are online."""
    states = desk.office.nodes.states()
    return states, {node: desk.office.nodes.online(node) for node in states}


@router.post("/{service}/deploy", **hands_in(ServiceRequest))
async def deploy(desk: AtDesk, service: ServiceName, wanted: Nodes, submit: Submit) -> Response:
    """Bring files and containers to what the catalog has."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_deploy(await desk.known_now(service), service, wanted))


@router.post("/{service}/update", **hands_in(UpdateRequest))
async def update(
    desk: AtDesk,
    service: ServiceName,
    wanted: Annotated[UpdateRequest, Depends(parsed(UpdateRequest))],
    submit: Submit,
) -> Response:
    """Pull newer images, then deploy; with `backup_first` the data is saved before."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_update(await desk.known_now(service), service, wanted))


@router.post("/{service}/stop", **hands_in(ServiceRequest))
async def stop(desk: AtDesk, service: ServiceName, wanted: Nodes, submit: Submit) -> Response:
    """Stop its containers; they and their volumes stay."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_stop(await desk.known(), service, wanted))


@router.post("/{service}/restart", **hands_in(ServiceRequest))
async def restart(desk: AtDesk, service: ServiceName, wanted: Nodes, submit: Submit) -> Response:
    """Stop and start the same containers."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_restart(await desk.known(), service, wanted))


@router.post("/{service}/backup", **hands_in(BackupRequest))
async def back_up(
    desk: AtDesk,
    service: ServiceName,
    wanted: Annotated[BackupRequest, Depends(parsed(BackupRequest))],
    submit: Submit,
) -> Response:
    """Save its data items."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_backup(await desk.known(), service, wanted))


@router.post("/{service}/restore", **hands_in(RestoreRequest))
async def restore(
    desk: AtDesk,
    service: ServiceName,
    wanted: Annotated[RestoreRequest, Depends(parsed(RestoreRequest))],
    submit: Submit,
) -> Response:
    """Bring its data back, from the newest good backups or those of a time."""
    desk.caller.must(Scope.OPERATE, service)
    records = await desk.backups_of(service)
    return await submit.hand_in(plan_restore(await desk.known(), service, wanted, records))


@router.post("/{service}/dns-update", **hands_in(ServiceRequest))
async def update_dns(desk: AtDesk, service: ServiceName, wanted: Nodes, submit: Submit) -> Response:
    """Point its names to its nodes."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_dns_update(await desk.known(), service, wanted))


@router.post("/{service}/caddy-sync", **hands_in(ServiceRequest))
async def sync_caddy(desk: AtDesk, service: ServiceName, wanted: Nodes, submit: Submit) -> Response:
    """Bring its fragment on each node's Caddy to what the catalog has."""
    desk.caller.must(Scope.OPERATE, service)
    return await submit.hand_in(plan_caddy_sync(await desk.known(), service, wanted))


@router.get("/{service}/instances/{node}/logs", **reads("text/plain", *FROM_A_NODE))
async def get_instance_logs(
    desk: AtDesk,
    service: ServiceName,
    node: NodeId,
    container: Annotated[
        str | None,
        Query(
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$",
            description="A container's name, or a compose service; by default all of them.",
        ),
    ] = None,
    *,
    follow: Annotated[bool, Query(description="Go on until nobody listens.")] = False,
    tail: Annotated[int, Query(ge=0, le=100_000, description="Lines from before.")] = 1000,
) -> StreamingResponse:
    """What its containers say."""
    desk.caller.must_see(service)
    found = await desk.container(service, node, container)
    logs = ContainerLogs(service=found, container=container, follow=follow, tail=tail)
    return await reading(desk, node, logs, media_type="text/plain; charset=utf-8")
