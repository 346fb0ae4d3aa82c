"""This node's end of a wire: a WebSocket to the controller, which joins it with the other node's.

The one who receives says how much it has taken; the one who sends stops a window ahead of that. So
every connection is read all the time, and signs of life are never stuck behind data.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from urllib.parse import quote

import aiohttp

from composia.agent.bulk import AWAY, PAUSE, UNKNOWN
from composia.errors import Failure, WireCut
from composia.tools.wire import JOINED, LARGEST_FRAME, WINDOW, Wire

#: Seconds between two signs of life; half of it is waited for the answer.
HEARTBEAT = 6.0
#: Seconds for the other node to come, and for the controller to answer a call.
PATIENCE, PROMPT = 60.0, 10.0
CLOSING = 2.0
#: Bytes that the kernel takes before they can be sent: what is told in between goes soon.
UNSENT = 256 * 1024
#: Bytes after which it is told what was taken.
TELL = WINDOW // 8


class Wires:
    """The wires of this node's questions."""

    def __init__(
        self, session: aiohttp.ClientSession, address: str, *, patience: float = PATIENCE
    ) -> None:
        self._session = session
        self._address = f"{address.rstrip('/')}/api/agent/wires"
        self._patience = patience

    @asynccontextmanager
    async def open(self, key: str, wire: str) -> AsyncIterator[Wire]:
        """Dial, and wait for the other node. Raises WireCut where it does not come in time."""
        url = f"{self._address}/{quote(wire, safe='')}?key={quote(key, safe='')}"
        async with await self._dialled(url, wire) as socket:
            end = SocketWire(socket)
            reading = asyncio.create_task(end.read())
            try:
                await self._joined(end, wire)
                yield end
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _joined(self, end: SocketWire, wire: str) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await end.joined()
        except TimeoutError:
            raise WireCut(
                f"the other node did not come to wire {wire} within {self._patience:.0f} s",
                hint="Is the other node's agent running, and connected?",
            ) from None

    async def _dialled(self, url: str, wire: str) -> aiohttp.ClientWebSocketResponse:
        """Dial until there is an answer: a controller may be restarting."""
        started = known = time.monotonic()
        while True:
            try:
                return await self._dial(url)
            except aiohttp.WSServerHandshakeError as error:
                # One that has just started does not know yet what it has asked before.
                if error.status != HTTPStatus.NOT_FOUND or time.monotonic() - known > UNKNOWN:
                    raise WireCut(f"the controller refused wire {wire} ({error.status})") from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                known = time.monotonic()
                if known - started > AWAY:
                    raise WireCut(
                        f"the controller does not answer (wire {wire}): {error}",
                        hint="Is it running, and can this node reach it?",
                    ) from error
            await asyncio.sleep(PAUSE)

    async def _dial(self, url: str) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(PROMPT):
            socket = await self._session.ws_connect(
                url,
                heartbeat=HEARTBEAT,
                max_msg_size=2 * LARGEST_FRAME,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING),
            )
        if raw := socket.get_extra_info("socket"):
            raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, UNSENT)
        return socket


class SocketWire:
    """The wire on one connection."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._frames: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._joined = False
        self._gone = False
        #: Bytes sent that the other end has not taken; bytes taken that it was not told of.
        self._ahead = 0
        self._taken = 0

    async def joined(self) -> None:
        """Wait for the other end. Raises WireCut."""
        while not self._joined:
            await self._news_or_end()

    async def read(self) -> None:
        """Take what comes, until the connection ends."""
        try:
            async for message in self._socket:
                self._hear(message)
                self._news.set()
        finally:
            self._gone = True
            self._news.set()

    async def send(self, frame: bytes) -> None:
        """See `Wire`."""
        if len(frame) > LARGEST_FRAME:
            raise Failure(f"a frame of {len(frame)} bytes is too large")
        while self._ahead > WINDOW:
            await self._news_or_end()
        if self._gone:
            raise _cut()
        self._ahead += len(frame)
        await self._tell(frame)

    async def receive(self) -> bytes:
        """See `Wire`."""
        while not self._frames:
            await self._news_or_end()
        frame = self._frames.popleft()
        self._taken += len(frame)
        if self._taken > TELL:
            taken, self._taken = self._taken, 0
            with suppress(WireCut):
                # What has come is worth having, whatever has become of the connection.
                await self._tell(str(taken))
        return frame

    async def _tell(self, what: bytes | str) -> None:
        try:
            if isinstance(what, bytes):
                await self._socket.send_bytes(what)
            else:
                await self._socket.send_str(what)
        except (aiohttp.ClientError, ConnectionError, RuntimeError) as error:
            raise _cut() from error

    def _hear(self, message: aiohttp.WSMessage) -> None:
        if message.type is aiohttp.WSMsgType.BINARY:
            self._frames.append(message.data)
        elif message.data == JOINED:
            self._joined = True
        elif message.type is aiohttp.WSMsgType.TEXT and message.data.isdigit():
            self._ahead -= int(message.data)

    async def _news_or_end(self) -> None:
        if self._gone:
            raise _cut()
        self._news.clear()
        await self._news.wait()


def _cut() -> WireCut:
    return WireCut("the connection to the other node broke", hint="Start it again.")
