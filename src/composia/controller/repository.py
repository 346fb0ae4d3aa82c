"""`/api/agent/repository`: the way to the repository for nodes without it.

Only while such a node is asked to do something with the repository, and only through the node that
the question names. What goes by is neither kept nor logged.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from composia.controller.callers import UNLIMITED, caller
from composia.controller.controller import Controller
from composia.controller.pipes import Closed
from composia.controller.relays import Call, Head, Relay, answered
from composia.errors import Denied, Failure, NodeLost, NotFound
from composia.model.service import RepositoryRef
from composia.operations.messages import RESTIC_V2, ForgetCall, ObjectCall, WayCall

#: Seconds for which a body may stand still.
STILL = 60.0
#: Snapshots of one task.
MANY = 10_000
#: As the agents write them.
STATUS, LENGTH, SHOWN = "composia-status", "composia-length", "composia-shown-"

router = APIRouter(prefix="/api/agent", include_in_schema=False)

Key = Annotated[str, Query()]


@router.api_route("/repository/{path:path}", methods=["HEAD", "GET"])
async def read(request: Request, path: str, key: Key) -> Response:
    """An object, or what there is."""
    call = ObjectCall(
        method=request.method,
        path=path,
        range=request.headers.get("range"),
        wants_sizes=RESTIC_V2 in request.headers.get("accept", ""),
    )
    return await _relayed(request, key, call)


@router.post("/repository/{path:path}", max_body_size=UNLIMITED)
async def keep(request: Request, path: str, key: Key) -> Response:
    """A new object."""
    return await _relayed(request, key, ObjectCall(method="POST", path=path))


@router.delete("/repository/{path:path}")
async def delete(path: str) -> Response:
    """Never."""
    raise Denied(f"{path} is not deleted from here")


@router.get("/repository-way")
async def way(request: Request, key: Key) -> Response:
    """How rustic is run, with the repository's password: from one node's memory to another's."""
    return await _relayed(request, key, WayCall())


@router.post("/repository-forget")
async def forget(
    request: Request, key: Key, ids: Annotated[list[str], Body(max_length=MANY)]
) -> Response:
    """Take out what the node has made for this very task."""
    controller, node = caller(request)
    question = controller.nodes.question(node, key)
    if question is None:
        raise Denied(f"node {node} is asked nothing under this key")
    call = ForgetCall(node=node, task=question.task, ids=tuple(ids))
    return await _relayed(request, key, call)


@router.get("/relays/{relay}")
async def body(request: Request, relay: str) -> Response:
    """What is sent along with a call, to the node that answers it."""
    found = _relay(request, relay)
    return StreamingResponse(found.body.chunks(), media_type="application/octet-stream")


@router.post("/relays/{relay}", max_body_size=UNLIMITED)
async def answer(request: Request, relay: str) -> Response:
    """The answer to a call, to the node that waits for it."""
    found = _relay(request, relay)
    found.answer(_head(request))
    try:
        async for chunk in request.stream():
            if chunk:
                await found.content.put(chunk)
        await found.content.end()
    except Closed:
        return Response(status_code=HTTPStatus.GONE)
    except ClientDisconnect:
        await found.content.end(Failure(f"node {found.node} stopped in the middle of it"))
    return Response(status_code=HTTPStatus.NO_CONTENT)


class _Answer(StreamingResponse):
    """What a node answered, piped through; the call is over when it has ended, however it does."""

    def __init__(self, stack: AsyncExitStack, relay: Relay, head: Head) -> None:
        super().__init__(relay.content.chunks(), head.status, dict(head.headers))
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


async def _relayed(request: Request, key: str, call: Call) -> Response:
    controller, node = caller(request)
    try:
        repository = _asked_about(controller, node, key)
    except Denied as error:
        if not isinstance(call, ObjectCall):
            raise
        # A controller that has just started will ask the same again: rustic must not give up.
        return Response(error.message, HTTPStatus.SERVICE_UNAVAILABLE)
    holder = repository.through(node)
    if holder is None:
        raise Denied(f"node {node} reaches the repository by itself")
    async with AsyncExitStack() as stack:
        try:
            relay = await stack.enter_async_context(
                controller.nodes.relayed(holder, repository, call, node)
            )
            if isinstance(call, ObjectCall) and call.method == "POST":
                sending = asyncio.create_task(_send(request, relay))
                stack.callback(sending.cancel)
            head = await answered(relay)
        except NodeLost as error:
            # It may be back soon: such an answer is asked for again.
            return Response(error.message, HTTPStatus.SERVICE_UNAVAILABLE)
        return _Answer(stack.pop_all(), relay, head)
    raise AssertionError


async def _send(request: Request, relay: Relay) -> None:
    try:
        coming = request.stream()
        while (chunk := await asyncio.wait_for(anext(coming, None), STILL)) is not None:
            if chunk:
                await relay.body.put(chunk)
        await relay.body.end()
    except Closed:
        # Answered before its end.
        return
    except TimeoutError:
        await relay.break_off(NodeLost("the node that sends it stands still"))
    except ClientDisconnect:
        await relay.break_off(NodeLost("the node that sent it is gone"))


def _relay(request: Request, relay: str) -> Relay:
    controller, node = caller(request)
    found = controller.nodes.relay(node, relay)
    if found is None:
        raise NotFound("nobody waits for this any more")
    return found


def _head(request: Request) -> Head:
    headers = {
        name.removeprefix(SHOWN): value
        for name, value in request.headers.items()
        if name.startswith(SHOWN)
    }
    if length := request.headers.get(LENGTH):
        headers["content-length"] = length
    return Head(int(request.headers[STATUS]), headers)


def _asked_about(controller: Controller, node: str, key: str) -> RepositoryRef:
    """The repository of a question that is open. Raises Denied."""
    question = controller.nodes.question(node, key)
    if question is None or question.operation.repository is None:
        raise Denied(
            f"node {node} is asked nothing about the repository under this key",
            hint="It is reached only while an operation works with it.",
        )
    repository: RepositoryRef = question.operation.repository
    return repository
