"""Services on a lab's node that no controller knows, and sites made for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from composia.strategies.base import Site
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.rustic_engine import RusticEngine
from composia.tools.shell import LocalShell
from tests.lab import Lab, engines, keys
from tests.lab.catalog import initial_files
from tests.twins.site import MemoryNotes

PASSWORD = "planted-repository-secret"


class ByHand:
    """The folders of such services on the node `main`, the repository's among them."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.folder = lab.nodes["main"].folder / "by-hand"
        self.shell = LocalShell(engines.docker_env(lab.nodes["main"].docker_host))
        self.projects: set[str] = set()
        for path, text in initial_files(["main"], PASSWORD).items():
            self.write(path, text)

    def service(self, name: str, compose: str) -> Path:
        """Write a compose file and start it; the service's folder."""
        self.write(f"{name}/docker-compose.yaml", compose)
        self.compose(name, "up", "-d")
        self.projects.add(name)
        return self.folder / name

    def compose(self, name: str, *words: str) -> str:
        folder = self.folder / name
        return self.docker("compose", "--project-directory", str(folder), "-p", name, *words)

    def docker(self, *words: str) -> str:
        return self.lab.docker("main", *words).strip()

    def lighten_keys(self) -> None:
        """Make the repository quick to open, once it is there."""
        keys.lighten(self.folder / "infra-backup" / "repo", PASSWORD)

    def container(self, name: str, compose_service: str) -> str:
        """The container's id."""
        return self.compose(name, "ps", "-aq", "--no-trunc", compose_service)

    def inspect(self, container: str, what: str) -> str:
        return self.docker("inspect", "-f", f"{{{{{what}}}}}", container)

    def volume(self, name: str) -> Path:
        return Path(self.docker("volume", "inspect", "-f", "{{.Mountpoint}}", name))

    def site(self, name: str, task: str = "01hand") -> Site:
        """A site as the agent would make it; for use within one event loop."""
        docker = Docker(self.shell, self.lab.nodes["main"].docker_host)
        notes = MemoryNotes()
        return Site(
            node="main",
            task=task,
            service=name,
            folder=self.folder / name,
            aside=self.folder / ".composia",
            state=self.folder / ".state",
            compose=self._compose(name),
            docker=docker,
            notes=notes,
            repository=RusticEngine(
                self._compose("infra-backup"),
                docker,
                self.shell,
                compose_service="rustic",
                profile="default",
                origin=task,
                note=notes.note,
            ),
        )

    def end(self) -> None:
        """Remove the services with their volumes."""
        for project in self.projects:
            self.compose(project, "kill")
            self.compose(project, "down", "-v")
        shutil.rmtree(self.folder)

    def _compose(self, name: str) -> Compose:
        return Compose(self.shell, self.folder / name, name, ["docker-compose.yaml"])

    def write(self, path: str, text: str) -> None:
        """Write a file below the services' folders."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@contextmanager
def by_hand(lab: Lab) -> Iterator[ByHand]:
    """Such services, gone afterwards."""
    made = ByHand(lab)
    try:
        yield made
    finally:
        made.end()
