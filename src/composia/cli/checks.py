"""What `composia doctor` looks at: one function for each thing, and how to mend it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from composia.errors import ComposiaError, Invalid
from composia.model.catalog import COMPOSE_FILES
from composia.model.config import (
    AgentConfig,
    Config,
    ControllerConfig,
    Scope,
    SecretsConfig,
    load_config,
)
from composia.model.meta import Meta
from composia.tools.docker import Docker
from composia.tools.parsing import parse
from composia.tools.shell import Command, Shell
from composia.tools.yaml import load

OLDEST_COMPOSE = (2, 26)
OLDEST_GIT = (2, 34)
#: Bytes that should be free where data is staged.
LITTLE = 2 * 1024**3
#: Seconds: tokens of the channel bear more, people reading logs do not.
SKEW = 5.0
SHORT = 16
IN_CONTAINER = Path("/.dockerenv")


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and how to mend it where it is not well."""

    name: str
    level: Level
    message: str
    hint: str | None = None


def ok(name: str, message: str) -> Check:
    """It is well."""
    return Check(name, Level.OK, message)


def warn(name: str, message: str, hint: str) -> Check:
    """It works, and will hurt one day."""
    return Check(name, Level.WARN, message, hint)


def fail(name: str, message: str, hint: str) -> Check:
    """It does not work."""
    return Check(name, Level.FAIL, message, hint)


async def all_checks(path: Path, shell: Shell) -> AsyncIterator[Check]:
    """Everything, in the order in which it should be mended."""
    config = None
    try:
        config = load_config(path)
        yield ok("config", f"{path} can be read")
    except Invalid as error:
        for problem in error.problems or (error.message,):
            yield fail(
                "config", str(problem), error.hint or "docs/reference/config.md names all keys."
            )
    if config:
        for check in (*secrecy(path, config), *folders(config)):
            yield check
    yield await git(shell)
    async for check in _docker_checks(config, shell):
        yield check
    async for check in _network_checks(config):
        yield check
    yield await clock(shell)


async def _docker_checks(config: Config | None, shell: Shell) -> AsyncIterator[Check]:
    if config and not config.agent:
        return
    docker = Docker(shell)
    try:
        engine, compose = await docker.versions()
        yield engine_version(engine)
        yield compose_version(compose)
        if engine:
            yield await volumes(shell)
            if config:
                yield await same_paths(config, shell)
                yield await rustic_image(config, docker)
    finally:
        await docker.aclose()


async def _network_checks(config: Config | None) -> AsyncIterator[Check]:
    if config and config.controller:
        yield await asyncio.to_thread(port, config.controller)
    if config and config.agent:
        for check in await reach(config.agent, starts_here=config.controller is not None):
            yield check


def engine_version(version: str | None) -> Check:
    """The Docker engine."""
    if version:
        return ok("docker", f"engine {version} answers")
    return fail(
        "docker",
        "the Docker engine does not answer",
        "Install it (https://docs.docker.com/engine/install/) or start it: systemctl start docker. "
        "Another engine than the local one is named by DOCKER_HOST.",
    )


def compose_version(version: str | None) -> Check:
    """`docker compose`."""
    if version is None:
        return fail(
            "compose", "`docker compose` is missing", "Install the package docker-compose-plugin."
        )
    if _numbers(version) < OLDEST_COMPOSE:
        return fail("compose", f"compose {version} is too old", "Install 2.26 or newer.")
    return ok("compose", f"compose {version}")


async def git(shell: Shell) -> Check:
    """Git."""
    try:
        done = await shell.run(Command(("git", "--version")))
    except ComposiaError:
        return fail("git", "git is missing", "Install the package git.")
    version = done.stdout.decode(errors="replace").removeprefix("git version ").strip()
    if _numbers(version) < OLDEST_GIT:
        return fail("git", f"git {version} is too old", "Install 2.34 or newer.")
    return ok("git", f"git {version}")


async def volumes(shell: Shell) -> Check:
    """Whether the data of volumes can be read directly."""
    asked = Command(("docker", "info", "--format", "{{.DockerRootDir}}"))
    done = await shell.run(asked, check=False)
    folder = Path(done.stdout.decode(errors="replace").strip() or "/var/lib/docker") / "volumes"
    if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return ok("volumes", f"{folder} can be read and written")
    mend = (
        f"Mount it into this container under the same path: -v {folder}:{folder}"
        if IN_CONTAINER.exists()
        else "Run the agent as root: it reads and writes the data of volumes directly."
    )
    return fail("volumes", f"{folder} cannot be read and written", mend)


async def same_paths(config: Config, shell: Shell) -> Check:
    """In a container, whether Docker knows the folders under the paths that we know them by."""
    if not IN_CONTAINER.exists() or not config.agent:
        return ok("paths", "the agent and Docker see the same paths")
    words = ("docker", "inspect", "--format", "{{json .Mounts}}", "--", socket.gethostname())
    done = await shell.run(Command(words), check=False)
    mounts = json.loads(done.stdout) if done.code == 0 and done.stdout.strip() else []
    same = [Path(one["Source"]) for one in mounts if one["Source"] == one["Destination"]]
    folder = config.agent.repo_dir
    if any(folder.is_relative_to(mount) for mount in same):
        return ok("paths", f"{folder} is mounted under its own path")
    return fail(
        "paths",
        f"{folder} is not mounted into this container under the same path",
        f"Start the container with -v {folder}:{folder}",
    )


async def rustic_image(config: Config, docker: Docker) -> Check:
    """The image of the service with `infra.rustic`."""
    roots = [config.controller.repo_dir] if config.controller else []
    roots += [config.agent.repo_dir] if config.agent else []
    image = next((image for root in roots for image in _rustic_images(root)), None)
    if image is None:
        return warn(
            "rustic",
            "no service with infra.rustic was found here",
            "Backups need one; `composia init` writes an example. It may be pulled later.",
        )
    try:
        await docker.image_config(image)
    except ComposiaError:
        return warn("rustic", f"the image {image} is not on this machine", f"docker pull {image}")
    return ok("rustic", f"the image {image} is here")


def _rustic_images(root: Path) -> Iterator[str]:
    for file in sorted(root.glob("*/composia-meta.yaml")):
        try:
            meta = parse(load(file.read_bytes(), str(file)), Meta)
            if meta.infra.rustic:
                yield from _image(file.parent, meta, meta.infra.rustic.compose_service)
        except (ComposiaError, OSError):
            continue


def _image(folder: Path, meta: Meta, compose_service: str) -> Iterator[str]:
    usual = [name for name in COMPOSE_FILES if (folder / name).is_file()][:1]
    for name in meta.compose_files or usual:
        file = folder / name
        found: Any = load(file.read_bytes(), str(file)).data if file.is_file() else None
        for key in ("services", compose_service, "image"):
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            yield found


def folders(config: Config) -> Iterator[Check]:
    """The folders that the processes write."""
    named: dict[str, Path] = {}
    if config.controller:
        named["controller.repo_dir"] = config.controller.repo_dir
        named["controller.state_dir"] = config.controller.state_dir
        named["controller.log_dir"] = config.controller.log_dir
    if config.agent:
        named["agent.repo_dir"] = config.agent.repo_dir
        named["agent.state_dir"] = config.agent.state_dir
    for key, folder in named.items():
        yield _folder(key, folder)


def _folder(key: str, folder: Path) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return fail(key, f"{there} is not a folder", f"Name another folder under {key}.")
    if not os.access(there, os.R_OK | os.W_OK | os.X_OK):
        return fail(key, f"{folder} cannot be written", f"Run as root, or: chown $USER {there}")
    if (free := shutil.disk_usage(there).free) < LITTLE:
        return warn(key, f"{folder} has {free // 1024**2} MiB left", "Make room.")
    return ok(key, f"{folder} can be written")


def secrecy(path: Path, config: Config) -> Iterator[Check]:
    """Tokens, and who can read them."""
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield warn("secrecy", f"others can read {path}", f"chmod 600 {path}")
    else:
        yield ok("secrecy", f"only its owner can read {path}")
    weak = [name for name, token in _tokens(config) if len(token) < SHORT]
    if weak:
        yield warn("tokens", f"easy to guess: {', '.join(weak)}", "Make one: openssl rand -hex 32")
    if config.controller and config.controller.secrets:
        yield _identities(config.controller.secrets)
    if config.controller:
        yield _somebody(config.controller)
        if config.agent:
            yield _own_agent(config.controller, config.agent)


def _tokens(config: Config) -> Iterator[tuple[str, str]]:
    if config.agent:
        yield "agent.token", config.agent.token.get_secret_value()
    if not config.controller:
        return
    for token in config.controller.access_tokens:
        if token.token:
            yield f"access token {token.name}", token.token.get_secret_value()
    for node in config.controller.nodes:
        yield f"token of node {node.id}", node.token.get_secret_value()


def _identities(config: SecretsConfig) -> Check:
    from composia.tools.age import Identities

    found = Identities.parse(config.identity.get_secret_value()).recipients
    return ok("secrets", f"encrypted files of the catalog are for {' or '.join(found)}")


def _somebody(config: ControllerConfig) -> Check:
    admins = [one for one in config.access_tokens if one.enabled and one.scope is Scope.ADMIN]
    if admins:
        return ok("tokens", f"{admins[0].name} may do everything")
    return warn(
        "tokens",
        "no enabled access token has scope admin",
        "Add one under controller.access_tokens.",
    )


def _own_agent(controller: ControllerConfig, agent: AgentConfig) -> Check:
    node = controller.node(agent.node_id)
    if node is None:
        hint = "Add it there, or change agent.node_id."
        return fail("agent", f"controller.nodes has no {agent.node_id}", hint)
    if node.token.get_secret_value() != agent.token.get_secret_value():
        hint = "They are one secret: copy it."
        return fail("agent", f"agent.token is not that of node {node.id}", hint)
    return ok("agent", f"its token is that of node {node.id}")


def port(config: ControllerConfig) -> Check:
    """Whether the controller's address is free."""
    host, number = config.listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, number))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                hint = "Is a controller running already? See: ss -ltnp"
                return warn("port", f"{config.listen_addr} is in use", hint)
            hint = "Name an address of this machine under controller.listen_addr."
            return fail("port", f"{config.listen_addr}: {error.strerror}", hint)
    return ok("port", f"{config.listen_addr} is free")


async def reach(agent: AgentConfig, *, starts_here: bool) -> Sequence[Check]:
    """Whether the agent reaches its controller, and how far their clocks are apart."""
    import httpx2

    try:
        async with httpx2.AsyncClient(timeout=5) as client:
            answer = await client.get(f"{agent.controller_addr.rstrip('/')}/healthz")
    except httpx2.HTTPError as error:
        if starts_here:
            return (ok("controller", "it does not run yet"),)
        hint = "Start it, or mend agent.controller_addr or the firewall between."
        message = f"{agent.controller_addr} does not answer: {type(error).__name__}"
        return (fail("controller", message, hint),)
    found = ok("controller", f"{agent.controller_addr} answers")
    return (found, *_skew(answer.headers))


def _skew(headers: Mapping[str, str]) -> Iterator[Check]:
    if not (date := headers.get("date")):
        return
    apart = abs((parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds())
    if apart > SKEW:
        message = f"the controller's clock is {apart:.0f} s away from this one"
        yield warn("clock", message, "Run an NTP client on both: apt install systemd-timesyncd")


async def clock(shell: Shell) -> Check:
    """Whether this machine's clock is kept right."""
    now = datetime.now(UTC)
    words = ("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    try:
        said = (await shell.run(Command(words))).stdout.decode(errors="replace").strip()
    except ComposiaError:
        said = ""
    if now.year < 2025:
        return fail("clock", f"it says {now:%Y-%m-%d}", "Set it: timedatectl set-ntp true")
    if said == "no":
        return warn("clock", "nobody keeps it right", "timedatectl set-ntp true")
    return ok("clock", f"it says {now:%Y-%m-%d %H:%M:%S} UTC")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
