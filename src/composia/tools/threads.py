"""Work that blocks, beside the event loop, without being left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress
from typing import ParamSpec, TypeVar

from composia.tools.cancelling import until_done

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Its result. Cancelled, it waits until the thread has ended and uses nothing any more."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    if cancelled := await until_done(running):
        with suppress(Exception):
            running.result()
        raise cancelled
    return running.result()


async def ahead(items: Iterator[T]) -> AsyncGenerator[T, None]:
    """The items; the next one is made in a thread while the last one is used."""
    coming = asyncio.ensure_future(in_thread(_next, items))
    try:
        while (found := await coming) is not None:
            coming = asyncio.ensure_future(in_thread(_next, items))
            yield found[0]
    finally:
        await asyncio.wait([coming])
        with suppress(Exception):
            coming.result()


def _next(items: Iterator[T]) -> tuple[T] | None:
    # A StopIteration cannot come out of a future.
    for item in items:
        return (item,)
    return None
