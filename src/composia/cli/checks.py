"""What `composia doctor` looks at: one function for each thing, and how to mend it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from composia.cli.check import Check, fail, numbers, ok, warn
from composia.cli.reaching import reach
from composia.cli.rustic_check import rustic_image
from composia.errors import ComposiaError, Invalid
from composia.model.config import (
    AgentConfig,
    Config,
    ControllerConfig,
    Scope,
    SecretsConfig,
    load_config,
)
from composia.tools.docker import Docker
from composia.tools.secrets import files_of
from composia.tools.shell import Command, Shell
from composia.tools.yaml import load

OLDEST_COMPOSE = (2, 26)
OLDEST_GIT = (2, 34)
#: Bytes that should be free where data is staged.
LITTLE = 2 * 1024**3
SHORT = 16
IN_CONTAINER = Path("/.dockerenv")


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
    if not config or config.controller:
        # The catalog's, and nobody else's.
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
                yield await rustic_image(config, docker, shell)
    finally:
        await docker.aclose()


async def _network_checks(config: Config | None) -> AsyncIterator[Check]:
    if config and config.controller:
        yield await asyncio.to_thread(port, config.controller)
    if config and config.agent:
        for check in await reach(config.agent, config.controller):
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
    if numbers(version) < OLDEST_COMPOSE:
        return fail("compose", f"compose {version} is too old", "Install 2.26 or newer.")
    return ok("compose", f"compose {version}")


async def git(shell: Shell) -> Check:
    """Git."""
    try:
        done = await shell.run(Command(("git", "--version")))
    except ComposiaError:
        return fail("git", "git is missing", "Install the package git.")
    version = done.stdout.decode(errors="replace").removeprefix("git version ").strip()
    if numbers(version) < OLDEST_GIT:
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
    folders = _mounted_on(config.agent)
    other = [one for one in folders if not any(one.is_relative_to(mount) for mount in same)]
    if not other:
        return ok("paths", f"{_listed(folders)} are mounted under their own paths")
    return fail(
        "paths",
        f"not mounted into this container under the same path: {_listed(other)}",
        f"Start the container with {' '.join(f'-v {one}:{one}' for one in other)}",
    )


def _mounted_on(agent: AgentConfig) -> list[Path]:
    """The folders of which the agent has Docker mount something into other containers."""
    folders = [agent.repo_dir, agent.state_dir]
    if agent.caddy and not agent.caddy.generated_dir.is_relative_to(agent.repo_dir):
        folders.append(agent.caddy.generated_dir)
    return folders


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))


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
    if config.agent and config.agent.caddy:
        yield _generated(config.agent.caddy.generated_dir, config.agent.repo_dir)


def _generated(folder: Path, repo_dir: Path) -> Check:
    key = "agent.caddy.generated_dir"
    # In the folder of a service it comes with the first deploy.
    if folder.exists() or folder.is_relative_to(repo_dir):
        return _folder(key, folder)
    hint = f"Correct it; or mkdir -p {folder}, and mount that into Caddy's container."
    return fail(key, f"{folder} is not there", hint)


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
    files = (path, *files_of(load(path.read_bytes(), str(path)), Config))
    open_ = [file for file in files if file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)]
    for file in open_:
        yield warn("secrecy", f"others can read {file}", f"chmod 600 {file}")
    if not open_:
        yield ok("secrecy", f"only its owner can read {_listed(files)}")
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
