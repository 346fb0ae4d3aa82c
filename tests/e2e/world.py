"""What a user has in hand: the API, the catalog, and a look at the machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from tests.lab import Lab, keys

#: Seconds until a test gives up on something that is on its way.
PATIENCE = 180.0
ENDED = ("succeeded", "failed", "cancelled")


class World:
    """One lab, seen from outside."""

    def __init__(self, lab: Lab, patience: float = PATIENCE) -> None:
        """`patience`: seconds in which a task ends."""
        self.lab = lab
        self._patience = patience
        self.http = httpx2.Client(
            base_url=f"{lab.url}/api/v1",
            headers={"Authorization": f"Bearer {lab.token}"},
            timeout=60,
        )

    # The catalog.

    def commit(self, files: Mapping[str, str | None]) -> str:
        """Push a commit and wait until the controller has it."""
        made = self.lab.commit(files)
        until(lambda: self._pulled() == made, "the new commit")
        return made

    def _pulled(self) -> str:
        # As a forge's webhook does; in its own time the controller looks every 10 s.
        pulled = self.post("/catalog/pull").raise_for_status().json()
        return str(pulled["revision"])

    def revision(self) -> str:
        """The catalog's, as the controller has it."""
        return str(self.get("/services/infra-backup").json()["revision"])

    def service(self, name: str, compose: str, meta: str, **more: str) -> None:
        """Push a service."""
        files = {"docker-compose.yaml": compose, "composia-meta.yaml": meta, **more}
        self.commit({f"{name}/{path}": text for path, text in files.items()})

    # The API.

    def get(self, call: str, **parameters: Any) -> httpx2.Response:
        return self.http.get(call, params=parameters)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        return self.http.post(path, json=body, headers=headers)

    def start(self, path: str, body: Any = None) -> str:
        """POST something that takes time; the id of its task."""
        answer = self.post(path, body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def wait(self, task: str) -> dict[str, Any]:
        """The task when it has ended; the controller may be away meanwhile."""
        found: dict[str, Any] = {}

        def ended() -> bool:
            # The log ends with the task: nobody needs to ask all the time.
            with self.http.stream("GET", f"/tasks/{task}/logs", params={"follow": True}) as log:
                log.raise_for_status().read()
            found.update(self.task(task))
            return found["status"] in ENDED

        until(ended, f"the end of {task}", lambda: str(found), self._patience)
        return found

    def task(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/tasks/{task}").raise_for_status().json()
        return found

    def do(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST and wait for the end, whatever it is."""
        return self.wait(self.start(path, body))

    def ok(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST and wait for success; a repository made by it opens at once from then on."""
        task = self.done(path, body)
        keys.lighten(self.lab.repository, self.lab.facts.rustic_password)
        return task

    def done(self, path: str, body: Any = None) -> dict[str, Any]:
        """The same, and leave the repository as rustic has made it."""
        task = self.do(path, body)
        assert task["status"] == "succeeded", (task["error"], self.log(task["id"]))
        return task

    def fails(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST and wait for failure; the task, whose error has a message."""
        task = self.do(path, body)
        assert task["status"] == "failed", task
        assert task["error"]["message"], task
        return task

    def log(self, task: str) -> str:
        return self.get(f"/tasks/{task}/logs").text

    def backups(self, **filters: str) -> list[dict[str, Any]]:
        """The records, newest first."""
        items: list[dict[str, Any]] = self.get("/backups", **filters).json()["items"]
        return items

    def backup_of(self, task: dict[str, Any], item: str) -> dict[str, Any]:
        """The record that a backup task made of an item."""
        (record,) = [
            found
            for id_ in task["result"]["backup_ids"]
            if (found := self.record(id_))["data_item"] == item
        ]
        return record

    def record(self, backup: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/backups/{backup}").raise_for_status().json()
        return found

    # The machines.

    def folder(self, service: str, node: str = "main") -> Path:
        """The service's folder on a node."""
        return self.lab.nodes[node].repo_dir / service

    def docker(self, *words: str, node: str = "main", check: bool = True) -> str:
        return self.lab.docker(node, *words, check=check).strip()

    def containers(self, project: str, node: str = "main", running: bool = False) -> list[str]:
        """Ids of a project's containers."""
        words = ["ps", "-qf", f"label=com.docker.compose.project={project}", "--no-trunc"]
        return self.docker(*words, *([] if running else ["-a"]), node=node).split()

    def container(self, project: str, compose_service: str, node: str = "main") -> str:
        """The id of a compose service's container."""
        return self.docker(
            "ps", "--no-trunc", "-aqf", f"label=com.docker.compose.project={project}",
            "-f", f"label=com.docker.compose.service={compose_service}", node=node,
        )  # fmt: skip

    def policy(self, container: str, node: str = "main") -> str:
        words = ["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", container]
        return self.docker(*words, node=node)

    def volume(self, name: str, node: str = "main") -> Path:
        """The folder of a volume."""
        return Path(self.docker("volume", "inspect", "-f", "{{.Mountpoint}}", name, node=node))

    def sql(self, project: str, statement: str, user: str = "postgres", node: str = "main") -> str:
        """One statement in the project's `postgres`, when it answers over TCP."""
        container = self.container(project, "postgres", node)
        answers = ["exec", container, "pg_isready", "-qh", "127.0.0.1"]
        until(lambda: succeeds(lambda: self.docker(*answers, node=node)), "PostgreSQL")
        words = ["exec", container, "psql", "-XU", user, "-d", "postgres", "-Atc", statement]
        return self.docker(*words, node=node)


def until(
    true: Callable[[], bool],
    called: str,
    what: Callable[[], str] = str,
    patience: float = PATIENCE,
) -> None:
    """Ask again until it is true; a connection that breaks meanwhile is no answer yet."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if succeeds(true):
            return
        time.sleep(0.05)
    raise AssertionError(f"{called} did not come within {patience:g} s {what()}")


def succeeds(ask: Callable[[], object]) -> bool:
    """Whether it answers, and not with False."""
    try:
        return ask() is not False
    except AssertionError:
        raise
    except Exception:
        return False
