"""Ratios against a named peer: the raw compose client, the bare rustic binary, and rsync."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from tests.bench import pages
from tests.bench.carry import carries
from tests.bench.gateway import relayed
from tests.bench.memory import grown
from tests.bench.move import outages
from tests.bench.pairs import Pair
from tests.e2e import services
from tests.e2e.world import World
from tests.lab import Lab
from tests.lab.rustic import program

FILES = 10_000
#: Megabytes that move, where nothing else is asked for.
CARRIED = {"carry": 1000, "gateway": 1000, "move": 10_000, "memory": 20_000}
EVERY = ("deploy", "backup", "restore", "move", "memory", "carry", "gateway", "pages")


def main() -> None:
    """Measure what was asked for, and print a line for each."""
    options = read_options()
    if "pages" in options.what:
        report_pages()
    if "carry" in options.what:
        report_carries(carried(options, "carry"), options.copies)
    if "gateway" in options.what:
        report_relays(carried(options, "gateway"), options.copies)
    if {"deploy", "backup", "restore"} & set(options.what):
        measure_in_a_lab(options)
    if "move" in options.what:
        report_moves(options)
    if "memory" in options.what:
        report_memory(carried(options, "memory"))


def measure_in_a_lab(options: argparse.Namespace) -> None:
    """What needs an engine."""
    lab = Lab.up("bench", nodes=["main"])
    try:
        if "deploy" in options.what:
            report("deploy with nothing to do", "docker compose up -d", deploys(lab, options.runs))
        if {"backup", "restore"} & set(options.what):
            backups, restores = copies(lab, options.megabytes, options.copies)
            size = f"{options.megabytes} MB in {FILES:,} files"
            report(f"first backup of {size}", "rustic backup", backups)
            report(f"restore of {size}", "rustic restore", restores)
    finally:
        lab.down()


def report_pages() -> None:
    """What the server takes for each page, and what a browser loads."""
    print(f"pages, with {pages.SERVICES} services and {pages.BACKUPS:,} backups:", flush=True)
    for found in pages.measure():
        print(found, flush=True)


def report_moves(options: argparse.Namespace) -> None:
    """The outage of a move must not grow with the data."""
    lab = Lab.up("bench", nodes=["main", "edge"])
    try:
        most = carried(options, "move")
        sizes = [(most // part, 1000) for part in (100, 10, 1)]
        for megabytes, files in (*sizes, (most, 20_000)):
            found = outages(lab, megabytes, files, options.copies)
            what = f"outage of a move, {megabytes} MB in {files:,} files"
            report(what, "docker compose stop, up -d", found)
            last = statistics.median(one.carried for one in found) / 1e6
            carrying = statistics.median(one.carrying for one in found)
            print(f"  of which {carrying:.2f} s carried {last:.1f} MB", flush=True)
    finally:
        lab.down()


def report_memory(megabytes: int) -> None:
    """What goes by must not pile up anywhere."""
    lab = Lab.up("bench", nodes=["main", "edge"])
    try:
        print(f"memory while {megabytes} MB move, at its peak over what it was before:")
        for process, found in grown(lab, megabytes).items():
            print(f"  {process:12} {found:+.0f} MB", flush=True)
    finally:
        lab.down()


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/bench", description=__doc__)
    parser.add_argument("what", nargs="*", help=f"of {', '.join(EVERY)}; by default all")
    parser.add_argument("--megabytes", type=int, default=5000, help="size of the data")
    told = ", ".join(f"{what} {size}" for what, size in CARRIED.items())
    parser.add_argument("--carried", type=int, help=f"megabytes that move; by default {told}")
    parser.add_argument("--runs", type=int, default=10, help="pairs of deploys")
    parser.add_argument("--copies", type=int, default=3, help="pairs of backups and restores")
    options = parser.parse_args()
    if unknown := set(options.what) - set(EVERY):
        parser.error(f"{', '.join(sorted(unknown))}: only {', '.join(EVERY)} can be measured")
    options.what = options.what or list(EVERY)
    return options


def carried(options: argparse.Namespace, what: str) -> int:
    """Megabytes that move."""
    return options.carried or CARRIED[what]


def report(what: str, peer: str, pairs: Sequence[Pair]) -> None:
    """The median and the spread of the ratios, and of the differences."""
    ratios = [pair.ours / pair.peer for pair in pairs]
    extra = [pair.ours - pair.peer for pair in pairs]
    ours = statistics.median(pair.ours for pair in pairs)
    theirs = statistics.median(pair.peer for pair in pairs)
    print(
        f"{what}, against {peer}, {len(ratios)} pairs:\n"
        f"  ratio   {statistics.median(ratios):.2f}  ({min(ratios):.2f} to {max(ratios):.2f})\n"
        f"  seconds {statistics.median(extra):+.2f} ({min(extra):+.2f} to {max(extra):+.2f})\n"
        f"  medians {ours:.2f} s and {theirs:.2f} s",
        flush=True,
    )


def report_relays(megabytes: int, runs: int) -> None:
    """The way to the repository of another node."""
    for apart, where in ((False, ""), (True, ", rustic on a core of its own")):
        found = [relayed(megabytes, apart=apart) for _ in range(runs)]
        for what, peer in found[0]:
            pairs = [one[what, peer] for one in found]
            report(f"{what} of {megabytes} MB over the gateway{where}", peer, pairs)


def report_carries(megabytes: int, runs: int) -> None:
    """The first copy to another node, and what has changed since."""
    folder = Path(tempfile.mkdtemp(prefix="composia-carry-"))
    found = carries(folder / "nodes", megabytes, FILES, runs)
    size = f"{megabytes} MB in {FILES:,} files"
    for what, ours, peer in (
        (f"first copy of {size}", "first", "first by rsync"),
        (f"copy of the one in a hundred that changed in {size}", "delta", "delta by rsync"),
    ):
        pairs = [Pair(*both) for both in zip(found[ours], found[peer], strict=True)]
        report(what, "rsync -aHAX --numeric-ids --delete", pairs)
    folder.rmdir()


def deploys(lab: Lab, runs: int) -> list[Pair]:
    """A deploy that changes nothing, by the API and by compose itself."""
    lab.reset()
    world = World(lab)
    world.service("bench", services.files_compose(), services.files_meta("bench"))
    world.ok("/services/bench/deploy")
    folder = str(world.folder("bench"))
    raw = ["compose", "--project-directory", folder, "-p", "bench", "up", "-d"]
    return [
        Pair(
            ours=seconds(lambda: world.ok("/services/bench/deploy")),
            peer=seconds(lambda: world.docker(*raw)),
        )
        for _ in range(runs)
    ]


def copies(lab: Lab, megabytes: int, runs: int) -> tuple[list[Pair], list[Pair]]:
    """First backups and restores of the same files, each into a new repository."""
    source = lab.state.parent / "bench-source"
    try:
        make_files(source, megabytes)
        pairs = [copy_once(lab, source, ours_first=number % 2 == 0) for number in range(runs)]
    finally:
        shutil.rmtree(source, ignore_errors=True)
    return [backup for backup, _ in pairs], [restore for _, restore in pairs]


def copy_once(lab: Lab, source: Path, *, ours_first: bool) -> tuple[Pair, Pair]:
    """A first backup and a restore by both: who comes first may find the disk otherwise."""
    lab.reset()
    ours, peer = Ours(lab, source), Rustic(lab.state.parent / "bench-peer", source)
    tools: list[Tool] = [ours, peer] if ours_first else [peer, ours]
    try:
        backups = {tool: seconds(tool.backup, reads=tool.source) for tool in tools}
        restores = {tool: seconds(tool.restore, reads=tool.repository) for tool in tools}
    finally:
        shutil.rmtree(peer.folder)
    return Pair(backups[ours], backups[peer]), Pair(restores[ours], restores[peer])


class Tool(Protocol):
    """What backs up and restores; its repository is there already."""

    source: Path
    repository: Path

    def backup(self) -> None: ...

    def restore(self) -> None: ...


class Ours:
    """A service of the lab, with the same bytes as its uploads."""

    def __init__(self, lab: Lab, source: Path) -> None:
        self._world = World(lab)
        self.repository = lab.repository
        self._world.service("bench", services.files_compose(), services.files_meta("bench"))
        self._world.ok("/services/bench/deploy")
        # As the peer's: with rustic's own key.
        self._world.done("/repository/init")
        self.source = self._world.folder("bench") / "data/uploads"
        self.source.rmdir()
        subprocess.run(["cp", "-al", source, self.source], check=True)

    def backup(self) -> None:
        self._world.done("/services/bench/backup", {"data_items": ["uploads"]})

    def restore(self) -> None:
        self._world.done("/services/bench/restore", {"data_items": ["uploads"]})


class Rustic:
    """The bare binary, with a repository of its own beside the lab."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = folder
        self.source = source
        self.repository = folder / "repo"
        folder.mkdir(parents=True)
        self("init", "--set-datapack-size", "8MiB")

    def __call__(self, *words: str) -> None:
        env = {"RUSTIC_PASSWORD": "bench", "RUSTIC_REPOSITORY": str(self.repository)}
        argv = [str(program(self.folder / "build.log")), "--no-cache", "--no-progress", *words]
        env = {**os.environ, **env}
        subprocess.run(argv, env=env, check=True, capture_output=True)

    def backup(self) -> None:
        self("backup", str(self.source))

    def restore(self) -> None:
        self("restore", "latest", str(self.folder / "restored"))


def make_files(folder: Path, megabytes: int) -> None:
    """Random files of equal size in a hundred folders."""
    size = megabytes * 1_000_000 // FILES
    for number in range(FILES):
        path = folder / f"{number % 100:02}" / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def seconds(work: Callable[[], object], reads: Path | None = None) -> float:
    """How long it takes, on a disk that owes nothing, with what it reads (alone) in memory."""
    os.sync()
    if reads:
        Path("/proc/sys/vm/drop_caches").write_text("3")
        for path in reads.rglob("*"):
            if path.is_file():
                path.read_bytes()
    start = time.monotonic()
    work()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
