"""The repository of another node, on loopback: restic's REST protocol, sent on to the controller.

Only programs of this node reach it, and only with the token of a run that goes on.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
import structlog
from aiohttp import web

log = structlog.get_logger()

USER = "composia"
#: Seconds for which a call is held while this node has no connection to the controller.
HELD = 60.0
#: Seconds between two tries within them.
PAUSE = 0.5
CHUNK = 256 * 1024
#: Locks of other clients than rustic: kept here, so many of so many bytes.
LOCKS, LOCK = 100, 64 * 1024
PASSED = ("Range", "Accept")
SHOWN = ("Content-Type", "Content-Length", "Content-Range")
#: What may be asked again, for nothing was said yet.
AGAIN = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_PATH = re.compile(r"/(?:config|(?:keys|index|snapshots|data)/(?:[0-9a-f]{64})?)", re.ASCII)
_LOCK = re.compile(r"/locks/([0-9a-f]{64})?", re.ASCII)


@dataclass(slots=True)
class Visit:
    """What a token is good for."""

    key: str
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    locks: dict[str, bytes] = field(default_factory=dict)


class Gateway:
    """One server for all tasks of this agent, from its first use on."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = f"{address.rstrip('/')}/api/agent/repository"
        self._visits: list[Visit] = []
        self._calls: set[asyncio.Task[Any]] = set()
        self._connected = asyncio.Event()
        self._opening = asyncio.Lock()
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @asynccontextmanager
    async def opened(self, key: str) -> AsyncIterator[str]:
        """The repository's address for one run of rustic, with a token that ends with it."""
        await self._open()
        visit = Visit(key)
        self._visits.append(visit)
        try:
            yield f"rest:http://{USER}:{quote(visit.token, safe='')}@127.0.0.1:{self._port}/"
        finally:
            self._visits.remove(visit)

    def connected(self) -> None:
        """The controller has said Welcome."""
        self._connected.set()

    def cut(self) -> None:
        """The controller is gone: what is under way would wait for ever."""
        self._connected.clear()
        for call in self._calls:
            call.cancel()

    async def close(self) -> None:
        """End it."""
        self.cut()
        if self._runner:
            await self._runner.cleanup()

    async def _open(self) -> None:
        async with self._opening:
            if self._runner is None:
                server = web.Server(self._serve, access_log=None, handler_cancellation=True)
                runner = web.ServerRunner(server, shutdown_timeout=1.0)
                await runner.setup()
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                self._runner = runner
                self._port = runner.addresses[0][1]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        visit = self._visit(request.headers.get("Authorization", ""))
        if visit is None:
            return web.Response(status=HTTPStatus.UNAUTHORIZED)
        # The path as it came: what is read as another one is not asked for.
        path = request.raw_path.partition("?")[0]
        if lock := _LOCK.fullmatch(path):
            return await _locked(visit, request, lock[1])
        if request.method == "POST" and path == "/":
            return web.Response(status=HTTPStatus.FORBIDDEN, text="no repository is made from here")
        if not _PATH.fullmatch(path):
            return web.Response(status=HTTPStatus.NOT_FOUND)
        if request.method not in ("HEAD", "GET", "POST"):
            return web.Response(status=HTTPStatus.FORBIDDEN, text="nothing is deleted from here")
        return await self._sent_on(request, f"{path}?key={quote(visit.key, safe='')}")

    def _visit(self, authorization: str) -> Visit | None:
        with suppress(ValueError):
            kind, _, shown = authorization.partition(" ")
            user, _, token = base64.b64decode(shown).decode().partition(":")
            for visit in self._visits:
                is_right = hmac.compare_digest(token.encode(), visit.token.encode())
                if kind.lower() == "basic" and user == USER and is_right:
                    return visit
        return None

    async def _sent_on(self, request: web.BaseRequest, call: str) -> web.StreamResponse:
        """Send it on; held while nobody is there, for rustic gives up where it should wait."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HELD
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._connected.wait()
            answer = await self._once(request, call)
            # Of a body that was sent there is no second one.
            if answer.status not in AGAIN or request.method == "POST" or loop.time() > deadline:
                return answer
            await asyncio.sleep(PAUSE)

    async def _once(self, request: web.BaseRequest, call: str) -> web.StreamResponse:
        """Raises ConnectionError for an answer that broke off: it must not look whole."""
        answer = web.StreamResponse()
        sending = asyncio.ensure_future(self._piped(request, call, answer))
        self._calls.add(sending)
        try:
            # Cancelled by itself when the controller goes, or with this one when rustic does.
            return await sending
        except (aiohttp.ClientError, OSError, asyncio.CancelledError) as error:
            if (here := asyncio.current_task()) and here.cancelling():
                raise
            if answer.prepared:
                raise ConnectionResetError("the answer broke off") from None
            log.info("a call for the repository broke off", reason=str(error))
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        finally:
            sending.cancel()
            self._calls.discard(sending)

    async def _piped(
        self, request: web.BaseRequest, call: str, answer: web.StreamResponse
    ) -> web.StreamResponse:
        body = request.content.iter_chunked(CHUNK) if request.method == "POST" else None
        headers = {name: request.headers[name] for name in PASSED if name in request.headers}
        async with self._session.request(
            request.method, f"{self._address}{call}", data=body, headers=headers
        ) as found:
            if found.status in AGAIN:
                return web.Response(status=found.status, body=await found.read())
            answer.set_status(found.status)
            answer.headers.update(_shown(found.headers))
            await answer.prepare(request)
            # As they come: to cut them anew would only copy them.
            async for chunk in found.content.iter_any():
                await answer.write(chunk)
            await answer.write_eof()
        return answer


def _shown(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in SHOWN if name in headers}


async def _locked(visit: Visit, request: web.BaseRequest, name: str | None) -> web.Response:
    """restic's locks, which rustic has none of: only clients of this very run see them."""
    match request.method, name:
        case "GET", None:
            return web.json_response([*visit.locks])
        case "GET" | "HEAD", str() if name in visit.locks:
            return web.Response(body=visit.locks[name])
        case "POST", str() if len(visit.locks) < LOCKS:
            visit.locks[name] = (await request.read())[:LOCK]
            return web.Response()
        case "DELETE", str() if name in visit.locks:
            del visit.locks[name]
            return web.Response()
        case _:
            return web.Response(status=HTTPStatus.NOT_FOUND)
