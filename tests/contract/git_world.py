"""Real Git for the catalog's tests: a bare remote, clones of other people, and our work tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from composia.controller.catalog import Catalog
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig, GitConfig, NodeConfig, SecretsConfig
from composia.tools.shell import LocalShell

META = "name: {name}\nnodes: [main]\n"
COMPOSE = "services: {web: {image: busybox}}\n"
_ENV = {
    **os.environ,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def git(folder: Path, *words: str) -> str:
    """Run Git as somebody else would."""
    done = subprocess.run(
        ["git", "-C", str(folder), *words], env=_ENV, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write(folder: Path, path: str, text: str | bytes) -> None:
    """Put a file into a work tree."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode() if isinstance(text, str) else text)


def commit(folder: Path, files: Mapping[str, str | bytes], message: str = "Change") -> str:
    """Write the files and commit everything; the revision."""
    for path, text in files.items():
        write(folder, path, text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


def service(name: str, meta: str = META) -> dict[str, str]:
    """A small service's files."""
    return {
        f"{name}/composia-meta.yaml": meta.format(name=name),
        f"{name}/docker-compose.yaml": COMPOSE,
    }


@dataclass
class World:
    """A remote, and what stands around it."""

    root: Path

    @property
    def remote(self) -> Path:
        return self.root / "remote.git"

    def with_remote(self, template: Path) -> World:
        """A remote with one service and Ada's clone of it: copies of what was made once."""
        made = World(template)
        if not made.remote.exists():
            made._make_remote()
        shutil.copytree(template, self.root, dirs_exist_ok=True)
        git(self.root / "ada", "remote", "set-url", "origin", str(self.remote))
        return self

    def _make_remote(self) -> None:
        git(self.root, "init", "-q", "--bare", "-b", "main", str(self.remote))
        # Who pushes at the same time waits for a slow disk, and is not turned away.
        git(self.remote, "config", "core.filesRefLockTimeout", "60000")
        ada = self.clone("ada")
        commit(ada, service("app"))
        git(ada, "push", "-q", "origin", "HEAD:main")

    def clone(self, name: str) -> Path:
        """Somebody's own clone."""
        git(self.root, "clone", "-q", str(self.remote), str(self.root / name))
        folder = self.root / name
        git(folder, "symbolic-ref", "HEAD", "refs/heads/main")
        return folder

    def someone_pushes(self, files: Mapping[str, str | bytes], name: str = "ada") -> str:
        """Another person's commit on the remote."""
        folder = self.root / name
        git(folder, "pull", "-q", "--ff-only", "origin", "main")
        revision = commit(folder, files)
        git(folder, "push", "-q", "origin", "HEAD:main")
        return revision

    def config(
        self, name: str = "catalog", *, remote: bool = True, identity: str | None = None
    ) -> ControllerConfig:
        """A controller with its own work tree, and perhaps with what opens encrypted files."""
        url = str(self.remote) if remote else None
        return ControllerConfig(
            repo_dir=self.root / name,
            nodes=(NodeConfig.model_validate_json('{"id": "main", "token": "t"}'),),
            git=GitConfig(remote_url=url, author_email="composia@example.com"),
            secrets=SecretsConfig.model_validate({"identity": identity}) if identity else None,
        )

    async def catalog(
        self, name: str = "catalog", *, remote: bool = True, identity: str | None = None
    ) -> Catalog:
        """An open catalog."""
        config = self.config(name, remote=remote, identity=identity)
        catalog = Catalog(LocalShell(_ENV), config)
        await catalog.open()
        return catalog

    def remote_head(self) -> str:
        """Where the remote's branch is."""
        return git(self.remote, "rev-parse", "main")

    def remote_file(self, path: str) -> str:
        """A file as the remote has it."""
        return git(self.remote, "show", f"main:{path}")


def names(view: CatalogView) -> list[str]:
    """The services that can be worked with."""
    return sorted(view.services)
