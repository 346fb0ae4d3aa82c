"""rustic over the gateway against rest-server, and on the folder itself, which no server beats.

Gateway, controller and the holding agent are three processes, as users run them, but on one
machine. rest-server is one process and one hop. Where all share the machine's processors, the way's
three and rustic take turns on them; `apart` gives rustic a core of its own and all servers another,
as where the nodes are machines of their own.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from tests.bench import rest_server
from tests.bench.gateway_parts import three_processes
from tests.bench.pairs import Pair
from tests.contract.gateway_world import PASSWORD, ended
from tests.lab import rustic
from tests.lab.shell import say

#: Files of the data.
FILES = 100
#: The cores of those that serve, and of rustic, when they are kept apart.
CORES = sorted(os.sched_getaffinity(0))
SERVING, WORKING = CORES[0], CORES[-1]

FOLDER = "rustic on the folder"
SERVER = f"rest-server {rest_server.VERSION}"


def relayed(megabytes: int, *, apart: bool = False) -> dict[tuple[str, str], Pair]:
    """First backup and restore of the same files, by work and peer; each in a new repository."""
    folder = Path(tempfile.mkdtemp(prefix="composia-gateway-"))
    cores = os.sched_getaffinity(0)
    try:
        if apart:
            # Inherited by all that is started here; rustic is moved away from it.
            os.sched_setaffinity(0, {SERVING})
        return uvloop.run(_relayed(folder, megabytes))
    finally:
        os.sched_setaffinity(0, cores)
        shutil.rmtree(folder)


async def _relayed(folder: Path, megabytes: int) -> dict[tuple[str, str], Pair]:
    async with three_processes(folder) as ours, _peers(folder) as peers:
        for repository in (str(folder / "repository"), *peers.values()):
            await _rustic(repository, "init", "--set-datapack-size", "8MiB")
        data = _data(folder / "data", megabytes * 1_000_000 // FILES)
        return {
            (work, peer): pair
            for work in ("backup", "restore")
            for peer, pair in (await _pairs(ours, peers, work, data)).items()
        }


def _data(folder: Path, size: int) -> Path:
    folder.mkdir()
    for number in range(FILES):
        (folder / f"file{number}").write_bytes(os.urandom(size))
    return folder


@asynccontextmanager
async def _peers(folder: Path) -> AsyncIterator[dict[str, str]]:
    """Their names and repositories."""
    found = {FOLDER: str(folder / "peer")}
    if program := rest_server.program():
        async with rest_server.rest_server(program, folder / "served") as address:
            yield {**found, SERVER: address}
    else:
        say("without rest-server: neither it nor Go is on this machine")
        yield found


async def _pairs(gateway: str, peers: Mapping[str, str], work: str, data: Path) -> dict[str, Pair]:
    ours = await _seconds(_rustic(gateway, *_words(work, data, "ours")))
    return {
        peer: Pair(ours, await _seconds(_rustic(repository, *_words(work, data, peer))))
        for peer, repository in peers.items()
    }


def _words(work: str, data: Path, who: str) -> tuple[str, ...]:
    if work == "backup":
        return ("backup", str(data))
    return ("restore", f"latest:{data}", str(data.with_name(who)))


async def _rustic(repository: str, *words: str) -> str:
    program = rustic.found()
    assert program, "bin/setup makes rustic"
    env = {"RUSTIC_REPOSITORY": repository, "RUSTIC_PASSWORD": PASSWORD}
    started = await asyncio.create_subprocess_exec(
        *_on_its_core(), str(program), "--no-progress", "--no-cache", *words,
        env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    return await ended(started)


def _on_its_core() -> tuple[str, ...]:
    return ("taskset", "-c", str(WORKING)) if os.sched_getaffinity(0) == {SERVING} else ()


async def _seconds(work: Awaitable[object]) -> float:
    os.sync()
    start = time.monotonic()
    await work
    return time.monotonic() - start
