"""Talking over a wire: what is said in turn, manifests in pieces, and digests as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from composia.errors import ComposiaError, Failure, Told, WireCut, told
from composia.strategies.base import Site
from composia.tools import delta_frames as frames
from composia.tools import manifest
from composia.tools.manifest import Manifest
from composia.tools.threads import in_thread
from composia.tools.wire import Wire

#: Grows with every change that an older peer would misunderstand.
VERSION = 1
#: Cuts in a row in which nothing new was said.
CUTS = 8
PAUSE = 0.2
#: Bytes of what waits to be asked for, and what a frame takes besides.
MOST_WAITING = manifest.LARGEST
_FRAME = 256

Result = TypeVar("Result")


async def over(
    site: Site,
    wire: str,
    talk: Callable[[Wire], Awaitable[Result]],
    done: Callable[[], int],
    patience: Callable[[], float | None] = lambda: None,
) -> Result:
    """Talk over the wire; after a cut dial again and talk anew.

    Raises WireCut where the other node does not come, or `done` stays where it is, and
    TimeoutError where it does not come within `patience` seconds.
    """
    cuts, before = 0, done()
    while cuts < CUTS:
        async with asyncio.timeout(patience()) as limit, site.wire(wire) as opened:
            limit.reschedule(None)
            with suppress(WireCut):
                return await _honestly(opened, talk)
        cuts, before = (cuts + 1, before) if done() == before else (0, done())
        site.notes.log("the connection to the other node broke; dialling again")
        await asyncio.sleep(PAUSE)
    raise WireCut("the connection to the other node breaks again and again")


async def beside(main: Awaitable[Result], helper: Awaitable[None]) -> Result:
    """The result of the first; the second is ended then. Raises what either of them raises."""
    working, helping = asyncio.ensure_future(main), asyncio.ensure_future(helper)
    try:
        await asyncio.wait({working, helping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            helping.result()
        return await working
    finally:
        working.cancel()
        helping.cancel()
        await asyncio.gather(working, helping, return_exceptions=True)


async def _honestly(wire: Wire, talk: Callable[[Wire], Awaitable[Result]]) -> Result:
    """Tell the other end why this one gives up."""
    try:
        return await talk(wire)
    except WireCut:
        raise
    except Exception as error:
        with suppress(WireCut):
            await wire.send(frames.said(error=told(error).model_dump(mode="json")))
        raise


def heard(frame: bytes) -> Mapping[str, Any]:
    """What was said. Raises the Failure that the other end told."""
    what = frames.heard(frame)
    if "error" in what:
        with frames.understood():
            error = Told.model_validate(what["error"])
        raise _theirs(error.as_error())
    return what


def _theirs(error: ComposiaError) -> Failure:
    return Failure(f"on the other node: {error.message}", hint=error.hint)


async def send_manifest(wire: Wire, seen: Manifest, **what: Any) -> None:
    """Send a manifest behind what is said about it."""
    written = await in_thread(seen.write)
    await wire.send(frames.said(**what, size=len(written)))
    for at in range(0, len(written), frames.PIECE):
        await wire.send(frames.PART + written[at : at + frames.PIECE])


async def receive_manifest(receive: Callable[[], Awaitable[bytes]], size: Any) -> bytes:
    """The manifest behind what was said about it, as it was written: `manifest.LARGEST` at most."""
    parts: list[bytes] = []
    left = size
    with frames.understood():
        if size > manifest.LARGEST:
            raise ValueError("no manifest is that large")
        while left > 0:
            frame = await receive()
            if frame[:1] != frames.PART or len(frame) == 1:
                raise ValueError("no part of a manifest")
            parts.append(frame[1:])
            left -= len(frame) - 1
    return b"".join(parts)


def read_manifest(written: bytes) -> Manifest:
    """The manifest. Raises Failure."""
    with frames.understood():
        return manifest.read(written)


class Peer:
    """The source's ear: everything is taken as it comes, so that the other end never waits.

    What has come and was not asked for yet is `MOST_WAITING` bytes at most. An honest node has the
    digests of four files under way, 128 MiB for each of 1 TiB, or parts of a manifest.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self._turns: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._digests: dict[int, asyncio.Queue[tuple[bool, bytes] | Exception]] = {}
        self._waiting = 0
        self._ended: Exception | None = None
        self._end = asyncio.Event()

    async def listen(self) -> None:
        """Take what comes, until the end."""
        try:
            while True:
                frame = await self.wire.receive()
                self._grow(len(frame))
                if frame[:1] == frames.DIGESTS:
                    with frames.understood():
                        number, last, found = frames.read_digests(frame)
                        self._digests[number].put_nowait((last, found))
                elif frame[:1] == frames.SAID and "error" in frames.heard(frame):
                    heard(frame)
                else:
                    self._turns.put_nowait(frame)
        except Exception as error:
            self._ended = error
            self._end.set()
            self._turns.put_nowait(error)
            for queue in self._digests.values():
                queue.put_nowait(error)

    def _grow(self, size: int) -> None:
        self._waiting += size + _FRAME
        if self._waiting > MOST_WAITING:
            raise Failure("the other node says more than it was asked for")

    def _shrink(self, size: int) -> None:
        self._waiting -= size + _FRAME

    async def until(self, event: asyncio.Event) -> None:
        """Wait for it. Raises what ends the connection before."""
        waiting = [asyncio.ensure_future(one.wait()) for one in (event, self._end)]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
        if self._ended:
            raise self._ended

    async def turn(self) -> bytes:
        """The next frame that is no digest. Raises what ended the connection."""
        found = await self._turns.get()
        if isinstance(found, Exception):
            self._turns.put_nowait(found)
            raise found
        self._shrink(len(found))
        return found

    async def said(self, name: str) -> Any:
        """What is said next, which must be this."""
        what = heard(await self.turn())
        with frames.understood():
            return what[name]

    def expect(self, number: int) -> None:
        """Digests will come under this number."""
        self._digests[number] = asyncio.Queue()

    async def digests(self, number: int) -> AsyncIterator[bytes]:
        """The digests of a file that was asked about, some at a time."""
        queue, last = self._digests[number], False
        if self._ended:
            raise self._ended
        while not last:
            found = await queue.get()
            if isinstance(found, Exception):
                raise found
            last, some = found
            self._shrink(frames.REPLY + len(some))
            yield some
        del self._digests[number]
