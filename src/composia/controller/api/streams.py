"""Bytes that nodes read out, and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from fastapi.responses import StreamingResponse

from composia.controller.api.desk import Desk
from composia.controller.api.office import Event, Office
from composia.controller.auth import Caller
from composia.errors import Conflict, Denied, Failure
from composia.model.node import ask_its_agent
from composia.operations.readings import Reading

EVENT_STREAM = "text/event-stream"
#: Seconds after which a stream asks again whether its caller may have it.
AGAIN = 10.0
#: Pieces that are read ahead of who is slow.
AHEAD = 16
#: Nothing has come.
STILL = object()
#: Bytes of a reading that is not piped through: a folder's listing, or numbers.
WHOLE = 64 * 1024 * 1024
#: What the OpenAPI document says of one event.
EVENT_SCHEMA = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["event", "data"],
}


async def reading(
    desk: Desk,
    node: str,
    wanted: Reading,
    *,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    """Pipe a reading through; what goes wrong before its first byte is raised here."""
    must_be_online(desk.office, node)
    stack = AsyncExitStack()
    chunks = await stack.enter_async_context(desk.office.nodes.read(node, wanted))
    try:
        first = await anext(chunks, b"")
    except BaseException:
        await stack.aclose()
        raise
    return StreamingResponse(
        _piped(desk, stack, first, chunks), media_type=media_type, headers=headers
    )


async def read_all(office: Office, node: str, wanted: Reading) -> bytes:
    """A short reading, whole. Raises Failure for one that is not short."""
    must_be_online(office, node)
    read, size = list[bytes](), 0
    async with office.nodes.read(node, wanted) as chunks:
        async for chunk in chunks:
            read.append(chunk)
            size += len(chunk)
            if size > WHOLE:
                raise Failure(
                    f"node {node} answers more than {WHOLE // 1024**2} MiB",
                    hint="Look into a folder further down, or restore to scratch.",
                )
    return b"".join(read)


def must_be_online(office: Office, node: str) -> None:
    """Raises Conflict where nobody would answer."""
    if not office.nodes.online(node):
        raise Conflict(f"node {node} is offline", hint=ask_its_agent(node))


async def _piped(
    desk: Desk, stack: AsyncExitStack, first: bytes, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    async with stack:
        yield first
        async for chunk in while_allowed(desk, chunks):
            yield chunk


async def while_allowed(desk: Desk, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What comes. Raises Denied once its caller may not have it any more, come what may."""
    clock = asyncio.get_running_loop().time
    asked = clock()
    coming: asyncio.Queue[Any] = asyncio.Queue(AHEAD)
    pumping = asyncio.create_task(_pump(source, coming))
    try:
        while True:
            if clock() >= asked + AGAIN:
                if not await desk.is_still_allowed():
                    raise Denied("the token was taken back, or changed, meanwhile")
                asked = clock()
            try:
                piece = coming.get_nowait()
            except asyncio.QueueEmpty:
                if (piece := await _next(coming, asked + AGAIN - clock())) is STILL:
                    continue
            if isinstance(piece, BaseException):
                raise piece
            if piece is None:
                return
            yield piece
    finally:
        pumping.cancel()
        await asyncio.gather(pumping, return_exceptions=True)


async def _pump(source: AsyncIterator[bytes], into: asyncio.Queue[Any]) -> None:
    try:
        async for piece in source:
            await into.put(piece)
        await into.put(None)
    except Exception as error:
        await into.put(error)


async def _next(queue: asyncio.Queue[Any], patience: float) -> Any:
    """What comes within so many seconds; STILL where nothing does."""
    try:
        async with asyncio.timeout(max(patience, 0)):
            return await queue.get()
    except TimeoutError:
        return STILL


def may_hear(caller: Caller, change: Event) -> bool:
    """Whether the caller is told: of what belongs to all services only how the nodes are."""
    return caller.may_see(change.service) or (change.service is None and change.kind == "node")


def event(kind: str, data: Any) -> bytes:
    """One server-sent event: text as it is, anything else as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {kind}\n{lines}\n".encode(errors="replace")


def events(desk: Desk, source: AsyncIterator[bytes]) -> StreamingResponse:
    """A stream of events that no proxy keeps back, for as long as the caller may have it."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(_told(desk, source), media_type=EVENT_STREAM, headers=headers)


async def _told(desk: Desk, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    # Events have no end that one would miss; half a file must not look like a whole one.
    with suppress(Denied):
        async for one in while_allowed(desk, source):
            yield one
