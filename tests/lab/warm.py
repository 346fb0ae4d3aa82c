"""A process that has imported the product and forks for each start: two seconds less every time.

What it forks runs the product from `main()` on, with arguments, environment, network and log of its
own, and is killed and ends like any other. Only the tests' labs use it: elsewhere programs are
started as users start them.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: With it set, the controllers and agents of labs are forked.
VARIABLE = "COMPOSIA_LAB_WARM"
#: What a controller and an agent import, at once or when they need it.
PRODUCT = (
    "composia.agent.main", "composia.controller.serving", "composia.web",
    "aiosqlite", "alembic.command", "uvloop", "uvicorn.protocols.http.h11_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)  # fmt: skip
_NEW_NETWORK = 0x40000000
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Start:
    """What is to run: `argv` as the program would get it, and everything it shall find."""

    argv: Sequence[str]
    folder: str
    log: str
    netns: str | None
    env: Mapping[str, str]


def program(socket_file: Path) -> tuple[str, ...]:
    """How the process itself is started."""
    return (sys.executable, "-m", "tests.lab.warm", str(socket_file))


def fork(socket_file: Path, start: Start) -> int:
    """Have it forked; the pid."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(socket_file))
        asking.sendall(json.dumps(asdict(start)).encode())
        asking.shutdown(socket.SHUT_WR)
        return int(_whole(asking))


def serve(socket_file: Path) -> None:
    """Fork for whoever asks; comes back in what was forked only."""
    _import_the_product()
    # Nobody waits for what was forked: the kernel buries it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        scratch = socket_file.with_suffix(".new")
        listening.bind(str(scratch))
        listening.listen(16)
        scratch.rename(socket_file)
        while True:
            asked, _ = listening.accept()
            with asked:
                start = Start(**json.loads(_whole(asked)))
                pid = os.fork()
                if not pid:
                    break
                asked.sendall(str(pid).encode())
    _become(start)


def _import_the_product() -> None:
    gc.disable()
    for name in PRODUCT:
        importlib.import_module(name)
    from composia.model.config import Config
    from composia.tools import schema

    schema.of(Config)

    gc.freeze()
    gc.enable()


def _become(start: Start) -> None:
    """What was forked gets all that a process of its own would have."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    if start.netns:
        _enter(start.netns)
    log = os.open(start.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.chdir(start.folder)
    os.environ.clear()
    os.environ.update(start.env)
    sys.argv = list(start.argv)


def _enter(netns: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    space = os.open(f"/run/netns/{netns}", os.O_RDONLY | os.O_CLOEXEC)
    if libc.setns(space, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), f"cannot enter the network {netns}")
    os.close(space)


def _whole(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(_LIMIT):
        found += part
    return found


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
    from composia.main import main

    main()
