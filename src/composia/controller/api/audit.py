"""The audit log: each use of a token, and each call that had none."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog import get_logger

_log = get_logger("composia.audit")


class Audit:
    """Writes a line when a call of the API has been answered: never a token, never a body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/v1/"):
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                _note(scope, int(message["status"]))
            await send(message)

        await self._app(scope, receive, noted)


def _note(scope: Scope, status: int) -> None:
    client = scope.get("client") or ("unknown",)
    _log.info(
        "call",
        token=scope.get("state", {}).get("caller"),
        method=scope["method"],
        path=scope["path"],
        status=status,
        client=client[0],
    )
