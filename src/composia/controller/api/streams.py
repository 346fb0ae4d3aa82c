"""Bytes that nodes read out, and server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from fastapi.responses import StreamingResponse

from composia.controller.api.office import Office
from composia.errors import Conflict
from composia.operations.readings import Reading

EVENT_STREAM = "text/event-stream"
#: What the OpenAPI document says of one event.
EVENT_SCHEMA = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["event", "data"],
}


async def reading(
    office: Office,
    node: str,
    wanted: Reading,
    *,
    media_type: str,
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    """Pipe a reading through; what goes wrong before its first byte is raised here."""
    must_be_online(office, node)
    stack = AsyncExitStack()
    chunks = await stack.enter_async_context(office.nodes.read(node, wanted))
    try:
        first = await anext(chunks, b"")
    except BaseException:
        await stack.aclose()
        raise
    return StreamingResponse(_piped(stack, first, chunks), media_type=media_type, headers=headers)


async def read_all(office: Office, node: str, wanted: Reading) -> bytes:
    """A short reading, whole."""
    must_be_online(office, node)
    async with office.nodes.read(node, wanted) as chunks:
        return b"".join([chunk async for chunk in chunks])


def must_be_online(office: Office, node: str) -> None:
    """Raises Conflict where nobody would answer."""
    if not office.nodes.online(node):
        raise Conflict(
            f"node {node} is offline",
            hint=f"See what its agent says: `journalctl -u composia-agent` on {node}.",
        )


async def _piped(
    stack: AsyncExitStack, first: bytes, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    async with stack:
        yield first
        async for chunk in chunks:
            yield chunk


def event(kind: str, data: Any) -> bytes:
    """One server-sent event: text as it is, anything else as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    lines = "".join(f"data: {line}\n" for line in text.splitlines() or [""])
    return f"event: {kind}\n{lines}\n".encode(errors="replace")


def events(source: AsyncIterator[bytes]) -> StreamingResponse:
    """A stream of events that no proxy keeps back."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingResponse(source, media_type=EVENT_STREAM, headers=headers)
