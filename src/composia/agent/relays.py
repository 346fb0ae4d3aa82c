"""Calls for the repository: those of other nodes are answered, and ours find their way."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import aiohttp
import structlog

from composia.agent.bulk import Bulk, Refused
from composia.agent.gateway import Gateway
from composia.agent.holder import Holder
from composia.agent.repository import Answer
from composia.errors import ComposiaError, Conflict, Denied, Invalid, NotFound
from composia.operations.messages import ForgetCall, ObjectCall, Serve, ServingFailed

log = structlog.get_logger()

FULL = (errno.ENOSPC, errno.EDQUOT)


class Relays:
    """The calls that are being answered, and the gateway for our own."""

    def __init__(
        self, holder: Holder, bulk: Bulk, gateway: Gateway, tell: Callable[[ServingFailed], None]
    ) -> None:
        self._holder = holder
        self._bulk = bulk
        self._gateway = gateway
        self._tell = tell
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def begin(self, serve: Serve) -> None:
        """Answer it."""
        task = asyncio.create_task(self._serve(serve))
        self._tasks[serve.relay] = task
        task.add_done_callback(lambda _: self._tasks.pop(serve.relay, None))

    def stop(self, relay: str) -> None:
        """Nobody waits for it any more."""
        if task := self._tasks.get(relay):
            task.cancel()

    def connected(self) -> None:
        """The controller is there."""
        self._gateway.connected()

    def cut(self) -> None:
        """The controller is gone, and with it whoever waited."""
        self._gateway.cut()
        for task in self._tasks.values():
            task.cancel()

    async def close(self) -> None:
        """End all of them; what has not come whole leaves nothing."""
        tasks = list(self._tasks.values())
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._gateway.close()

    async def _serve(self, serve: Serve) -> None:
        try:
            await self._bulk.answer(serve.relay, await self._answer(serve))
        except Refused:
            log.info("nobody waits for an answer any more", relay=serve.relay)
        except Exception as error:
            if not isinstance(error, aiohttp.ClientError | OSError | EOFError):
                log.exception("a call for the repository broke")
            log.info("an answer broke off", reason=str(error) or type(error).__name__)
            # At once: whoever waits may ask again.
            self._tell(ServingFailed(relay=serve.relay))

    async def _answer(self, serve: Serve) -> Answer:
        try:
            return await self._found(serve)
        except ComposiaError as error:
            return Answer(_status(error), _said(error))

    async def _found(self, serve: Serve) -> Answer:
        match serve.call:
            case ObjectCall():
                return await self._object(serve, serve.call)
            case ForgetCall():
                await self._holder.forget(serve.repository, serve.relay, serve.call)
                return Answer(HTTPStatus.OK)
            case _:
                way = await self._holder.way(serve.repository, serve.relay)
                return Answer(HTTPStatus.OK, way.model_dump_json().encode())

    async def _object(self, serve: Serve, call: ObjectCall) -> Answer:
        repository = await self._holder.repository(serve.repository, serve.relay)
        body = self._bulk.body(serve.relay) if call.method == "POST" else _empty()
        try:
            return await repository.answer(call, body)
        except OSError as error:
            log.warning("the repository's disk does not do its work", reason=str(error))
            # Heard to its end: an answer before it would be lost.
            async for _ in body:
                pass
            said = f"the repository's disk: {error.strerror}".encode()
            is_full = error.errno in FULL
            return Answer(
                HTTPStatus.INSUFFICIENT_STORAGE if is_full else HTTPStatus.INTERNAL_SERVER_ERROR,
                said,
            )


async def _empty() -> AsyncIterator[bytes]:
    return
    yield b""


def _status(error: ComposiaError) -> int:
    """What is wrong with the question is final; anything else may pass."""
    match error:
        case Denied():
            return HTTPStatus.FORBIDDEN
        case Invalid() | NotFound() | Conflict():
            return HTTPStatus.CONFLICT
        case _:
            return HTTPStatus.SERVICE_UNAVAILABLE


def _said(error: ComposiaError) -> bytes:
    return error.as_told().model_dump_json().encode()
