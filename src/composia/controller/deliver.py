"""One message to one target, by apprise: in a thread, for a limited time, without secrets."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

from pydantic import SecretStr

from composia.controller.wording import Message
from composia.errors import Failure

#: Seconds for one message. A thread cannot be ended: one that hangs on is left to its own limits.
TIMEOUT = 30.0
#: Messages under way at a time.
SIDE_BY_SIDE = 8
#: Shorter parts of an address are no secrets: `api`, `2525`, `v1`.
SHORT = 4


class Courier:
    """Brings messages to where apprise knows the way."""

    def __init__(self, timeout: float = TIMEOUT) -> None:
        self._timeout = timeout
        self._threads = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="notify")

    async def bring(self, url: SecretStr, message: Message) -> None:
        """Raises Failure with the reason, and never with a part of the address that is secret."""
        address = url.get_secret_value()
        sending = asyncio.get_running_loop().run_in_executor(self._threads, _send, address, message)
        try:
            reason = await asyncio.wait_for(sending, self._timeout)
        except TimeoutError:
            reason = f"it did not answer within {self._timeout:g} s"
        except Exception as error:  # whatever a plugin of apprise raises
            reason = f"apprise failed: {type(error).__name__}: {error}"
        if reason is not None:
            raise Failure(without_secrets(reason, address))

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _send(address: str, message: Message) -> str | None:
    """Why it did not arrive."""
    # All of apprise is a second's work, for those who use it.
    from apprise import Apprise, AppriseAsset, NotifyFormat, NotifyType

    _hush()
    asset = AppriseAsset(app_id="Composia", app_desc="Composia", async_mode=False)
    apprise = Apprise(asset=asset)
    if not apprise.add(address):
        return "apprise does not know such an address: see https://appriseit.com/services/"
    result = apprise.notify(
        title=message.title,
        body=message.body,
        notify_type=NotifyType(message.mood),
        body_format=NotifyFormat.TEXT,
    )
    if result:
        return None
    lines = [str(entry.message) for one in result for attempt in one for entry in attempt]
    return "; ".join(dict.fromkeys(lines)) or "it did not take the message"


def _hush() -> None:
    # What apprise says of an address would be in our log, and in clear at its lower levels.
    log = logging.getLogger("apprise")
    log.propagate = False
    log.setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    if not log.handlers:
        log.addHandler(logging.NullHandler())


def without_secrets(text: str, address: str) -> str:
    """The text, with the parts of the address covered that are not plainly public."""
    for secret in sorted(set(_secrets(address)), key=len, reverse=True):
        text = text.replace(secret, "****")
    return text


def _secrets(address: str) -> Iterator[str]:
    rest = address.partition("://")[2]
    host = re.split(r"[/?#]", rest)[0].rpartition("@")[2].partition(":")[0]
    # Some services have a token where the host stands.
    public = {host} if "." in host or host == "localhost" else set()
    for part in re.split(r"[/?#&=:@+]", rest):
        for form in (part, unquote(part)):
            if len(form) >= SHORT and form not in public:
                yield form
