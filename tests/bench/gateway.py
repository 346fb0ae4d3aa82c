"""rustic over the gateway against rustic on the folder itself, which no server can beat.

Gateway, controller and the holding node's agent share one process here: on nodes they do not.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import uvloop

from tests.bench.pairs import Pair
from tests.contract.gateway_world import PASSWORD, GatewayWorld, ended, gateway_world
from tests.lab import rustic

#: Files of the data.
FILES = 100


def relayed(megabytes: int) -> tuple[Pair, Pair]:
    """First backup and restore of the same files, each into a new repository."""
    folder = Path(tempfile.mkdtemp(prefix="composia-gateway-"))
    try:
        return uvloop.run(_relayed(folder, megabytes))
    finally:
        shutil.rmtree(folder)


async def _relayed(folder: Path, megabytes: int) -> tuple[Pair, Pair]:
    async with gateway_world(folder) as world:
        peer = folder / "peer"
        for repository in (world.repository, peer):
            await _local(repository, "init", "--set-datapack-size", "8MiB")
        data = world.data(size=megabytes * 1_000_000 // FILES, files=FILES)
        return await _pair(world, peer, data), await _back(world, peer, data)


async def _pair(world: GatewayWorld, peer: Path, data: Path) -> Pair:
    return Pair(
        ours=await _seconds(world.rustic("backup", str(data))),
        peer=await _seconds(_local(peer, "backup", str(data))),
    )


async def _back(world: GatewayWorld, peer: Path, data: Path) -> Pair:
    words = ("restore", f"latest:{data}")
    return Pair(
        ours=await _seconds(world.rustic(*words, str(data.with_name("ours")))),
        peer=await _seconds(_local(peer, *words, str(data.with_name("theirs")))),
    )


async def _local(repository: Path, *words: str) -> str:
    program = rustic.found()
    assert program, "bin/setup makes rustic"
    env = {"RUSTIC_REPOSITORY": str(repository), "RUSTIC_PASSWORD": PASSWORD}
    started = await asyncio.create_subprocess_exec(
        str(program), "--no-progress", "--no-cache", *words,
        env={**os.environ, **env}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    return await ended(started)


async def _seconds(work: Awaitable[object]) -> float:
    start = time.monotonic()
    await work
    return time.monotonic() - start
