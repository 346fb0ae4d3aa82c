"""What goes by plain HTTP beside the channel: bundles, manifests, the bytes of readings."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import IO, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from composia.agent.repository import Answer
from composia.errors import Failure, Invalid, Told
from composia.tools.rustic_way import Way

#: Bytes of a bundle: a service's folder in a catalog is text and small pictures.
LARGEST_BUNDLE = 256 * 1024 * 1024
IN_MEMORY = 4 * 1024 * 1024
CHUNK = 256 * 1024
#: Seconds for which a controller that is away is waited for, and one that does not know a key.
AWAY = 120.0
UNKNOWN = 15.0
PAUSE = 0.3
#: The headers of an answer to be passed on, and what others of it begin with.
STATUS, LENGTH, SHOWN = "Composia-Status", "Composia-Length", "Composia-Shown-"

Asked = TypeVar("Asked")


class Refused(Failure):
    """The controller answered, and not with what was asked for."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, hint="The controller's log says more.")
        self.status = status


class _Problem(BaseModel):
    """What the controller says of an error."""

    detail: str
    hint: str | None = None


class Bulk:
    """The controller's other door. Everything raises Failure where it does not answer."""

    def __init__(self, session: aiohttp.ClientSession, address: str) -> None:
        self._session = session
        self._address = f"{address.rstrip('/')}/api/agent"

    async def bundle(self, key: str, service: str) -> IO[bytes]:
        """The service's files at the revision of the question, as tar; the caller closes it."""
        url = f"{self._address}/bundles/{quote(key, safe='')}/{quote(service, safe='')}"
        return await _patiently(lambda: self._bundle(url), f"the files of {service}")

    async def keep_manifest(self, key: str, backup_id: str, manifest: bytes) -> None:
        """Leave what an item looked like with the controller; gzip JSON lines."""
        await _patiently(
            lambda: self._put(self._manifest(key, backup_id), manifest), "keeping a manifest"
        )

    async def read_manifest(self, key: str, backup_id: str) -> bytes | None:
        """The same again; None where nobody kept it."""
        url = self._manifest(key, backup_id)
        return await _patiently(lambda: self._get(url), "reading a manifest")

    async def stream(self, stream: str, chunks: AsyncIterator[bytes]) -> None:
        """Send the bytes of a reading as they come."""
        url = f"{self._address}/streams/{quote(stream, safe='')}"
        async with self._session.post(url, data=chunks) as answer:
            await _check(answer, "a reading")

    async def body(self, relay: str) -> AsyncIterator[bytes]:
        """What a node without the repository sends. Raises EOFError where it breaks off."""
        try:
            async with self._session.get(self._relay(relay)) as answer:
                await _check(answer, "the body of a call")
                async for chunk in answer.content.iter_chunked(CHUNK):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Not an OSError: those are the disk's.
            raise EOFError(f"the body of a call broke off: {error}") from error

    async def answer(self, relay: str, found: Answer) -> None:
        """Answer a call of a node without the repository."""
        headers = {f"{SHOWN}{name}": value for name, value in found.headers.items()}
        headers[STATUS] = str(int(found.status))
        if found.length is not None:
            headers[LENGTH] = str(found.length)
            if not isinstance(found.content, bytes):
                # Else each piece would be wrapped, and unwrapped again.
                headers["Content-Length"] = str(found.length)
        async with self._session.post(
            self._relay(relay), data=found.content, headers=headers
        ) as said:
            await _check(said, "an answer")

    async def way(self, key: str) -> Way:
        """How rustic is run on the repository of another node."""
        url = f"{self._address}/repository-way?key={quote(key, safe='')}"
        text = await _patiently(lambda: self._text(url), "the way to the repository")
        return Way.model_validate_json(text)

    async def forget(self, key: str, ids: Sequence[str]) -> None:
        """Have snapshots of this very task taken out of the repository."""
        url = f"{self._address}/repository-forget?key={quote(key, safe='')}"

        async def forget() -> None:
            async with self._session.post(url, json=list(ids)) as answer:
                await _check_told(answer, "to forget snapshots")

        await _patiently(forget, "forgetting snapshots")

    def _relay(self, relay: str) -> str:
        return f"{self._address}/relays/{quote(relay, safe='')}"

    async def _text(self, url: str) -> str:
        async with self._session.get(url) as answer:
            await _check_told(answer, "the way to the repository")
            return await answer.text()

    def _manifest(self, key: str, backup_id: str) -> str:
        return f"{self._address}/manifests/{quote(backup_id, safe='')}?key={quote(key, safe='')}"

    async def _bundle(self, url: str) -> IO[bytes]:
        async with self._session.get(url) as answer:
            await _check_right(answer)
            await _check(answer, "the bundle")
            kept = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
            try:
                await _spool(answer, kept)
            except BaseException:
                kept.close()
                raise
        return kept

    async def _put(self, url: str, content: bytes) -> None:
        # Without an encoding header: it is kept as it is.
        async with self._session.put(url, data=content) as answer:
            await _check(answer, "a manifest")

    async def _get(self, url: str) -> bytes | None:
        async with self._session.get(url) as answer:
            if answer.status == HTTPStatus.NOT_FOUND:
                return None
            await _check(answer, "a manifest")
            return await answer.read()


async def _patiently(ask: Callable[[], Awaitable[Asked]], what: str) -> Asked:
    """Ask until there is an answer: a controller may be restarting."""
    started = refused = time.monotonic()
    while True:
        waited = time.monotonic() - started
        try:
            return await ask()
        except Refused as error:
            # One that has just started does not know yet what it has asked before.
            refusing = time.monotonic() - refused
            if refusing > (AWAY if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR else UNKNOWN):
                raise
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if waited > AWAY:
                raise Failure(
                    f"the controller does not answer ({what}): {error}",
                    hint="Is it running, and can this node reach it?",
                ) from error
            # From here on it is another one, which may have to remember.
            refused = time.monotonic()
        await asyncio.sleep(PAUSE)


async def _spool(answer: aiohttp.ClientResponse, kept: IO[bytes]) -> None:
    size = 0
    async for chunk in answer.content.iter_chunked(CHUNK):
        size += len(chunk)
        if size > LARGEST_BUNDLE:
            raise Failure(
                f"the service's folder has more than {LARGEST_BUNDLE // 1024**2} MiB",
                hint="Keep data out of the catalog: what containers write belongs on the node.",
            )
        kept.write(chunk)
    kept.seek(0)


async def _check_told(answer: aiohttp.ClientResponse, what: str) -> None:
    """The same for what another node answers: raises what it told, or Refused for what may pass."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        with suppress(ValidationError):
            told = Told.model_validate_json(await answer.read())
            if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Refused(told.message, answer.status)
            raise told.as_error()
    await _check(answer, what)


async def _check_right(answer: aiohttp.ClientResponse) -> None:
    """Raises Invalid for what is wrong in the catalog: asking again would not mend it."""
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        with suppress(ValidationError):
            said = _Problem.model_validate_json(await answer.read())
            raise Invalid(said.detail, hint=said.hint)


async def _check(answer: aiohttp.ClientResponse, what: str) -> None:
    if answer.status < HTTPStatus.BAD_REQUEST:
        return
    said = await answer.text(errors="replace")
    try:
        said = str(json.loads(said)["detail"])
    except (ValueError, KeyError, TypeError):
        said = said[:200]
    raise Refused(f"the controller refused {what} ({answer.status}): {said}", answer.status)
