"""What an agent that was killed has left running: programs, and containers of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from composia.errors import Failure, told
from composia.tools.docker import Docker

log = structlog.get_logger()

#: Every program that an agent starts inherits it, with the agent's state folder as its value.
MARKER = "COMPOSIA_AGENT_STATE"
#: Containers of readings are noted nowhere; their names begin like this.
READING = "composia-reading-"
#: Seconds for killed programs to end, and between two looks at them.
PATIENCE = 5.0
PAUSE = 0.02


def mark(state_dir: Path) -> dict[str, str]:
    """What goes into the environment of the programs of this agent."""
    return {MARKER: str(state_dir)}


def end_programs(state_dir: Path) -> int:
    """Kill the programs of an agent that had this state folder; answers how many there were.

    What the kernel does not let go, for its disk does not answer, ends before it does anything
    else: it is not waited for without end.
    """
    wanted = f"{MARKER}={state_dir}".encode()
    found: set[int] = set()
    given_up = time.monotonic() + PATIENCE
    while pids := list(_marked(wanted)):
        found.update(pids)
        for pid in pids:
            _kill(pid, wanted)
        if time.monotonic() > given_up:
            log.warning("programs of an earlier agent do not end", pids=pids)
            break
        time.sleep(PAUSE)
    return len(found)


async def end_containers(docker: Docker, names: Iterable[str]) -> None:
    """Kill containers of ours. Raises Failure where one may be at work still; all were tried."""
    wanted = list(dict.fromkeys(names))
    # By name: a list of all fails with any container that cannot be looked at.
    killing = (docker.kill_and_remove(name) for name in wanted)
    ended = await asyncio.gather(*killing, return_exceptions=True)
    for name, error in zip(wanted, ended, strict=True):
        if isinstance(error, BaseException):
            why = told(error)
            hint = why.hint or f"Try: docker rm -f {name}; if that fails too, restart the engine."
            raise Failure(f"{name}: {why.message}", hint=hint) from error


async def end_readings(docker: Docker) -> None:
    """Kill the containers of readings. Raises Failure while the engine is away."""
    for one in await docker.containers():
        if one.name.startswith(READING):
            # Nothing depends on its end.
            with suppress(Failure):
                await docker.kill_and_remove(one.name)


def _marked(wanted: bytes) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and _carries(int(name), wanted):
            yield int(name)


def _carries(pid: int, wanted: bytes) -> bool:
    # Of a process that has ended, and waits for its parent, it is empty.
    with suppress(OSError):
        return wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False


def _kill(pid: int, wanted: bytes) -> None:
    with suppress(OSError):
        handle = os.pidfd_open(pid)
        try:
            # Looked at again: the handle stays with this process, the number does not.
            if _carries(pid, wanted):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)
