"""A repository service as a user writes it, and the Engine on it."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.rustic import Labels
from composia.tools.rustic_engine import RusticEngine
from composia.tools.rustic_service import ServiceContainer
from composia.tools.shell import Command, Finished, LocalShell, Running
from tests.lab import keys

PASSWORD = "planted-rustic-secret"  # planted, to be looked for
LABELS = Labels(
    node="main", service="my-app", item="uploads", task="01TASK", marks=("kind=manual",)
)
PROFILE = f"""[repository]
repository = "/repo"
password = "{PASSWORD}"
"""


class WatchedShell:
    """A real shell that remembers what was asked of it, in order with the notes."""

    def __init__(self, shell: LocalShell, seen: list[str]) -> None:
        self._shell = shell
        self._seen = seen

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        self._seen.append(" ".join(command.argv))
        return await self._shell.run(command, check=check)

    def start(self, command: Command) -> AbstractAsyncContextManager[Running]:
        self._seen.append(" ".join(command.argv))
        return self._start(command)

    @asynccontextmanager
    async def _start(self, command: Command) -> AsyncIterator[Running]:
        for word in command.argv:
            if word.startswith("/proc/"):
                self._seen.append(f"override {Path(word).read_text()}")
        async with self._shell.start(command) as running:
            yield running


class Place:
    """A folder with the compose file, the profile and the repository of one test."""

    def __init__(self, folder: Path, docker: Docker, shell: LocalShell) -> None:
        self.folder = folder
        self.docker = docker
        self.shell = shell
        #: Notes and commands as they came.
        self.seen: list[str] = []
        self.repo = folder / "repo"
        self.repo.mkdir(parents=True)
        self.service = self.user_guides()
        self.volumes: dict[str, Any] = {}
        self.write_profile(PROFILE)

    def user_guides(self) -> dict[str, Any]:
        """The service of the user guide, without a network to make and remove."""
        return {
            "image": "rustic:latest",
            "command": "rustic -c /config/rustic.toml",
            "network_mode": "none",
            "volumes": ["./config:/config", "./repo:/repo"],
        }

    def write_profile(self, text: str, name: str = "rustic.toml") -> None:
        file = self.folder / "config" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def engine(self, profile: str = "default") -> RusticEngine:
        """The Engine on the service as it is now."""
        shell = WatchedShell(self.shell, self.seen)
        return RusticEngine(
            self._compose(shell), self.docker, shell, compose_service="rustic", profile=profile,
            origin="01TASK", note=self._note,
        )  # fmt: skip

    def container(self) -> ServiceContainer:
        """How the Engine runs rustic."""
        shell = WatchedShell(self.shell, self.seen)
        return ServiceContainer(
            self._compose(shell), self.docker, shell, compose_service="rustic", profile="default",
            origin="01TASK", note=self._note,
        )  # fmt: skip

    def read_only(self) -> set[str]:
        """Of the service's own mounts those that the last call could not write to."""
        overrides = [line for line in self.seen if line.startswith("override ")]
        volumes = json.loads(overrides[-1].removeprefix("override "))["services"]["rustic"][
            "volumes"
        ]
        return {
            one["target"]
            for one in volumes
            if one["read_only"] and not one["target"].startswith("/composia")
        }

    def _compose(self, shell: WatchedShell) -> Compose:
        content = {"services": {"rustic": self.service}, "volumes": self.volumes}
        (self.folder / "compose.yaml").write_text(json.dumps(content))
        project = f"contract-{secrets.token_hex(4)}"
        return Compose(shell, self.folder, project, ["compose.yaml"])

    async def made(self, template: Path) -> RusticEngine:
        """The Engine on a copy of a repository that was made once."""
        engine = self.engine()
        if not (template / "config").exists():
            await self.init(engine)
            shutil.copytree(self.repo, template, dirs_exist_ok=True)
        shutil.copytree(template, self.repo, dirs_exist_ok=True)
        return engine

    async def init(self, engine: RusticEngine) -> str:
        """Make the repository, with a key that opens at once; its id."""
        made = await engine.init()
        keys.lighten(self.repo, PASSWORD)
        return made

    def tree(self, files: Mapping[str, bytes], name: str = "data") -> Path:
        """A folder with these files."""
        root = self.folder / name
        for path, content in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        return root

    def new_folder(self, name: str = "restored") -> Path:
        made = self.folder / name
        made.mkdir()
        return made

    async def containers(self) -> list[str]:
        """Names of containers of ours that are there."""
        found = await self.docker.containers()
        return [one.name for one in found if one.name in " ".join(self.seen)]

    async def _note(self, name: str, **facts: Any) -> None:
        self.seen.append(f"note {name}")


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 2 MiB, mounted there."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def nothing(done: int, total: int | None) -> None:
    """Progress that nobody looks at."""
