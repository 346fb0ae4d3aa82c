"""The audit trail: each use of a token, written down beside the call."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog import get_logger

from composia.controller.store.audit import Use
from composia.controller.store.store import Store
from composia.controller.store.times import now
from composia.tools.cancelling import to_the_end

#: Seconds for which uses are gathered, and after which old ones are dropped.
PACE = 1.0
PRUNING = 3600.0
#: So many uses may wait to be written; a flood of calls costs no memory.
WAITING = 10_000
PREFIXES = ("/api/v1/", "/api/agent/")
#: Objects of the repository come by the thousand: of those only what was refused is noted.
OBJECTS = ("/api/agent/repository/", "/api/agent/relays/")
REFUSED = 400

_log = get_logger("composia.trail")


class Trail:
    """Uses of tokens on their way to the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uses: list[Use] = []
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Write down what comes, until `aclose`."""
        self._working = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """Write down the rest."""
        if self._working:
            self._working.cancel()
            with suppress(asyncio.CancelledError):
                await self._working
        await self.flush()

    def note(self, use: Use) -> None:
        """A token was used, or a call had none."""
        if len(self._uses) < WAITING:
            self._uses.append(use)

    async def flush(self) -> None:
        """Write down what was noted."""
        uses, self._uses = self._uses, []
        if not uses:
            return
        try:
            await self._store.note_uses(uses)
        except SQLAlchemyError:
            self._uses = [*uses, *self._uses][:WAITING]
            raise

    async def _work(self) -> None:
        pruned = float("-inf")
        while True:
            await asyncio.sleep(PACE)
            try:
                await to_the_end(self.flush())
                clock = asyncio.get_running_loop().time()
                if clock - pruned > PRUNING:
                    pruned = clock
                    await self._store.prune_uses()
            except SQLAlchemyError as error:
                _log.error("not written", reason=type(error).__name__)


class Noted:
    """Notes each call when its answer begins: never a token, never a body or a query."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or not _counts(scope):
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] in _STATUS:
                _note(scope, message.get("status", _STATUS[message["type"]]))
            await send(message)

        await self._app(scope, receive, noted)


def _counts(scope: Scope) -> bool:
    # Of the pages only what changes something: looking at them is no use of a token by itself.
    looking = scope.get("method", "GET") in ("GET", "HEAD")
    return scope["path"].startswith(PREFIXES) or not looking


#: The first message of an answer, and its status where it carries none.
_STATUS = {
    "http.response.start": 0,
    "websocket.accept": 101,
    "websocket.http.response.start": 0,
    "websocket.close": 403,
}


def _note(scope: Scope, status: int) -> None:
    state = scope.setdefault("state", {})
    if state.get("noted") or (scope["path"].startswith(OBJECTS) and status < REFUSED):
        return
    state["noted"] = True
    client = scope.get("client") or (None,)
    scope["app"].state.controller.trail.note(
        Use(
            time=now(),
            token=state.get("caller") or "-",
            method=scope.get("method", "GET"),
            path=scope["path"][:1000],
            status=status,
            client=client[0],
        )
    )
