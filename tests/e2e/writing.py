"""A service that people write to, and a client that remembers what was acknowledged."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from tests.e2e import https, trees
from tests.e2e.world import World, until
from tests.lab.dns import ZONE

NODES = ("main", "edge")
#: Seconds that a look may take, and an answer that must come.
GLANCE, PATIENCE = 2.0, 20.0
COMPOSE = """
services:
  web:
    image: busybox:lab
    pull_policy: never
    init: true
    restart: {restart}
    ports: ["{port}:8080"]
    command:
      - sh
      - -c
      - |
        mkdir -p /srv/cgi-bin && cp /app/* /srv/cgi-bin/ && chmod 755 /srv/cgi-bin/*
        touch /srv/active
        exec httpd -f -p 8080 -h /srv
    healthcheck:
      test: {health}
      interval: {interval}
    volumes:
      - ./app:/app:ro
      - ./data:/data
      - pages:/pages
{more_compose}
volumes:
  pages:
"""
#: Its site: the lab's Caddy reaches the port by the node's own name.
FRAGMENT = """{host} {{
\treverse_proxy host.docker.internal:{port}
}}
"""
SITE = """network:
  caddy: {{source: ./Caddyfile.fragment}}
  dns: {{provider: ddns, hostname: {host}}}
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
{more}"""


class App:
    """One such service, with a port of its own on every node."""

    numbers = itertools.count(1)

    def __init__(self, world: World) -> None:
        self.world = world
        self.number = next(App.numbers)
        self.name = f"app{self.number}"
        self.port = 8080 + self.number
        self.host = f"{self.name}.{ZONE}"

    def files(
        self,
        restart: str = "unless-stopped",
        strategy: str = "files.copy",
        health: str = HEALTH,
        interval: str = "10s",
        more: str = "",
        more_compose: str = "",
    ) -> dict[str, str | None]:
        """Its folder in the catalog; `more_compose`: further compose services."""
        compose = COMPOSE.format(
            restart=restart,
            health=health,
            interval=interval,
            port=self.port,
            more_compose=more_compose,
        )
        return {
            f"{self.name}/docker-compose.yaml": compose,
            f"{self.name}/composia-meta.yaml": META.format(
                name=self.name, strategy=strategy, more=more
            ),
            f"{self.name}/app/write": WRITE,
            f"{self.name}/app/read": READ,
        }

    def deploy_with_site(self, **options: str) -> None:
        """The same with a site in front of it, and a name; `infra-caddy` is deployed already."""
        fragment = FRAGMENT.format(host=self.host, port=self.port)
        files = self.files(more=SITE.format(host=self.host), **options)
        self._deploy({**files, f"{self.name}/Caddyfile.fragment": fragment})
        self.world.ok(f"{self.path}/dns-update")
        until(lambda: self.serves("main"), "its site")

    def serves(self, node: str) -> bool:
        """Whether the service answers over HTTPS, by its name, at a node's address."""
        try:
            found = https.get(self.address(node)[0], self.host, None, "/cgi-bin/read", GLANCE)
        except (OSError, HTTPException):
            return False
        return found.status == 200

    def deploy(self, **options: str) -> None:
        """Start it on main, with some pages."""
        self._deploy(self.files(**options))

    def _deploy(self, files: Mapping[str, str | None]) -> None:
        self.world.commit(files)
        self.world.ok(f"{self.path}/deploy")
        trees.fill(self.pages("main"))
        until(lambda: self.read("main") == [], "the service")
        # The agent tells of it a moment later; what is asked next may be planned by that.
        until(lambda: self.shown() == ["main"], "the service on the page")

    def end(self) -> None:
        """Stop it wherever it runs, and free its networks, of which an engine has few."""
        for node in NODES:
            if there := self.world.containers(self.name, node=node):
                self.world.docker("rm", "-f", *there, node=node)
            of_it = f"label=com.docker.compose.project={self.name}"
            if networks := self.world.docker("network", "ls", "-qf", of_it, node=node).split():
                self.world.docker("network", "rm", *networks, node=node)

    @property
    def path(self) -> str:
        return f"/services/{self.name}"

    @property
    def meta(self) -> str:
        """Its composia-meta.yaml."""
        return self.world.get(f"/catalog/files/{self.name}/composia-meta.yaml").text

    def pages(self, node: str) -> Any:
        return self.world.volume(f"{self.name}_pages", node)

    def address(self, node: str) -> tuple[str, int]:
        return self.world.lab.nodes[node].address, self.port

    def container(self, node: str = "main") -> str:
        return self.world.container(self.name, "web", node)

    def started(self) -> str:
        """When its container on main was started, as its engine says: another one after a stop."""
        words = ["inspect", "-f", "{{.Id}} {{.State.StartedAt}}", self.container()]
        return self.world.docker(*words)

    def active(self) -> list[str]:
        """The nodes on which a container of it runs."""
        return [one for one in NODES if self.world.containers(self.name, node=one, running=True)]

    def answers(self, node: str) -> bool:
        """Whether it is there; asked often, so no program is started for it."""
        return ask(self.address(node), "/active") is not None

    def shown(self) -> list[str]:
        """The nodes on which the controller shows it running."""
        instances = self.world.get(self.path).json()["instances"]
        return [
            one["node"]
            for one in instances
            if any(container["state"] == "running" for container in one["containers"])
        ]

    def write(self, node: str, text: str) -> None:
        until(lambda: self.answers(node), f"{self.name} on {node}")
        assert ask(self.address(node), f"/cgi-bin/write?{text}", PATIENCE) is not None

    def read(self, node: str) -> list[str]:
        """What was written, as the service there says when it answers."""
        said: list[str] = []

        def answers() -> bool:
            text = ask(self.address(node), "/cgi-bin/read", PATIENCE)
            said.extend((text or "").split())
            return text is not None

        until(answers, f"an answer of {self.name} on {node}")
        return said

    def client(self) -> Client:
        """Somebody who writes to wherever it answers."""
        return Client([self.address(node) for node in NODES])

    def lost(self, client: Client, node: str) -> list[int]:
        """Acknowledged writes that the service does not know of."""
        there = set(self.read(node))
        return [answer.number for answer in client.kept if str(answer.number) not in there]


def wanted(source: str = "main", target: str = "edge", **more: Any) -> dict[str, Any]:
    """The body of a move."""
    return {"source_node": source, "target_node": target, **more}


@dataclass(frozen=True)
class Answer:
    """An acknowledged write: its number, when it came, and who answered."""

    number: int
    at: float
    address: tuple[str, int]


class Client:
    """Writes every few milliseconds, to whichever node answers, from `with` to its end."""

    def __init__(self, addresses: Sequence[tuple[str, int]], pause: float = 0.01) -> None:
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
            if self._ended.wait(self._pause):
                return
            for address in list(self._addresses):
                if self.ask(address, f"/cgi-bin/write?{number}") is not None:
                    self.kept.append(Answer(number, time.monotonic(), address))
                    # Whoever answered is asked first from now on.
                    self._addresses.remove(address)
                    self._addresses.insert(0, address)
                    break

    def ask(self, address: tuple[str, int], path: str) -> str | None:
        """What is answered; None where nobody does."""
        return ask(address, path)

    @property
    def outage(self) -> float:
        """The longest time between two answers, in seconds."""
        times = [answer.at for answer in self.kept]
        return max((later - sooner for sooner, later in itertools.pairwise(times)), default=0.0)

    def wait_for(self, more: int) -> None:
        """Wait until so many more writes were acknowledged."""
        goal = len(self.kept) + more
        until(lambda: len(self.kept) >= goal, f"{more} more answers")


def ask(address: tuple[str, int], path: str, patience: float = GLANCE) -> str | None:
    """What it answers; None where nobody does."""
    connection = HTTPConnection(*address, timeout=patience)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else None
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
