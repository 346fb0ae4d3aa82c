"""Debian packages: the machine's own, and a Docker engine where there is none."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from tests.lab import paths
from tests.lab.shell import LabError, logged, run, succeeds

# What a program on PATH is called -> the package that brings it.
PROGRAMS = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "iptables": "iptables",
    "git": "git",
    "debootstrap": "debootstrap",
    "busybox": "busybox-static",
    "mkfs.ext4": "e2fsprogs",
    "named": "bind9",
    "nsupdate": "bind9-dnsutils",
    "restic": "restic",
    "curl": "curl",
    "rsync": "rsync",
    "chromium": "chromium",
    "gcc": "build-essential",
}
ENGINE = ("docker.io", "docker-cli", "containerd", "docker-compose")
ENGINE_SUITE = "trixie"
NEEDS_NEWER = ("bookworm",)


def missing(programs: Mapping[str, str] = PROGRAMS) -> list[str]:
    """The packages whose program this machine does not have."""
    names = {package for program, package in programs.items() if not shutil.which(program)}
    return sorted(names | ({"python3-venv"} if find_spec("ensurepip") is None else set()))


def has_engine() -> bool:
    """Whether dockerd, containerd and `docker compose` are here, whoever installed them."""
    programs = all(shutil.which(name) for name in ("dockerd", "containerd", "runc", "docker"))
    return programs and succeeds("docker", "compose", "version")


def install(names: list[str], log: Path) -> None:
    """Install packages (names or ./files), without starting the services they bring."""
    with _apt_lock(), _no_service_starts():
        logged(log, "apt-get", "install", "-y", "--no-install-recommends", *names, env=_quiet())


def update(log: Path) -> None:
    """Read the package lists of the machine's own sources."""
    with _apt_lock():
        logged(log, "apt-get", "update", env=_quiet())


def install_engine(log: Path) -> None:
    """Install Docker's engine, client, compose and containerd."""
    if codename() not in NEEDS_NEWER:
        install(list(ENGINE), log)
        return
    folder = paths.cache() / f"engine-{paths.key(ENGINE, ENGINE_SUITE, platform.machine())}"
    with paths.made_once(folder) as scratch:
        if scratch:
            _fetch_newer(scratch, log)
    install([str(deb) for deb in sorted(folder.glob("*.deb"))], log)


def extract(package: str, target: Path, log: Path) -> None:
    """Unpack a package's files into `target` without installing it."""
    with tempfile.TemporaryDirectory() as scratch:
        logged(log, "env", "-C", scratch, "apt-get", "download", package, env=_quiet())
        (deb,) = Path(scratch).glob("*.deb")
        run("dpkg-deb", "-x", deb, target)


def codename() -> str:
    """The name of this Debian release."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def mirror() -> str:
    """The Debian mirror that this machine itself uses."""
    for uri, suites, components in _sources():
        if codename() in suites and "main" in components:
            return uri
    raise LabError(f"no apt source of {codename()} main on this machine")


def _fetch_newer(scratch: Path, log: Path) -> None:
    """Download the engine's packages of the newer release with an apt configuration of our own."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source = scratch / "sources.list"
    source.write_text(f"deb [signed-by={keyring}] {mirror()} {ENGINE_SUITE} main\n")
    (scratch / "lists" / "partial").mkdir(parents=True)
    (scratch / "archives" / "partial").mkdir(parents=True)
    options = {
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch,
        "APT::Sandbox::User": "root",
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    logged(log, "env", "-C", scratch, "apt-get", *flags, "update", env=_quiet())
    logged(log, "env", "-C", scratch, "apt-get", *flags, "download", *ENGINE, env=_quiet())
    for leftover in (scratch / "lists", scratch / "archives"):
        shutil.rmtree(leftover)


def _sources() -> Iterator[tuple[str, list[str], list[str]]]:
    """Each source as (URI, suites, components), from both of apt's formats."""
    folder = Path("/etc/apt/sources.list.d")
    for path in [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list"))]:
        if path.exists():
            yield from _one_line_sources(path.read_text())
    for path in sorted(folder.glob("*.sources")):
        yield from _stanza_sources(path.read_text())


def _one_line_sources(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for line in text.splitlines():
        words = _without_options(line.split("#")[0]).split()
        if len(words) > 3 and words[0] == "deb":
            yield words[1], [words[2]], words[3:]


def _without_options(line: str) -> str:
    before, bracket, rest = line.partition("[")
    return before + rest.partition("]")[2] if bracket else line


def _stanza_sources(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    for stanza in text.split("\n\n"):
        lines = [line for line in stanza.splitlines() if not line.startswith("#")]
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        found = {name.strip().lower(): value.split() for name, value in fields.items()}
        if "deb" in found.get("types", []) and found.get("enabled", ["yes"]) != ["no"]:
            for uri in found.get("uris", []):
                yield uri, found.get("suites", []), found.get("components", [])


def _quiet() -> dict[str, str]:
    return {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}


@contextmanager
def _apt_lock() -> Iterator[None]:
    with paths.locked(paths.locks() / "apt"):
        yield


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian's switch for "install, but start nothing": the lab runs its own engine and BIND."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
