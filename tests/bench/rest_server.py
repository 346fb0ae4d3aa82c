"""restic's own rest-server: the machine's, or built by its Go from the published module."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.lab import paths
from tests.lab.shell import run, say

VERSION = "0.14.0"
MODULE = f"github.com/restic/rest-server@v{VERSION}"


def program() -> Path | None:
    """The program, made where it is missing; None on a machine without it and without Go."""
    if own := shutil.which("rest-server"):
        return Path(own)
    if not shutil.which("go"):
        return None
    made = paths.cache() / f"rest-server-{VERSION}"
    with paths.made_once(made) as scratch:
        if scratch:
            say(f"Building rest-server {VERSION} with Go (about a minute)")
            _build(scratch)
    return made / "rest-server"


def _build(folder: Path) -> None:
    # By its own go.mod: the versions that its authors built with.
    source = json.loads(run("go", "mod", "download", "-json", MODULE))["Dir"]
    run("go", "build", "-C", source, "-o", str(folder / "rest-server"), "./cmd/rest-server")


@asynccontextmanager
async def rest_server(program: Path, folder: Path) -> AsyncIterator[str]:
    """It serves the folder on loopback; the address for `rustic -r`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = ("--path", str(folder), "--listen", address, "--no-auth", "--append-only")
    started = await asyncio.create_subprocess_exec(
        str(program), *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        await _serving(started)
        yield f"rest:http://{address}/"
    finally:
        started.terminate()
        await started.communicate()


async def _serving(started: asyncio.subprocess.Process) -> None:
    assert started.stdout
    async with asyncio.timeout(10):
        async for line in started.stdout:
            if b"start server on" in line:
                return
    raise RuntimeError("rest-server ended before it served")
