"""`docker compose` for one project: commands as values, and its own reading of the files."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import CommandFailed, Failure, Invalid
from composia.tools.compose_program import ComposeProgram
from composia.tools.shell import Command, Finished, Shell
from composia.tools.volumes import PLAIN, VolumeKind, kind_of

INSTALL_HINT = "Install the compose plugin, version 2.26 or newer; `composia doctor` checks it."
DOCKER_COMPOSE = ComposeProgram()
#: `docker` without the plugin takes `--ansi` for an option of its own.
NO_SUCH_COMMAND = 125
Pull = Literal["missing", "never"]
#: The networks of a service that names none.
USUAL_NETWORK = {"default": None}
#: What docker compose says, and what to do about it.
HINTS = (
    (
        r"port is already allocated|address already in use",
        "Another program has the port: find it with `ss -ltnp`, or change `ports`.",
    ),
    (
        r"pull access denied|manifest unknown|manifest for \S+ not found|No such image",
        "Check the name under `image`, and log in to its registry on this node if it is private.",
    ),
    (
        r"no such host|i/o timeout|TLS handshake timeout|connection refused|network is unreachable",
        "The registry could not be reached from this node: check its network and DNS. "
        "For an image that is only on this node, set `pull_policy: never`.",
    ),
    (
        r"[Cc]annot connect to the Docker daemon",
        "Start the Docker engine of this node, then try again.",
    ),
    (
        r'container name "/?([^"]+)" is already in use',
        r"A container \1 is there already: remove or rename it, or drop `container_name`.",
    ),
    (
        r"network (\S+) (?:declared as external, but could not be|not) found",
        r"Make it first, on this node: docker network create \1",
    ),
    (
        r'external volume "([^"]+)" not found',
        r"Make it first, on this node: docker volume create \1",
    ),
    (
        r"failed to mount local volume: mount ([^\s:]+):\S+ flags: \S+ no such file or directory",
        r"Docker does not make the folder that a volume binds. Make it, on this node: mkdir -p \1",
    ),
    (r"no space left on device", "The disk of this node is full: free some space, then try again."),
)


class ServiceMount(BaseModel):
    """One entry of a compose service's `volumes`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: volume, bind, tmpfs, ...
    type: str
    #: The compose key of a volume (None: anonymous) or an absolute path.
    source: str | None
    target: str
    read_only: bool
    #: Whether the engine makes the folder of a bind where it is missing; None: as compose does.
    create_host_path: bool | None = None


class ComposeService(BaseModel):
    """What we read of a compose service, as `docker compose config` resolves it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    image: str | None
    #: None: the image's own; empty: none at all.
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: Mapping[str, str | None]
    mounts: tuple[ServiceMount, ...]
    user: str | None
    #: Whether it is in the project's own network and nowhere else, as without a word of networks.
    usual_network: bool = True


class ComposeVolume(BaseModel):
    """A volume under `volumes:`: its compose key, its real name, and what compose makes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    name: str
    external: bool
    kind: VolumeKind = PLAIN


class ComposeConfig(BaseModel):
    """The project as compose understands it."""

    model_config = ConfigDict(frozen=True)

    services: Mapping[str, ComposeService]
    volumes: Mapping[str, ComposeVolume]


class Compose:
    """One compose project: its folder, name and files.

    Every method that changes something runs `docker compose` and raises CommandFailed.
    """

    def __init__(
        self,
        shell: Shell,
        folder: Path,
        project: str,
        files: Sequence[str],
        *,
        overrides: Sequence[Path] = (),
        program: ComposeProgram = DOCKER_COMPOSE,
    ) -> None:
        self.shell = shell
        self.folder = folder
        self.project = project
        self.files = tuple(files)
        self.overrides = tuple(overrides)
        self.program = program
        self._config: ComposeConfig | None = None
        self._reading = asyncio.Lock()

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> Command:
        """`docker compose` with the project's folder, name and files, then the arguments."""
        files = (*self.files, *(str(file) for file in self.overrides))
        words = [*self.program.words, "--ansi", "never", "--progress", "quiet"]
        words += ["--project-directory", str(self.folder), "-p", self.project]
        words += [word for file in files for word in ("-f", file)]
        return Command((*words, *arguments), cwd=self.folder, env=dict(env or {}))

    def with_override(self, file: Path) -> Compose:
        """The same project with one more compose file on top."""
        overrides = (*self.overrides, file)
        return Compose(
            self.shell, self.folder, self.project, self.files,
            overrides=overrides, program=self.program,
        )  # fmt: skip

    async def config(self) -> ComposeConfig:
        """`config --format json`, parsed; asked once. Raises Invalid for a file compose refuses."""
        async with self._reading:
            if self._config is None:
                self._config = await self._read_config()
        return self._config

    async def up(self, *services: str, pull: Pull | None = None) -> None:
        """`up -d`; containers of services that are no longer in the files are left alone.

        `pull`: which images are pulled, whatever `pull_policy` says.
        """
        await self._do("up", "-d", "--quiet-pull", *_pulling(pull), *services)

    async def create(self, pull: Pull | None = None) -> None:
        """Make networks, volumes and containers, and start nothing."""
        await self._do("create", *_pulling(pull))

    async def down(self) -> None:
        """Remove containers and networks; volumes stay, anonymous ones too."""
        await self._do("down")

    async def remove_unused(self, containers: Collection[str]) -> None:
        """Remove containers that have never run; their volumes stay."""
        if containers:
            await self.shell.run(Command(("docker", "rm", "--", *containers)))

    async def rename(self, container: str, name: str) -> None:
        """Give a container its own name, where compose was kept from that."""
        await self.shell.run(Command(("docker", "rename", container, name)))

    async def pull_missing(self) -> None:
        """Pull the images that are not here."""
        await self._do("pull", "--quiet", "--policy", "missing", "--ignore-buildable")

    async def pull(self) -> None:
        """Pull newer images; those that are built here are not asked for."""
        await self._do("pull", "--quiet", "--ignore-buildable")

    async def stop(self, *services: str) -> None:
        """Stop containers and keep them."""
        await self._do("stop", *services)

    async def start(self, *services: str) -> None:
        """Start the containers that are there."""
        await self._do("start", *services)

    async def restart(self, *services: str) -> None:
        """Stop and start the same containers."""
        await self._do("restart", *services)

    def run(
        self,
        service: str,
        *argv: str,
        name: str,
        mounts: Mapping[Path, str] | None = None,
        entrypoint: str | None = None,
    ) -> Command:
        """`run --rm --no-deps -T --name NAME -v HOST:TARGET[:ro] SERVICE ARGV`."""
        options = ["--rm", "--no-deps", "-T", "--name", name]
        for host, target in (mounts or {}).items():
            options += ["-v", f"{host}:{target}"]
        if entrypoint is not None:
            options += ["--entrypoint", entrypoint]
        return self.command("run", *options, service, *argv)

    async def _do(self, *arguments: str) -> None:
        finished = await self.shell.run(self.command(*arguments), check=False)
        if finished.code != 0:
            raise explained(f"docker compose {arguments[0]} of {self.project}", finished)

    async def _read_config(self) -> ComposeConfig:
        # All profiles: a rustic service is often behind one, so that `up` leaves it alone.
        command = self.command("--profile", "*", "config", "--format", "json")
        finished = await self.shell.run(command, check=False)
        if finished.code != 0:
            raise _unread(self, finished)
        return parse_config(json.loads(finished.stdout))


def _pulling(pull: Pull | None) -> tuple[str, ...]:
    return ("--pull", pull) if pull else ()


def explained(what: str, finished: Finished) -> CommandFailed:
    """The error of a failed `docker compose`, with the next step where we know one."""
    said = finished.complaint
    for pattern, hint in HINTS:
        if found := re.search(pattern, said):
            return CommandFailed(f"{what} failed: {said}", hint=found.expand(hint))
    return CommandFailed(f"{what} failed: {said or f'exit code {finished.code}'}")


def parse_config(read: Mapping[str, Any]) -> ComposeConfig:
    """What `docker compose config --format json` printed."""
    services = _plain(read.get("services") or {})
    volumes = _plain(read.get("volumes") or {})
    return ComposeConfig(
        services={name: _service(name, service) for name, service in services.items()},
        volumes={key: _volume(key, volume or {}) for key, volume in volumes.items()},
    )


def _unread(compose: Compose, finished: Finished) -> Failure | Invalid:
    said = finished.complaint
    files = ", ".join(compose.files)
    if finished.code == NO_SUCH_COMMAND or "is not a docker command" in said:
        return Failure(f"docker compose does not work here: {said}", hint=INSTALL_HINT)
    return Invalid(
        f"docker compose refuses {files} of {compose.project}: {said}",
        hint=f"See the same with: cd {compose.folder} && docker compose config",
    )


def _plain(value: Any) -> Any:
    """The value with `$$`, compose's way of writing a `$` of a finished text, read back."""
    if isinstance(value, str):
        return value.replace("$$", "$")
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def _service(name: str, service: Mapping[str, Any]) -> ComposeService:
    return ComposeService(
        name=name,
        image=service.get("image"),
        usual_network="network_mode" not in service
        and service.get("networks", USUAL_NETWORK) == USUAL_NETWORK,
        entrypoint=_words(service.get("entrypoint")),
        command=_words(service.get("command")),
        environment=service.get("environment") or {},
        mounts=tuple(_mount(mount) for mount in service.get("volumes") or ()),
        user=service.get("user"),
    )


def _words(words: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if words is None else tuple(words)


def _mount(mount: Mapping[str, Any]) -> ServiceMount:
    return ServiceMount(
        type=mount["type"],
        source=mount.get("source"),
        target=mount["target"],
        read_only=mount.get("read_only", False),
        create_host_path=(mount.get("bind") or {}).get("create_host_path"),
    )


def _volume(key: str, volume: Mapping[str, Any]) -> ComposeVolume:
    return ComposeVolume(
        key=key,
        name=volume.get("name") or key,
        external=bool(volume.get("external")),
        kind=kind_of(volume.get("driver"), volume.get("driver_opts")),
    )
