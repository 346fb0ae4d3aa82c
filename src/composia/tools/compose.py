"""`docker compose` for one project: commands as values, and its own reading of the files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.tools.shell import Command, Shell


class ServiceMount(BaseModel):
    """One entry of a compose service's `volumes`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: volume, bind, tmpfs, ...
    type: str
    #: The compose key of a volume (None: anonymous) or an absolute path.
    source: str | None
    target: str
    read_only: bool


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


class ComposeVolume(BaseModel):
    """A volume under `volumes:`: its compose key and its real name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    name: str
    external: bool


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
        self, shell: Shell, folder: Path, project: str, files: Sequence[str], *,
        overrides: Sequence[Path] = (),
    ) -> None:
        self.shell = shell
        self.folder = folder
        self.project = project
        self.files = tuple(files)
        self.overrides = tuple(overrides)

    def command(self, *arguments: str, env: Mapping[str, str] | None = None) -> Command:
        """`docker compose` with the project's folder, name and files, then the arguments."""
        raise NotImplementedError

    def with_override(self, file: Path) -> Compose:
        """The same project with one more compose file on top."""
        raise NotImplementedError

    async def config(self) -> ComposeConfig:
        """`config --format json`, parsed. Raises Invalid for a file that compose refuses."""
        raise NotImplementedError

    async def up(self, *services: str, wait: bool = False) -> None:
        """`up -d --remove-orphans`? No: orphans are containers somebody wrote; they stay."""

    async def create(self) -> None:
        """Make networks, volumes and containers, and start nothing."""

    async def pull(self) -> None: ...

    async def stop(self, *services: str) -> None: ...

    async def start(self, *services: str) -> None: ...

    async def restart(self, *services: str) -> None: ...

    def exec(self, service: str, *argv: str, env: Sequence[str] = ()) -> Command:
        """`exec -T SERVICE ARGV`; env: names passed on from the command's environment."""
        raise NotImplementedError

    def run(
        self, service: str, *argv: str, name: str, mounts: Mapping[Path, str] | None = None,
        entrypoint: str | None = None, env: Sequence[str] = (),
    ) -> Command:
        """`run --rm --no-deps -T --name NAME -v HOST:TARGET[:ro] SERVICE ARGV`."""
        raise NotImplementedError
