"""What an agent that was killed has left running: programs, and containers of ours."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import structlog

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
    """Kill containers of ours, those of readings too. Raises Failure while the engine is away."""
    readings = [one.name for one in await docker.containers() if one.name.startswith(READING)]
    for name in dict.fromkeys((*names, *readings)):
        await docker.kill_and_remove(name)


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
