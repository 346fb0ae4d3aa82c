"""A node's own tools on the lab's engine, with no controller and no agent between."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from composia.model.service import ServiceRef
from composia.operations.backup import DataSaved, ItemToSave, SaveData
from composia.operations.base import Operation
from composia.operations.restore import ExchangeData, FetchData, ItemToRestore
from composia.strategies import AnyBackupStrategy, AnyRestoreStrategy
from composia.strategies.base import Site, Wanted
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.rustic_engine import RusticEngine
from composia.tools.shell import LocalShell
from tests.lab import Lab, keys

REPOSITORY = """services:
  rustic:
    image: rustic:latest
    command: rustic
    volumes: [./config:/config, ./repo:/repo]
"""
PASSWORD = "planted-repository-secret"
PROFILE = f'[repository]\nrepository = "/repo"\npassword = "{PASSWORD}"\n'


class KeptNotes:
    """Notes on the disk, as a journal has them; the process can die right after one of them."""

    def __init__(self, file: Path, die_after: int = 0) -> None:
        self.file = file
        self.die_after = die_after
        self.lines: list[str] = []

    async def note(self, name: str, **facts: Any) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps([name, facts]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.die_after -= 1
        if self.die_after == 0:
            os._exit(9)

    def progress(self, done: int, total: int | None = None) -> None:
        return

    def log(self, line: str) -> None:
        self.lines.append(line)

    def read(self) -> Mapping[str, Mapping[str, Any]]:
        if not self.file.exists():
            return {}
        return dict(json.loads(line) for line in self.file.read_text().splitlines())


class NodeService:
    """One service on the lab's first node, worked on by operations alone."""

    def __init__(self, lab: Lab, name: str, compose: str) -> None:
        self.lab, self.name = lab, name
        self.node = lab.nodes["main"]
        self.folder = self.node.repo_dir / name
        self.folder.mkdir(parents=True)
        (self.folder / "docker-compose.yaml").write_text(compose)
        self.manifests: dict[str, bytes] = {}
        self.tasks = 0

    @property
    def aside(self) -> Path:
        return self.node.repo_dir / ".composia"

    @property
    def ref(self) -> ServiceRef:
        return ServiceRef(
            name=self.name,
            folder=self.name,
            project=self.name,
            compose_files=("docker-compose.yaml",),
            revision="0" * 40,
        )

    def new_task(self) -> str:
        self.tasks += 1
        return f"01{self.name}{self.tasks}".replace("-", "")

    def site(self, task: str, notes: KeptNotes) -> Site:
        """Made anew for each event loop."""
        shell = LocalShell({**os.environ, "DOCKER_HOST": self.node.docker_host})
        docker = Docker(shell, self.node.docker_host)
        files = ("docker-compose.yaml",)
        backup = Compose(shell, repository_folder(self.lab), "node-backup", files)
        engine = RusticEngine(
            backup, docker, shell,
            compose_service="rustic", profile="default", origin=task, note=notes.note,
        )  # fmt: skip
        site = Site(
            node="main",
            task=task,
            service=self.name,
            folder=self.folder,
            aside=self.aside,
            state=self.node.state_dir / "checkouts" / self.name,
            compose=Compose(shell, self.folder, self.name, files),
            docker=docker,
            notes=notes,
            repository=engine,
        )
        return replace(site, keep_manifest=self._keep, read_manifest=self._read)

    def perform(
        self, operation: Operation[Any], task: str | None = None, die_after: int = 0
    ) -> Any:
        """Perform it, as an agent does."""
        notes = KeptNotes(self._journal(task := task or self.new_task(), operation), die_after)
        return asyncio.run(self._with_site(operation.perform, task, notes))

    def perform_and_die(self, operation: Operation[Any], task: str, after: int) -> bool:
        """Perform it in a process that is killed right after that note; False: there was none."""
        self._journal(task, operation).unlink(missing_ok=True)
        if (child := os.fork()) == 0:
            try:
                self.perform(operation, task, after)
            finally:
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    def put_right(self, operation: Operation[Any], task: str) -> None:
        """What the agent does on its next start."""
        notes = KeptNotes(self._journal(task, operation))

        async def right(site: Site) -> None:
            await operation.put_right(site, notes.read())

        asyncio.run(self._with_site(right, task, notes))

    def use(self, do: Any) -> Any:
        """Something else with a site."""
        task = self.new_task()
        return asyncio.run(
            self._with_site(do, task, KeptNotes(self.node.repo_dir / f"{task}.notes"))
        )

    def save(self, item: str, strategy: AnyBackupStrategy) -> Wanted:
        """Back an item up; what a restore needs to know of it."""
        task = self.new_task()
        backup_id = f"backup{task}"
        to_save = ItemToSave(name=item, backup_id=backup_id, strategy=strategy)
        saved: DataSaved = self.perform(SaveData(service=self.ref, items=(to_save,)), task)
        (one,) = saved.items
        assert one.saved, one.error
        return Wanted(
            item=item,
            backup_id=backup_id,
            snapshot_id=one.saved.snapshot.id,
            saved_by=strategy.strategy,
            exclude=getattr(strategy, "exclude", ()),
            changed=one.saved.changed,
        )

    def fetching(self, wanted: Wanted, strategy: AnyRestoreStrategy, **more: Any) -> FetchData:
        item = ItemToRestore(wanted=wanted, strategy=strategy)
        return FetchData(service=self.ref, items=(item,), **more)

    def exchanging(self) -> ExchangeData:
        return ExchangeData(service=self.ref)

    def restore(self, wanted: Wanted, strategy: AnyRestoreStrategy, **more: Any) -> str:
        """Both steps; the task."""
        task = self.new_task()
        self.perform(self.fetching(wanted, strategy, **more), task)
        self.perform(self.exchanging(), task)
        return task

    def save_stream(self, item: str, content: bytes) -> Wanted:
        """A dump as somebody else has made it."""
        task = self.new_task()

        async def save(site: Site) -> str:
            async with site.engine.save_stream("dump.sql", site.labels(item)) as stream:
                await stream.write(content)
                return (await stream.finish()).id

        notes = KeptNotes(self.node.repo_dir / f"{task}.notes")
        snapshot = asyncio.run(self._with_site(save, task, notes))
        return Wanted(
            item=item, backup_id=task, snapshot_id=snapshot, saved_by="database.pgdumpall"
        )

    def docker(self, *words: str, check: bool = True) -> str:
        return self.lab.docker("main", *words, check=check).strip()

    def compose(self, *words: str) -> str:
        options = ["--project-directory", str(self.folder), "-p", self.name]
        options += ["-f", str(self.folder / "docker-compose.yaml")]
        return self.docker("compose", *options, *words)

    def running(self) -> dict[str, str]:
        """Compose services that run and their containers."""
        words = ["ps", "--no-trunc", "-f", f"label=com.docker.compose.project={self.name}"]
        labels = '{{.Label "com.docker.compose.service"}} {{.ID}}'
        lines = self.docker(*words, "--format", labels).splitlines()
        return dict(line.split(" ") for line in lines)

    def volume(self, name: str) -> Path:
        return Path(self.docker("volume", "inspect", "-f", "{{.Mountpoint}}", name))

    def lies_aside(self) -> list[str]:
        """What tasks have left aside, volumes of ours among them."""
        volumes = self.docker("volume", "ls", "-q", "-f", "label=io.composia.task").split()
        folders = [path.name for path in self.aside.iterdir() if path.is_dir()]
        mine = [name for name in folders if name.startswith(f"01{self.name.replace('-', '')}")]
        return sorted(mine + [name for name in volumes if self.name.replace("-", "") in name])

    def _journal(self, task: str, operation: Operation[Any]) -> Path:
        self.aside.mkdir(exist_ok=True)
        return self.node.repo_dir / f"{task}-{operation.op}.notes"

    async def _with_site(self, do: Any, task: str, notes: KeptNotes) -> Any:
        site = self.site(task, notes)
        try:
            return await do(site)
        finally:
            await site.docker.aclose()

    async def _keep(self, backup_id: str, manifest: bytes) -> None:
        self.manifests[backup_id] = manifest

    async def _read(self, backup_id: str) -> bytes | None:
        return self.manifests.get(backup_id)


def lab_of(request: pytest.FixtureRequest) -> Lab:
    """The tests' lab; `LAB` names one that stands already."""
    name = os.environ.get("LAB")
    found: Lab = Lab.load(name) if name else request.getfixturevalue("lab")
    return found


def clean(lab: Lab) -> None:
    """Nothing of a test on the engine or in the services' folders."""
    lab.nodes["main"].engine.empty()
    for path in lab.nodes["main"].repo_dir.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def repository_folder(lab: Lab) -> Path:
    return lab.nodes["main"].repo_dir / "node-backup"


def make_repository(lab: Lab) -> None:
    """A rustic service and its repository."""
    folder = repository_folder(lab)
    (folder / "config").mkdir(parents=True)
    (folder / "repo").mkdir()
    (folder / "config/rustic.toml").write_text(PROFILE)
    (folder / "docker-compose.yaml").write_text(REPOSITORY)
    service = NodeService(lab, "makes-repository", "services: {}\n")

    async def make(site: Site) -> None:
        assert site.repository
        await site.repository.init()

    service.use(make)
    keys.lighten(folder / "repo", PASSWORD)
