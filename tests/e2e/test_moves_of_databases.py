"""Promises 17 and 20 with PostgreSQL: by dump and import, and by its stopped data folder."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.world import PATIENCE, World, succeeds, until
from tests.e2e.writing import NODES, wanted

COMPOSE = """
services:
  postgres:
    image: postgres:15
    pull_policy: never
    restart: always
    environment:
      POSTGRES_PASSWORD: planted-move-secret
    healthcheck:
      test: ["CMD-SHELL", "pg_isready -qh 127.0.0.1"]
    volumes:
      - pgdata:/var/lib/postgresql/data
volumes:
  pgdata:
"""
META = """
name: {name}
nodes: [main]
data_protect:
  data:
    - name: database
      backup: {backup}
      restore: {restore}
backup:
  data: [{{name: database}}]
migrate:
  data: [{{name: database}}]
"""
PROJECT = "com.docker.compose.project"
WAYS = {
    "dump": (
        "{strategy: database.pgdumpall, service: postgres}",
        "{strategy: database.pgimport, service: postgres}",
    ),
    "files": (
        "{strategy: files.tar_after_stop, include: [pgdata]}",
        "{strategy: files.copy, include: [pgdata]}",
    ),
}


class Inserts:
    """Somebody who inserts rows wherever the database runs, and remembers those that were kept."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kept: list[int] = []

    def __enter__(self) -> Inserts:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number in itertools.count():
            if self._ended.wait(0.02):
                return
            if any(succeeds(partial(self._insert, number, node)) for node in NODES):
                self.kept.append(number)

    def _insert(self, number: int, node: str) -> bool:
        # Not in the container that dumps: a client of the service does not know that one.
        own = ["-f", f"label={PROJECT}={self._name}", "-f", "label=com.docker.compose.oneoff=False"]
        found = self._world.docker("ps", "-q", *own, node=node).split()
        words = ["psql", "-XU", "postgres", "-qc", f"insert into rows values ({number})"]
        asked = [partial(self._world.docker, "exec", one, *words, node=node) for one in found]
        return any(succeeds(one) for one in asked)

    def wait_for(self, more: int) -> None:
        goal = len(self.kept) + more
        until(lambda: len(self.kept) >= goal, "more rows")


@pytest.fixture(params=list(WAYS))
def database(world: World, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that moves in this way; its service's name."""
    world.lab.clear_failures()
    backup, restore = WAYS[request.param]
    name = f"base-{request.param}"
    meta = META.format(name=name, backup=backup, restore=restore)
    world.service(name, COMPOSE, meta)
    world.ok(f"/services/{name}/deploy")
    world.sql(name, "create table rows (n int)")
    yield name
    for node in NODES:
        if there := world.containers(name, node=node):
            world.docker("rm", "-f", *there, node=node)


def test_promise_20_a_database_moves_there_and_back_with_every_row(
    world: World, database: str
) -> None:
    with Inserts(world, database) as rows:
        rows.wait_for(5)
        there = world.ok(f"/services/{database}/migrate", wanted())
        rows.wait_for(5)
        world.ok(f"/services/{database}/migrate", wanted("edge", "main"))
        rows.wait_for(5)

    found = set(map(int, world.sql(database, "select n from rows").split()))
    assert set(rows.kept) <= found
    assert there["result"]["downtime_seconds"] < PATIENCE
    assert world.containers(database, node="edge") == []
