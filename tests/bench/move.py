"""The outage of a move, against stopping and starting the same service where it is.

All the while the service writes 10 MB of its data anew, several times a second, so that they are
what changes between the last live round and the stop.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.bench.pairs import Pair
from tests.e2e.world import World
from tests.e2e.writing import App, wanted
from tests.lab import Lab

#: Bytes that the service writes anew, and the size of what it writes of a file.
CHANGED = 10_000_000
FILE = 1_000_000
#: Seconds that a move of all the data may take.
LONGEST = 3600
LAST = re.compile(r"last round: (\d+) bytes in \d+ files, ([\d.]+) s")


@dataclass(frozen=True)
class Outage(Pair):
    """What a client saw, and how many bytes went in how many seconds of it."""

    carried: int
    carrying: float


def outages(lab: Lab, megabytes: int, files: int, runs: int) -> list[Outage]:
    """As a client sees them that writes every 10 ms. There and back again counts as two runs."""
    lab.reset()
    app = App(World(lab, patience=LONGEST))
    app.deploy()
    fill(app.pages("main"), megabytes, files)
    nodes = ["main", "edge"]
    found = []
    for _ in range(runs):
        peer = restarted(app, nodes[0])
        found.append(moved(app, nodes[0], nodes[1], peer))
        nodes.reverse()
    return found


def moved(app: App, source: str, target: str, peer: float) -> Outage:
    """Move it while it writes."""
    with app.client() as client:
        client.wait_for(20)
        write_for_ever(app, source)
        task = app.world.ok(f"{app.path}/migrate", wanted(source, target))
        client.wait_for(20)
    last = LAST.search(app.world.log(task["id"]))
    assert last, "a move tells what its last round carried"
    return Outage(client.outage, peer, int(last[1]), float(last[2]))


def restarted(app: App, node: str) -> float:
    """What `compose stop` and `compose up -d` cost on the same machine."""
    folder = str(app.world.folder(app.name, node))
    raw = ["compose", "--project-directory", folder, "-p", app.name]
    with app.client() as client:
        client.wait_for(20)
        app.world.docker(*raw, "stop", node=node)
        app.world.docker(*raw, "up", "-d", node=node)
        client.wait_for(20)
    return client.outage


def fill(folder: Path, megabytes: int, files: int) -> None:
    """Files of equal size in a hundred folders."""
    size = max(megabytes * 1_000_000 // files, 1)
    for number in range(files):
        path = folder / f"{number % 100:02}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def write_for_ever(app: App, node: str) -> None:
    """In the service's own container, and so until that is stopped."""
    pages = app.pages(node)
    paths, left = [], CHANGED
    for path in sorted(pages.glob("*/*.bin")):
        if left <= 0:
            break
        size = min(path.stat().st_size, FILE)
        paths.append(f"dd if=/dev/urandom of=/pages/{path.relative_to(pages)} conv=notrunc"
                     f" bs={size} count=1 2>/dev/null")  # fmt: skip
        left -= size
    script = f"while true; do {'; '.join(paths)}; sleep 0.1; done"
    app.world.docker("exec", "-d", app.container(node), "sh", "-c", script, node=node)
