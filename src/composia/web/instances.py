"""A service's instances, and what their containers say as they say it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import APIRouter, Query, Response

from composia.controller.api.desk import NodeId, ServiceName
from composia.controller.api.streams import event, events, must_be_online
from composia.errors import ComposiaError, joined
from composia.model.shown import InstanceView, ServiceView
from composia.operations.readings import ContainerLogs
from composia.web.logs import batched, lines_of
from composia.web.services import service_of
from composia.web.visit import AtVisit, Visit

router = APIRouter(prefix="/services")

#: Lines from before that are shown first.
TAIL = 1000
Container = Annotated[str, Query(max_length=255)]


@router.get("/{service}/instances")
async def show_instances(
    visit: AtVisit,
    service: ServiceName,
    node: Annotated[str, Query(max_length=63)] = "",
    container: Container = "",
) -> Response:
    """It on each node, and the log of one of them."""
    found = await service_of(visit, service)
    heard = _heard(found, node)
    return visit.page(
        "service_instances.html",
        service=found,
        tab="instances",
        heard=heard,
        online=heard is not None and visit.office.nodes.online(heard.node),
        container=container if heard and container in names_of(heard) else "",
    )


@router.get("/{service}/instances/{node}/log")
async def follow_containers(
    visit: AtVisit, service: ServiceName, node: NodeId, container: Container = ""
) -> Response:
    """What its containers say: events `log` with some lines each; `end` when nothing runs."""
    visit.caller.must_see(service)
    found = await visit.container(service, node, container or None)
    must_be_online(visit.office, node)
    wanted = ContainerLogs(service=found, container=container or None, follow=True, tail=TAIL)
    return events(visit, _followed(visit, node, wanted))


def names_of(instance: InstanceView) -> list[str]:
    """The containers whose logs can be followed."""
    return [one.name for one in instance.containers]


def _heard(service: ServiceView, node: str) -> InstanceView | None:
    """The instance whose log is shown: the one asked for, else the first with containers."""
    found = [one for one in service.instances if one.containers]
    asked = [one for one in found if one.node == node]
    return next(iter([*asked, *found]), None)


async def _followed(visit: Visit, node: str, wanted: ContainerLogs) -> AsyncIterator[bytes]:
    yield event("begin", "")
    async with AsyncExitStack() as stack:
        try:
            chunks = await stack.enter_async_context(visit.office.nodes.read(node, wanted))
            async for some in batched(lines_of(chunks)):
                yield event("log", some)
        except ComposiaError as error:
            # The answer has begun: whoever reads the log reads in it why it ends.
            yield event("log", joined(error.message, error.hint))
    yield event("end", "")
