"""Applications of other people, from Debian, and the clients they have themselves."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import redis

from tests.e2e.world import World, succeeds, until
from tests.lab import packages, paths
from tests.lab.images import PATH, POSTGRES_SUITE, WASTE, Image
from tests.lab.shell import logged

NODES = ("main", "edge")
PACKAGES = "redis-server,git,ca-certificates"
META = """
name: {name}
nodes: [main]
data_protect:
  data:
    - name: data
      backup: {{strategy: files.copy, include: [{source}]}}
      restore: {{strategy: files.copy, include: [{source}]}}
backup:
  data: [{{name: data}}]
migrate:
  data: [{{name: data}}]
"""
REDIS_COMPOSE = """
services:
  redis:
    image: redis:7
    pull_policy: never
    restart: unless-stopped
    network_mode: host
    volumes: ["data:/data"]
    command: redis-server --dir /data --appendonly yes --appendfsync always --protected-mode no
    healthcheck: {test: [CMD, redis-cli, ping], interval: 2s}
volumes: {data: {}}
"""
GIT_COMPOSE = """
services:
  git:
    image: git:daemon
    pull_policy: never
    restart: unless-stopped
    init: true
    network_mode: host
    volumes: ["./repositories:/srv/git"]
    command: git daemon --reuseaddr --export-all --enable=receive-pack --base-path=/srv/git /srv/git
"""


def _debian(tree: Path, log: Path) -> None:
    """A small Debian with both servers and their own clients."""
    source = (POSTGRES_SUITE, str(tree), packages.mirror())
    logged(log, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", *source)
    for path in WASTE:
        shutil.rmtree(tree / path, ignore_errors=True)


IMAGE = Image(
    "applications",
    _debian,
    {"redis:7": (f"ENV {PATH}",), "git:daemon": (f"ENV {PATH} HOME=/tmp",)},
    (PACKAGES, WASTE),
)


def bring_images(world: World, scratch: Path) -> None:
    """Have the same ones on both nodes."""
    IMAGE.build(paths.cache() / "logs" / "image-applications.log")
    IMAGE.load(world.docker)
    saved = str(scratch / "images.tar")
    world.docker("save", "-o", saved, *IMAGE.variants)
    world.docker("load", "-qi", saved, node="edge")


class Application(ABC):
    """One of them, with a client that uses it all the time and remembers what was acknowledged."""

    name: str

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._use, daemon=True)

    def __enter__(self) -> Application:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    @abstractmethod
    def deploy(self) -> None:
        """Start it on main."""

    @abstractmethod
    def write(self, number: int, address: str) -> None:
        """Have it keep a number. Raises when it did not say that it has."""

    @abstractmethod
    def found(self, node: str) -> set[int]:
        """The numbers that it knows of, as a client there is told."""

    def wait_for(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        goal = len(self.kept) + more
        until(lambda: len(self.kept) >= goal, f"{more} more answers of {self.name}")

    def end(self) -> None:
        """Stop it wherever it runs: what it leaves is the lab's."""
        for node in NODES:
            if there := self.world.containers(self.name, node=node):
                self.world.docker("rm", "-f", *there, node=node)

    def address(self, node: str) -> str:
        return self.world.lab.nodes[node].address

    def _use(self) -> None:
        for number in itertools.count():
            if self._ended.wait(0.05):
                return
            asked = (partial(self.write, number, self.address(node)) for node in NODES)
            if any(succeeds(one) for one in asked):
                self.kept.append(number)


class Redis(Application):
    """Redis with its append-only file, in a volume."""

    name = "cache"

    def deploy(self) -> None:
        meta = META.format(name=self.name, source="data")
        self.world.service(self.name, REDIS_COMPOSE, meta)
        self.world.ok(f"/services/{self.name}/deploy")

    def write(self, number: int, address: str) -> None:
        with _redis_at(address) as client:
            client.rpush("numbers", number)
            if number % 100 == 99:
                # The file that is being copied is replaced by a shorter one.
                client.bgrewriteaof()

    def found(self, node: str) -> set[int]:
        with _redis_at(self.address(node), patience=60) as client:
            return {int(number) for number in client.lrange("numbers", 0, -1)}


class Git(Application):
    """A Git server, in a folder; every number is a commit that is pushed."""

    name = "git"

    def __init__(self, world: World, scratch: Path) -> None:
        super().__init__(world)
        self._work = scratch / "work"

    def deploy(self) -> None:
        self.world.service(
            self.name, GIT_COMPOSE, META.format(name=self.name, source="./repositories")
        )
        folder = self.world.folder(self.name) / "repositories/project.git"
        folder.mkdir(parents=True)
        _run("git", "init", "-q", "--bare", "-b", "main", str(folder))
        _run("git", "init", "-q", "-b", "main", str(self._work))
        self.world.ok(f"/services/{self.name}/deploy")

    def write(self, number: int, address: str) -> None:
        (self._work / str(number)).write_text(f"{number}\n" * 100)
        _run("git", "-C", str(self._work), "add", "-A")
        who = ("-c", "user.name=Client", "-c", "user.email=client@example.com")
        _run("git", "-C", str(self._work), *who, "commit", "-qm", str(number), "--allow-empty")
        _run("git", "-C", str(self._work), "push", "-q", _project(address), "main")

    def found(self, node: str) -> set[int]:
        copy = self._work.parent / f"clone-{node}-{len(self.kept)}"
        _run("git", "clone", "-q", _project(self.address(node)), str(copy))
        _run("git", "-C", str(copy), "fsck", "--full", "--strict")
        return {int(path.name) for path in copy.iterdir() if path.name.isdigit()}


def ends(applications: Sequence[Application]) -> None:
    """Stop all of them."""
    for one in applications:
        one.end()


def _redis_at(address: str, patience: float = 2) -> redis.Redis:
    return redis.Redis(host=address, socket_timeout=patience, socket_connect_timeout=patience)


def _project(address: str) -> str:
    return f"git://{address}/project.git"


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)
