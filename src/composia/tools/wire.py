"""What one node sends to another: frames in order, in both directions, until one end goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from composia.errors import Failure

#: Bytes of a frame at most.
LARGEST_FRAME = 1024 * 1024
#: Bytes that may be under way before the one who receives has taken them.
WINDOW = 8 * 1024 * 1024
#: What the controller says when both ends are there.
JOINED = "joined"


class Wire(Protocol):
    """Both methods raise WireCut when the other end or the connection has gone."""

    async def send(self, frame: bytes) -> None:
        """Send a frame; waits while the other end is too far behind."""
        ...

    async def receive(self) -> bytes:
        """The next frame of the other end."""
        ...


@asynccontextmanager
async def no_wire(name: str) -> AsyncIterator[Wire]:
    """The wire of a site that has none."""
    raise Failure(f"wire {name} cannot be opened here: this node has no controller")
    yield
