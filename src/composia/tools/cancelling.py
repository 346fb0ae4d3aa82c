"""Work that is brought to its end although whoever waits for it is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(
    work: Coroutine[Any, Any, T], on_cancel: Callable[[], None] = lambda: None
) -> T:
    """Its result. The caller's cancellation takes effect afterwards, however often it comes.

    What the work raises goes before it: a person has to hear of that. `on_cancel` is called at
    the first cancellation, where somebody is to be told what is waited for.
    """
    task = asyncio.ensure_future(work)
    cancelled = await until_done(task, on_cancel)
    if cancelled and not task.exception():
        raise cancelled
    return task.result()


async def until_done(
    task: asyncio.Future[Any], on_cancel: Callable[[], None] = lambda: None
) -> asyncio.CancelledError | None:
    """Wait for it through every cancellation of the caller; answers the last of them."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if cancelled is None and not task.done():
                on_cancel()
            cancelled = error
    return cancelled
