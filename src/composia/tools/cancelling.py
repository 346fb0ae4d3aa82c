"""Work that is brought to its end although whoever waits for it is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Its result. The caller's cancellation takes effect afterwards, however often it comes.

    What the work raises goes before it: a person has to hear of that.
    """
    task = asyncio.ensure_future(work)
    cancelled = await until_done(task)
    if cancelled and not task.exception():
        raise cancelled
    return task.result()


async def until_done(task: asyncio.Future[Any]) -> asyncio.CancelledError | None:
    """Wait for it through every cancellation of the caller; answers the last of them."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled
