"""A service that people write to, and a client that remembers what was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException

PORT = 8080
COMPOSE = """
services:
  web:
    image: busybox:lab
    pull_policy: never
    init: true
    restart: {restart}
    ports: ["8080:8080"]
    command:
      - sh
      - -c
      - |
        mkdir -p /srv/cgi-bin && cp /app/* /srv/cgi-bin/ && chmod 755 /srv/cgi-bin/*
        exec httpd -f -p 8080 -h /srv
    healthcheck:
      test: {health}
      interval: 30s
    volumes:
      - ./app:/app:ro
      - ./data:/data
      - pages:/pages
volumes:
  pages:
"""
HEALTH = '["CMD", "wget", "-qO-", "http://127.0.0.1:8080/cgi-bin/read"]'
WRITE = """#!/bin/sh
echo "$QUERY_STRING" >> /data/log || exit 1
printf 'Content-Type: text/plain\\n\\nkept %s\\n' "$QUERY_STRING"
"""
READ = """#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
cat /data/log 2>/dev/null
true
"""
META = """
# Where it runs is changed by nobody but its owner, and by moves.
name: {name}
nodes:
  - main   # the first one
data_protect:
  data:
    - name: data
      backup: {{strategy: {strategy}, include: [./data]}}
      restore: {{strategy: files.copy, include: [./data]}}
    - name: pages
      backup: {{strategy: files.copy, include: [pages]}}
      restore: {{strategy: files.copy, include: [pages]}}
backup:
  data: [{{name: data}}, {{name: pages}}]
migrate:
  data: [{{name: data}}, {{name: pages}}]
"""


def files(
    name: str, restart: str = "unless-stopped", strategy: str = "files.copy", health: str = HEALTH
) -> dict[str, str | None]:
    """The service's folder in the catalog."""
    return {
        f"{name}/docker-compose.yaml": COMPOSE.format(restart=restart, health=health),
        f"{name}/composia-meta.yaml": META.format(name=name, strategy=strategy),
        f"{name}/app/write": WRITE,
        f"{name}/app/read": READ,
    }


@dataclass(frozen=True)
class Answer:
    """An acknowledged write: its number, when it came, and who answered."""

    number: int
    at: float
    address: str


class Client:
    """Writes every few milliseconds, to whichever node answers, from `with` to its end."""

    def __init__(self, addresses: Sequence[str], pause: float = 0.01) -> None:
        self._addresses = list(addresses)
        self._pause = pause
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.kept: list[Answer] = []

    def __enter__(self) -> Client:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number in itertools.count():
            if self._ended.is_set():
                return
            for address in list(self._addresses):
                if ask(address, f"/cgi-bin/write?{number}") is not None:
                    self.kept.append(Answer(number, time.monotonic(), address))
                    # Whoever answered is asked first from now on.
                    self._addresses.remove(address)
                    self._addresses.insert(0, address)
                    break
            time.sleep(self._pause)

    @property
    def outage(self) -> float:
        """The longest time between two answers, in seconds."""
        times = [answer.at for answer in self.kept]
        return max((later - sooner for sooner, later in itertools.pairwise(times)), default=0.0)

    def wait_for(self, more: int) -> None:
        """Wait until so many more writes were acknowledged."""
        wanted, end = len(self.kept) + more, time.monotonic() + 60
        while len(self.kept) < wanted:
            assert time.monotonic() < end, "the service does not answer"
            time.sleep(0.02)

    def lost(self, address: str) -> list[int]:
        """Acknowledged writes that the service does not know of."""
        there = set((ask(address, "/cgi-bin/read") or "").split())
        return [answer.number for answer in self.kept if str(answer.number) not in there]


def ask(address: str, path: str) -> str | None:
    """What it answers; None where nobody does."""
    connection = HTTPConnection(address, PORT, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
