"""`/nodes`: the machines, and how another one is added."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from composia.controller.api import nodes
from composia.controller.api.desk import NodeId
from composia.model.config import Scope
from composia.model.names import Name
from composia.web.forms import asked
from composia.web.visit import AtVisit

router = APIRouter()

#: Bytes of a token, as `openssl rand -hex 32` makes it.
TOKEN = 32
#: So many of a node's tasks are shown.
NEWEST = 10
#: Hosts by which a machine knows nobody but itself.
_HERE = ("127.0.0.1", "localhost", "::1")


class NewNode(BaseModel):
    """A machine that is to be added; id None: not named yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name | None = None
    address: str | None = Field(
        default=None, max_length=300, pattern=r"^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._/-]*)?$"
    )


@router.get("/nodes")
async def list_nodes(visit: AtVisit) -> Response:
    """All nodes of config.yaml."""
    return visit.page("nodes.html", nodes=nodes.every(visit))


@router.get("/nodes/{node}")
async def show_node(visit: AtVisit, node: NodeId) -> Response:
    """One node: whether it answers, what it runs, how full it is."""
    found = await nodes.get_node(visit, node)
    mine = visit.services(None)
    tasks = await visit.office.store.tasks(services=mine, node=node, limit=NEWEST)
    return visit.page("node.html", node=found, tasks=tasks)


@router.get("/add-node")
async def add_node(visit: AtVisit) -> Response:
    """What to write and to run, with a token that is made now and kept nowhere."""
    visit.caller.must(Scope.ADMIN)
    wanted = asked(visit.request, NewNode)
    known = next((one for one in nodes.every(visit) if one.id == wanted.id), None)
    address = wanted.address or str(visit.request.base_url).rstrip("/")
    return visit.page(
        "add_node.html",
        wanted=wanted,
        known=known,
        token=secrets.token_hex(TOKEN),
        address=address,
        only_here=_only_here(address),
    )


def _only_here(address: str) -> bool:
    try:
        return urlsplit(address).hostname in _HERE
    except ValueError:
        return False
