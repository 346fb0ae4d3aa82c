"""The processes of one lab: started detached, recorded by pid and start time, ended by those."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tests.lab import paths, warm
from tests.lab.shell import LabError

# Every process of a lab inherits these variables, so those that were never recorded are found too.
MARKER = "COMPOSIA_LAB_STATE"
NAME = "COMPOSIA_LAB_PROCESS"
WARM = "warm"
# With it set, Python would compile all that the product imports at each of its starts.
SLOW = "PYTHONDONTWRITEBYTECODE"
#: Seconds for what was killed to be gone, and for what was started to serve: a busy machine's.
GONE, SERVES = 60.0, 120.0


class Processes:
    """Starts, finds and ends a lab's processes by name."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.records = state / "processes.json"
        # Nodes are started side by side, and all share one file.
        self.lock = threading.Lock()

    def start(
        self,
        name: str,
        argv: Iterable[str | Path],
        netns: str | None = None,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> int:
        """Start `argv` in its own session with its output in a log file; give its pid."""
        words = [str(word) for word in argv]
        if netns:
            # Not `ip netns exec`: it remounts /sys and hides the cgroups from the engine.
            words = ["nsenter", f"--net=/run/netns/{netns}", "--", *words]
        with self.log(name).open("ab") as out:
            process = subprocess.Popen(
                words,
                cwd=folder or self.state,
                env=self._environment(name, env or os.environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        # It outlives this object, which need not warn of that: `start_time` reaps it.
        process.returncode = 0
        self._record(name, process.pid)
        return process.pid

    def start_product(
        self,
        name: str,
        argv: Iterable[str | Path],
        netns: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:
        """`start` for the product's program; forked where the tests ask for that."""
        if not os.environ.get(warm.VARIABLE):
            return self.start(name, argv, netns, env)
        words = tuple(str(word) for word in argv)
        environment = self._environment(name, env or os.environ)
        start = warm.Start(words, str(self.state), str(self.log(name)), netns, environment)
        pid = warm.fork(self._warm(), start)
        self._record(name, pid)
        return pid

    def warm_up(self) -> None:
        """Start what forks, so that it has imported the product when it is needed."""
        if os.environ.get(warm.VARIABLE) and self.pid(WARM) is None:
            self._warm_socket.unlink(missing_ok=True)
            self.start(WARM, warm.program(self._warm_socket), folder=paths.ROOT)

    def _warm(self) -> Path:
        self.warm_up()
        wait_until("the product's import", self._warm_socket.is_socket)
        return self._warm_socket

    @property
    def _warm_socket(self) -> Path:
        return self.state / "warm.sock"

    def _environment(self, name: str, env: Mapping[str, str]) -> dict[str, str]:
        kept = {key: value for key, value in env.items() if key != SLOW}
        return {**kept, MARKER: str(self.state), NAME: name}

    def pid(self, name: str) -> int | None:
        """The pid of a running process, or None."""
        record = self._load().get(name)
        if record and start_time(record["pid"]) == record["start"]:
            return int(record["pid"])
        return None

    def end(self, name: str, gently: bool = False) -> None:
        """End one process, by SIGTERM first if `gently`, and wait until it is gone."""
        pid = self.pid(name)
        if pid is not None:
            if gently:
                _signal(pid, signal.SIGTERM)
                wait_gone([pid], seconds=3)
            if self.pid(name):
                _signal(pid, signal.SIGKILL)
            wait_gone([pid])
        self._forget(name)

    def end_family(self, name: str) -> None:
        """SIGKILL a process and all it started, by any way, and wait until they are gone."""
        self.end(name)
        end_pids(lambda: self._marked(f"{NAME}={name}"))

    def end_all(self) -> None:
        """End everything: what is recorded, then whatever else carries the lab's marker."""
        for name in list(self._load()):
            self.end(name)
        end_pids(self._marked)

    def _marked(self, *more: str) -> list[int]:
        """The pids whose environment has the lab's marker, and `more`."""
        wanted = {text.encode() for text in (f"{MARKER}={self.state}", *more)}
        return [
            pid
            for pid in _pids()
            if pid != os.getpid()
            and wanted.issubset(_read(pid, "environ").split(b"\0"))
            and start_time(pid)
        ]

    def log(self, name: str) -> Path:
        """The file with the process's stdout and stderr."""
        folder = self.state / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name.replace(':', '-')}.log"

    def _load(self) -> dict[str, dict[str, int]]:
        if not self.records.exists():
            return {}
        found: dict[str, dict[str, int]] = json.loads(self.records.read_text())
        return found

    def _record(self, name: str, pid: int) -> None:
        with self.lock:
            self._store({**self._load(), name: {"pid": pid, "start": start_time(pid) or 0}})

    def _forget(self, name: str) -> None:
        with self.lock:
            self._store({key: record for key, record in self._load().items() if key != name})

    def _store(self, records: dict[str, dict[str, int]]) -> None:
        if self.state.exists():
            write_whole(self.records, json.dumps(records, indent=2))


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text)
    scratch.rename(path)


def end_pids(find: Callable[[], Iterable[int]], seconds: float = GONE) -> None:
    """SIGKILL what `find` names until it names nothing."""
    deadline = time.monotonic() + seconds
    while pids := list(find()):
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise LabError(f"processes {pids} do not end")
        wait_gone(pids, seconds=1)


def wait_gone(pids: Iterable[int], seconds: float = GONE) -> None:
    """Wait until the processes are gone or the time is over."""
    left, deadline = list(pids), time.monotonic() + seconds
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if start_time(pid)]
        if left:
            time.sleep(0.01)


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks after boot; None for one that is gone or a zombie."""
    _reap(pid)
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    if not fields or fields[0] in (b"Z", b"X"):
        return None
    return int(fields[19])


def wait_until(what: str, holds: Callable[[], bool], seconds: float = SERVES) -> None:
    """Wait until `holds()`; an error that says `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.03)


def _reap(pid: int) -> None:
    with suppress(OSError):
        os.waitpid(pid, os.WNOHANG)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _signal(pid: int, number: signal.Signals) -> None:
    if pid <= 1 or pid == os.getpid():
        raise LabError(f"refusing to signal process {pid}")
    with suppress(ProcessLookupError):
        os.kill(pid, number)
