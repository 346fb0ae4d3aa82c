"""One process for a folder: a lock that ends with its holder, however that ends."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from composia.errors import Conflict

#: Seconds for which the lock of one that was killed may stand: what it was about to start has its
#: files open until it runs.
LINGERS = 5.0
#: Seconds between two tries.
PAUSE = 0.05


@asynccontextmanager
async def alone(folder: Path, who: str) -> AsyncIterator[None]:
    """Be the only `who` (a word for people) that works with the folder. Raises Conflict."""
    with (folder / f"{who}.lock").open("a+") as lock:
        await _taken(lock, folder, who)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


async def _taken(lock: IO[str], folder: Path, who: str) -> None:
    clock = asyncio.get_running_loop().time
    deadline = clock() + LINGERS
    while not _try(lock):
        if clock() >= deadline:
            lock.seek(0)
            raise Conflict(
                f"another {who} works with {folder}: process {lock.read().strip() or '?'}",
                hint="End it, or give this one a `state_dir` of its own.",
            )
        await asyncio.sleep(PAUSE)


def _try(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
