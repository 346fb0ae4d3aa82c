"""The data stream against rsync, over the same loopback: source, controller and target apart."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp

from composia.agent.wires import Wires
from composia.operations.carrying import Cargo, LastSend, Receive
from tests.contract.wires_world import WIRE, WiresWorld, wires_world
from tests.twins.site import Twins
from tests.workflow.office import ref

CARGO = (Cargo(item="bench", include=("./data",)),)
CHANGED = 100
NAMES = ("first", "first by rsync", "delta", "delta by rsync")
_CONF = """
use chroot = no
[copy]
path = {path}
read only = no
uid = 0
gid = 0
"""


def make_tree(folder: Path, megabytes: int, files: int) -> None:
    """Half of the bytes in one file, the rest in many."""
    folder.mkdir(parents=True)
    with (folder / "large").open("wb") as large:
        for _ in range(megabytes // 2):
            large.write(os.urandom(1 << 20))
    each = max(1, megabytes * (1 << 19) // files)
    for number in range(files):
        below = folder / f"{number % 100}"
        below.mkdir(exist_ok=True)
        (below / f"{number}").write_bytes(os.urandom(each))


def change_tree(folder: Path, seed: int) -> None:
    """One file in a hundred is another, and so is a page in every hundred of the large one."""
    dice = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "large")
    for path in dice.sample(files, max(1, len(files) // CHANGED)):
        path.write_bytes(os.urandom(path.stat().st_size))
    with (folder / "large").open("r+b") as large:
        pages = (folder / "large").stat().st_size // 4096
        for page in dice.sample(range(pages // CHANGED), max(1, pages // CHANGED // 10)):
            large.seek(page * 4096)
            large.write(os.urandom(4096))


class Ours:
    """Two processes of their own, and a controller's door in this one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def carry(self) -> float:
        """Seconds from "everything has stopped" to "it lies on the other node's disk"."""
        return asyncio.run(self._carry())

    async def _carry(self) -> float:
        async with wires_world() as world:
            for node in ("main", "edge"):
                world.ask(node)
            source, target = [await self._start(world, node) for node in ("main", "edge")]
            said, _ = await asyncio.gather(source.communicate(), target.communicate())
        if source.returncode or target.returncode:
            raise RuntimeError("the stream broke")
        return float(said[0])

    async def _start(self, world: WiresWorld, node: str) -> asyncio.subprocess.Process:
        arguments = ("-m", "tests.bench.carry", node, world.url, str(self._folder))
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE
        )


@contextmanager
def rsync_daemon(folder: Path) -> Iterator[list[str]]:
    """A daemon that takes copies; the command that sends it one."""
    copy = folder / "rsync-copy"
    copy.mkdir()
    conf = folder / "rsyncd.conf"
    conf.write_text(_CONF.format(path=copy))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    daemon = subprocess.Popen(
        ["rsync", "--daemon", "--no-detach", f"--config={conf}", f"--port={port}"]
    )
    source = f"{folder}/main/my-app/data/"
    try:
        time.sleep(0.5)
        yield [
            *("rsync", "-aHAX", "--numeric-ids", "--delete"),
            *(source, f"rsync://127.0.0.1:{port}/copy/"),
        ]
    finally:
        daemon.terminate()
        daemon.wait()


def carries(folder: Path, megabytes: int, files: int, runs: int) -> dict[str, list[float]]:
    """Seconds of first copies and of deltas of one in a hundred, ours and rsync's in turn."""
    shutil.rmtree(folder, ignore_errors=True)
    data = folder / "main" / "my-app" / "data"
    (folder / "edge" / "my-app").mkdir(parents=True)
    make_tree(data, megabytes, files)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    try:
        with rsync_daemon(folder) as command:
            found["first"].append(Ours(folder).carry())
            found["first by rsync"].append(_seconds(command, folder))
            for run in range(runs):
                time.sleep(3)
                change_tree(data, run)
                found["delta"].append(Ours(folder).carry())
                found["delta by rsync"].append(_seconds(command, folder))
    finally:
        shutil.rmtree(folder)
    return found


def _seconds(command: list[str], folder: Path) -> float:
    started = time.monotonic()
    subprocess.run(command, check=True)
    # Ours is on the disk when it ends.
    subprocess.run(["sync", "-f", folder], check=True)
    return time.monotonic() - started


async def _part(node: str, url: str, folder: Path) -> None:
    headers = {"Authorization": f"Bearer {node}-token"}
    async with aiohttp.ClientSession(headers=headers) as session:
        wires = Wires(session, url)
        site = replace(
            Twins(folder / node / "my-app").site,
            wire=lambda name: wires.open(f"01TASK:step:{node}:1", name),
        )
        if node == "edge":
            await Receive(service=ref(), wire=WIRE, cargo=CARGO, last=True).perform(site)
            return
        async with LastSend(CARGO, site, WIRE) as last:
            started = time.monotonic()
            await last.send()
            print(time.monotonic() - started)


if __name__ == "__main__":
    asyncio.run(_part(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
