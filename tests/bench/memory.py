"""What the memory of the controller and of the agents grows by while a service's data goes by."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from tests.bench.move import LONGEST, fill
from tests.e2e.world import World
from tests.e2e.writing import App, wanted
from tests.lab import Lab

PROCESSES = ("controller", "agent:main", "agent:edge")
#: Megabytes of a file, and of what is repeated in it: the safety copy keeps that only once.
FILE, REPEATED = 1000, 50


def grown(lab: Lab, megabytes: int) -> Mapping[str, float]:
    """Megabytes by process: its peak during the move of so much over what it had before.

    It has moved a little service there and back by then, so that all it needs is imported.
    """
    lab.reset()
    app = App(World(lab, patience=LONGEST))
    app.deploy()
    fill(app.pages("main"), 10, 100)
    for source, target in (("main", "edge"), ("edge", "main")):
        app.world.ok(f"{app.path}/migrate", wanted(source, target))
    _fill_whole(app.pages("main"), megabytes)
    before = {process: _memory(_pid(lab, process), "VmRSS") for process in PROCESSES}
    for process in PROCESSES:
        _forget_peak(_pid(lab, process))
    app.world.ok(f"{app.path}/migrate", wanted("main", "edge"))
    return {
        process: _memory(_pid(lab, process), "VmHWM") - before[process] for process in PROCESSES
    }


def _fill_whole(folder: Path, megabytes: int) -> None:
    block = os.urandom(REPEATED * 1_000_000)
    for number in range(max(megabytes // FILE, 1)):
        with (folder / f"whole-{number}.bin").open("wb") as file:
            for part in range(FILE // REPEATED):
                file.write(f"{number} {part}".encode())
                file.write(block)


def _pid(lab: Lab, process: str) -> int:
    pid = lab.pid(process)
    assert pid, f"{process} has ended"
    return pid


def _memory(pid: int, line: str) -> float:
    found = re.search(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert found
    return int(found[1]) / 1000


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
