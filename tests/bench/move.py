"""The outage of a move, against stopping and starting the same service where it is."""

from __future__ import annotations

import os
from pathlib import Path

from tests.bench.pairs import Pair
from tests.e2e.world import World
from tests.e2e.writing import App, wanted
from tests.lab import Lab

#: Bytes that change in the last round: what is written anew while the service is copied.
CHANGED = 10_000_000
FILE = 1_000_000
#: Seconds that a move of all the data may take.
LONGEST = 3600


def outages(lab: Lab, megabytes: int, files: int, runs: int) -> list[Pair]:
    """As a client sees them that writes every 10 ms. There and back again counts as two runs."""
    lab.reset()
    app = App(World(lab, patience=LONGEST))
    app.deploy()
    fill(app.pages("main"), megabytes, files)
    nodes = ["main", "edge"]
    pairs = []
    for _ in range(runs):
        peer = restarted(app, nodes[0])
        pairs.append(Pair(ours=moved(app, *nodes), peer=peer))
        nodes.reverse()
    return pairs


def moved(app: App, source: str, target: str) -> float:
    """Move it, while 10 MB of its data have changed since the safety copy."""
    with app.client() as client:
        client.wait_for(20)
        change(app.pages(source))
        app.world.ok(f"{app.path}/migrate", wanted(source, target))
        client.wait_for(20)
    return client.outage


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


def change(folder: Path) -> None:
    """Write the first files anew until 10 MB have changed."""
    left = CHANGED
    for path in sorted(folder.glob("*/*.bin")):
        if left <= 0:
            return
        size = min(path.stat().st_size, FILE)
        with path.open("r+b") as file:
            file.write(os.urandom(size))
        left -= size
