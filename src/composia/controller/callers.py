"""Which node calls beside its channel, and how much it may send."""

from __future__ import annotations

from fastapi import Request

from composia.controller.controller import Controller

#: Bytes: as good as no limit, for what is piped through.
UNLIMITED = 1 << 62


def caller(request: Request) -> tuple[Controller, str]:
    """Who is called, and the node whose token it is. Raises Unauthenticated."""
    controller: Controller = request.app.state.controller
    node = controller.node_gate.node(request.headers.get("authorization"))
    request.state.caller = f"node:{node}"
    return controller, node
