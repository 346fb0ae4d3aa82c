"""The repository's folder, served as restic's REST protocol: append-only.

What is there is never changed and never removed: a node that was broken into can add to the
repository, and spoil nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO

from composia.agent.uploads import Differs, Upload, WrongName
from composia.operations.messages import RESTIC_V2, ObjectCall
from composia.tools import plain_file
from composia.tools.threads import in_thread

#: Bytes read at once: few enough that they stay in the processor's cache on their way out.
CHUNK = 256 * 1024
V1 = "application/vnd.x.restic.rest.v1"
BINARY = "application/octet-stream"
KINDS = ("keys", "index", "snapshots", "data")
_OBJECT = re.compile(r"(keys|index|snapshots|data)/([0-9a-f]{64})", re.ASCII)
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})", re.ASCII)
_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; `length` in bytes where it is known beforehand."""

    status: int
    content: AsyncIterator[bytes | memoryview] | bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None


class Repository:
    """One folder in rustic's own layout. `node`: whose uploads these are, for their scratch."""

    def __init__(self, folder: Path, node: str) -> None:
        self._folder = folder.resolve()
        self._node = node

    async def answer(self, call: ObjectCall, body: AsyncIterator[bytes]) -> Answer:
        """Answer one request. Nothing outside the folder is ever touched."""
        match call.method:
            case "HEAD" | "GET":
                return await self._shown(call)
            case "POST":
                return await self._kept(call.path, body)
            case "DELETE":
                return refused("nothing is deleted here")
            case _:
                return Answer(HTTPStatus.METHOD_NOT_ALLOWED)

    async def _shown(self, call: ObjectCall) -> Answer:
        kind = call.path.removesuffix("/")
        if kind in KINDS:
            return await self._listed(kind, sizes=call.wants_sizes)
        path = self._path(call.path)
        file = await asyncio.to_thread(_opened, path, self._folder) if path else None
        return Answer(HTTPStatus.NOT_FOUND) if file is None else _content(file, call)

    async def _listed(self, kind: str, *, sizes: bool) -> Answer:
        found = await asyncio.to_thread(lambda: list(_objects(self._folder, kind)))
        listed = [{"name": name, "size": size} for name, size in found]
        shown = json.dumps(listed if sizes else [name for name, _ in found]).encode()
        headers = {"Content-Type": RESTIC_V2 if sizes else V1}
        return Answer(HTTPStatus.OK, shown, headers, len(shown))

    async def _kept(self, path: str, body: AsyncIterator[bytes]) -> Answer:
        target = self._path(path)
        if target is None:
            return Answer(HTTPStatus.NOT_FOUND)
        if path == "config":
            return refused("a repository is only made on a node that holds it")
        scratch = self._folder / f".composia-{self._node}" / secrets.token_hex(12)
        try:
            async with Upload(scratch, target, self._folder) as upload:
                async for chunk in body:
                    await upload.write(chunk)
                await upload.finish()
        except WrongName:
            return Answer(HTTPStatus.BAD_REQUEST, b"the content is not what its name says")
        except Differs:
            return refused("another content has this name")
        return Answer(HTTPStatus.OK)

    def _path(self, path: str) -> Path | None:
        if path == "config":
            return self._folder / path
        if not (found := _OBJECT.fullmatch(path)):
            return None
        kind, name = found.groups()
        return self._folder / kind / (name[:2] if kind == "data" else "") / name


def refused(why: str) -> Answer:
    """403: final, and for a reason."""
    return Answer(HTTPStatus.FORBIDDEN, why.encode())


def _opened(path: Path, folder: Path) -> IO[bytes] | None:
    """A plain file of the folder; None for anything else that may have that name.

    Raises OSError where the disk cannot tell: whoever asks must not take it for gone.
    """
    try:
        above = Path(os.path.realpath(path.parent, strict=True))
    except OSError as error:
        if plain_file.is_not_there(error):
            return None
        raise
    return plain_file.to_read(path) if above.is_relative_to(folder) else None


def _content(file: IO[bytes], call: ObjectCall) -> Answer:
    size = os.fstat(file.fileno()).st_size
    wanted = _wanted(call.range, size)
    if wanted is None:
        file.close()
        headers = {"Content-Range": f"bytes */{size}"}
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=headers)
    headers = {"Content-Type": BINARY}
    if len(wanted) < size or (call.range and size):
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
    status = HTTPStatus.PARTIAL_CONTENT if "Content-Range" in headers else HTTPStatus.OK
    if call.method == "HEAD":
        file.close()
        return Answer(status, headers=headers, length=len(wanted))
    return Answer(status, _read(file, wanted), headers, len(wanted))


def _wanted(asked: str | None, size: int) -> range | None:
    """The bytes that are asked for; None where there are none such."""
    if asked is None:
        return range(size)
    found = _RANGE.fullmatch(asked)
    if found is None:
        # What is not understood is passed over, as the protocol has it.
        return range(size)
    start = int(found[1])
    stop = min(int(found[2]) + 1, size) if found[2] else size
    return range(start, stop) if start < stop else None


async def _read(file: IO[bytes], wanted: range) -> AsyncIterator[bytes | memoryview]:
    with file:
        here = wanted.start
        while here < wanted.stop:
            size = min(CHUNK, wanted.stop - here)
            chunk: bytes | memoryview | None = _in_memory(file.fileno(), size, here)
            if not chunk:
                chunk = await in_thread(os.pread, file.fileno(), size, here)
            if not chunk:
                raise EOFError("the file has become shorter")
            here += len(chunk)
            yield chunk


def _in_memory(handle: int, size: int, start: int) -> memoryview | None:
    """What need not be waited for: a thread costs more than such a read."""
    block = bytearray(size)
    # Where it must be read from the disk, or the file system cannot tell.
    with suppress(BlockingIOError, OSError):
        return memoryview(block)[: os.preadv(handle, [block], start, os.RWF_NOWAIT)]
    return None


def _objects(folder: Path, kind: str) -> Iterator[tuple[str, int]]:
    """Names and sizes of what is there, in their order."""
    top = folder / kind
    if not top.is_dir() or not top.resolve().is_relative_to(folder):
        return
    below = sorted(path for path in top.iterdir() if path.is_dir()) if kind == "data" else [top]
    for here in below:
        for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
            if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield entry.name, entry.stat(follow_symlinks=False).st_size
