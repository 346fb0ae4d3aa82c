"""A dead-man's ping: somebody else notices when it stays away."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import aiohttp
from pydantic import SecretStr
from structlog import get_logger

#: Seconds for one ping.
TIMEOUT = 10.0
FAILED = 400

_log = get_logger("composia.ping")


async def ping(url: SecretStr, *, well: bool) -> bool:
    """Say whether all is well. Tells whether it arrived; never raises, nor shows the address."""
    address = url.get_secret_value() if well else failing(url.get_secret_value())
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as http,
            http.get(address) as answer,
        ):
            arrived = answer.status < FAILED
            reason = f"HTTP {answer.status}"
    except (TimeoutError, aiohttp.ClientError, ValueError) as error:
        arrived, reason = False, type(error).__name__
    if not arrived and well:
        _log.warning("the ping did not arrive", reason=reason)
    return arrived


def failing(url: str) -> str:
    """As healthchecks.io has it; a service without it answers 404, which is no sign of life."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/fail"))
