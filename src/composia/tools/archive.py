"""A folder as a tar stream with everything a tar can hold: owners, times, hard links, xattrs."""

from __future__ import annotations

import asyncio
import os
import tarfile
from asyncio import Future
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from composia.tools import pipes

CHUNK = 256 * 1024
#: What the names of its threads begin with.
THREAD = "packing"


async def packed(folder: Path, name: str) -> AsyncGenerator[bytes]:
    """The folder's tar, under a name of its own, as it is made."""
    reading, writing = os.pipe()
    packing = _in_its_own_thread(partial(_pack, writing, folder, name))
    reader, transport = await pipes.reader(reading, CHUNK)
    try:
        while chunk := await reader.read(CHUNK):
            yield chunk
        await packing
    finally:
        transport.close()
        # Whoever does not listen any more closes the pipe: the packing ends by that.
        with suppress(BrokenPipeError):
            await packing


def _in_its_own_thread(work: Callable[[], None]) -> Future[None]:
    """It takes as long as a person reads: all else needs the threads of the loop meanwhile."""
    alone = ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)
    working = asyncio.wrap_future(alone.submit(work))
    alone.shutdown(wait=False)
    return working


def _pack(writing: int, folder: Path, name: str) -> None:
    with (
        os.fdopen(writing, "wb") as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        _add(tar, folder, name)


def _add(tar: tarfile.TarFile, folder: Path, name: str) -> None:
    tar.errorlevel = 2
    _add_one(tar, str(folder), name)
    for parent, folders, files in os.walk(folder):
        for child in sorted([*folders, *files]):
            path = os.path.join(parent, child)
            _add_one(tar, path, os.path.join(name, os.path.relpath(path, folder)))


def _add_one(tar: tarfile.TarFile, path: str, name: str) -> None:
    info = tar.gettarinfo(path, name)
    if info is None:  # a socket: no tar holds one
        return
    info.pax_headers = {
        f"SCHILY.xattr.{attribute}": os.getxattr(path, attribute, follow_symlinks=False).decode(
            errors="surrogateescape"
        )
        for attribute in os.listxattr(path, follow_symlinks=False)
    }
    if info.isreg():
        with open(path, "rb") as file:
            tar.addfile(info, file)
    else:
        tar.addfile(info)
