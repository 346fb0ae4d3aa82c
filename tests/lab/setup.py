"""Everything a machine needs for the lab and the project, each part made once."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.lab import engines, images, packages, paths, rustic
from tests.lab.shell import LabError, logged, say, succeeds

_PAGES = paths.ROOT / "bin" / "pages"


def setup(tools_only: bool = False) -> None:
    """Install and build what is missing, long steps side by side; instant when all is there.

    `tools_only` stops at the project's own Python environment and pages: no engine, no images.
    """
    if _is_synced() and _pages_are_built() and (tools_only or _machine_is_ready()):
        return
    with paths.locked(paths.locks() / "setup"):
        if tools_only or _machine_is_ready():
            _Steps().project()
        else:
            _Steps().everything()
            _stamp().touch()


class _Steps:
    """One run of the set-up; each step says what it does and how long that usually takes."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.logs = paths.cache() / "logs"

    def everything(self) -> None:
        """Start the longest step first and everything else beside it."""
        if os.geteuid() != 0:
            raise LabError("bin/setup installs packages and starts engines: run it as root")
        say(f"Setting up; logs in {self.logs}. From nothing 6 min, 2 min without building rustic.")
        with ThreadPoolExecutor() as pool:
            at_once = rustic.can_be_built() and not rustic.can_be_pulled()
            early = [pool.submit(self._rustic)] if at_once else []
            self._packages(packages.PROGRAMS)
            parts = [pool.submit(self._image, image) for image in images.BASE]
            parts.append(pool.submit(self.project))
            self._engine()
            if not early:
                self._rustic()
            for part in (*parts, *early):
                part.result()
        self._image(images.RUSTIC)
        if not engines.template().exists():
            self._step("images", "into an engine, 20 s", lambda: engines.make_template(self.logs))
        say(f"Ready after {time.monotonic() - self.started:.0f} s.")

    def project(self) -> None:
        """Make the checkout's .venv, and the scripts and styles of its pages."""
        if not _is_synced():
            self._packages({"git": "git"})
            self._step("project", "uv sync, 60 s", lambda: sync(self.logs))
        if not _pages_are_built():
            self._step("pages", "npm and Vite, 15 s", lambda: build_pages(self.logs))

    def _packages(self, programs: Mapping[str, str]) -> None:
        if names := packages.missing(programs):
            log = self.logs / "packages.log"
            self._step("packages", f"{' '.join(names)}, 30 s", lambda: _install(names, log))

    def _engine(self) -> None:
        if not packages.has_engine():
            log = self.logs / "engine.log"
            what = "Docker engine and compose, 25 s"
            self._step("engine", what, lambda: packages.install_engine(log))

    def _rustic(self) -> None:
        if not rustic.found():
            log = self.logs / "rustic.log"
            self._step("rustic", "5 min where it must be built", lambda: rustic.program(log))

    def _image(self, image: images.Image) -> None:
        if not image.root.exists():
            about = "60 s" if image.slug == "postgres" else "3 s"
            log = self.logs / f"{image.slug}.log"
            self._step(f"image {image.slug}", about, lambda: image.build(log))

    def _step(self, name: str, about: str, do: Callable[[], object]) -> None:
        say(f"{name}: {about}")
        began = time.monotonic()
        do()
        say(f"{name}: done in {time.monotonic() - began:.0f} s")


def sync(logs: Path) -> None:
    """Make the checkout's .venv as uv.lock says."""
    command = [str(_uv(logs)), "sync", "--locked", "--project", str(paths.ROOT)]
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    logged(logs / "project.log", *command, env=env)
    _synced().write_text(_lock())


def build_pages(logs: Path) -> None:
    """Build the pages' scripts and styles, with a Node from PyPI where there is none."""
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    if not shutil.which("npm"):
        env["PATH"] = f"{_uv(logs).parent}{os.pathsep}{env['PATH']}"
    logged(logs / "pages.log", sys.executable, str(_PAGES), env=env)


def _pages_are_built() -> bool:
    return succeeds(sys.executable, str(_PAGES), "--check")


def _uv(logs: Path) -> Path:
    """The uv on PATH, else one of our own from PyPI."""
    own = shutil.which("uv")
    if own and succeeds(own, "--version"):
        return Path(own)
    folder = paths.cache() / "uv-venv"
    with paths.made_once(folder) as scratch:
        if scratch:
            logged(logs / "uv.log", sys.executable, "-m", "venv", scratch)
            # Not the pip script: its first line would name the scratch folder.
            python = scratch / "bin" / "python"
            logged(logs / "uv.log", python, "-m", "pip", "install", "uv")
    return folder / "bin" / "uv"


def _install(names: list[str], log: Path) -> None:
    packages.update(log)
    packages.install(names, log)


def _machine_is_ready() -> bool:
    """Whether the stamp of this recipe is there and nothing it stands for has gone."""
    made = _stamp().exists() and engines.template().exists()
    return made and bool(shutil.which("dockerd")) and not packages.missing()


def _stamp() -> Path:
    names = (sorted(packages.PROGRAMS.items()), packages.ENGINE, images.fingerprint())
    return paths.cache() / f"ready-{paths.key(names, rustic.VERSION)}"


def _is_synced() -> bool:
    lock = paths.ROOT / "uv.lock"
    return not lock.exists() or (_synced().exists() and _synced().read_text() == _lock())


def _synced() -> Path:
    return paths.ROOT / ".venv" / ".synced"


def _lock() -> str:
    names = ("pyproject.toml", "uv.lock")
    return paths.key(*(paths.ROOT.joinpath(name).read_text() for name in names))
