"""Caddy on this node: its generated fragments, checked before they are put, and its reload."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from composia.errors import CommandFailed, ComposiaError, Failure, Invalid
from composia.tools import durable
from composia.tools.cancelling import to_the_end
from composia.tools.compose import Compose, explained
from composia.tools.containers import ContainerInfo
from composia.tools.docker import Docker
from composia.tools.mounts import try_to_remove
from composia.tools.shell import Command, Finished

#: Caddy's admin endpoint answers this long after its start, in seconds.
PATIENCE = 5.0
#: Seconds in which an engine that has just started brings back what ran.
STARTS = 10.0
AGAIN = 0.1
NOT_YET = "connection refused"
#: Caddy's last line begins so.
OWN_WORD = "Error: "
#: Fragments that change, by file name: the new content, or None for one that goes.
Changes = Mapping[str, bytes | None]
#: A place on this machine, and the same in the container.
Mounted = tuple[Path, PurePosixPath]
#: Writes down the name of a container before it is started.
Note = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Storage:
    """Where Caddy keeps certificates, as Caddy and as this machine sees it."""

    inside: PurePosixPath
    outside: Path


class Caddy:
    """The Caddy that runs as one compose service, and the folder whose fragments it imports.

    Reads and checks may go on side by side; whoever changes something holds `turn` meanwhile.
    """

    def __init__(
        self,
        compose: Compose,
        docker: Docker,
        *,
        compose_service: str,
        config_dir: str,
        generated: Path,
        scratch: Path,
        turn: asyncio.Lock,
        note: Note,
    ) -> None:
        self.generated = generated
        self.turn = turn
        self._scratch = scratch
        self._note = note
        self._compose = compose
        self._docker = docker
        self._service = compose_service
        self._config = str(PurePosixPath(config_dir) / "Caddyfile")

    def read(self, name: str) -> bytes | None:
        """A fragment as it is on the disk."""
        try:
            return (self.generated / name).read_bytes()
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes | None) -> None:
        """Put a fragment, or take it away, in one rename that is on the disk afterwards."""
        self.generated.mkdir(parents=True, exist_ok=True)
        if content is None:
            durable.remove(self.generated / name)
            return
        # Beside the folder: whatever lies in it is imported, a half-written file too.
        scratch = self.generated.parent / f".composia-{name}.new"
        durable.write(scratch, content)
        scratch.chmod(0o644)
        scratch.replace(self.generated / name)
        durable.sync(self.generated)

    def picture(self, changes: Changes) -> str:
        """A digest of the Caddyfile and all fragments as they would be after the changes."""
        parts = dict(sorted(self._fragments(changes).items()))
        digest = hashlib.sha256()
        for name, content in parts.items():
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()

    async def check(self, changes: Changes) -> None:
        """Have Caddy itself validate the whole configuration as it would be.

        Nothing that a Caddy reads is touched. Raises Invalid with Caddy's complaint, and
        CommandFailed where Caddy could not be asked.
        """
        await self._on_a_copy("validate", changes)

    async def adapted(self, changes: Changes) -> dict[str, Any]:
        """The whole configuration, as it would be, as Caddy's JSON. Raises as `check` does."""
        finished = await self._on_a_copy("adapt", changes)
        found: dict[str, Any] = json.loads(finished.stdout)
        return found

    async def runs(self) -> bool:
        """Whether its container does."""
        container = await self.container()
        return container is not None and container.state == "running"

    async def comes_up(self) -> bool:
        """The same, waiting a while for one that the engine is to start by itself."""
        clock = asyncio.get_running_loop().time
        end = clock() + STARTS
        while (container := await self.container()) and container.state != "running":
            if container.restart_policy == "no" or clock() >= end:
                return False
            await asyncio.sleep(AGAIN)
        return container is not None

    async def reload(self) -> None:
        """Have it take the configuration from the disk; open connections stay.

        Raises CommandFailed when it refuses: then it goes on with what it had.
        """
        end = asyncio.get_running_loop().time() + PATIENCE
        while True:
            said = await self._refused()
            if said is None:
                return
            if NOT_YET not in said or asyncio.get_running_loop().time() > end:
                raise CommandFailed(
                    f"Caddy was not reloaded: {said}",
                    hint="It goes on with the configuration it has. Its log tells more: "
                    f"docker compose -p {self._compose.project} logs {self._service}",
                )
            await asyncio.sleep(AGAIN)

    async def _refused(self) -> str | None:
        """What Caddy says against a reload; None where it has reloaded."""
        container = await self.container()
        if container is None:
            return "it has no container"
        # Not by compose: it takes three times as long, and nobody is answered meanwhile.
        words = ("caddy", "reload", "--config", self._config, "--adapter", "caddyfile")
        command = Command(("docker", "exec", container.id, *words))
        finished = await self._compose.shell.run(command, check=False)
        return None if finished.code == 0 else complaint(finished)

    async def container(self) -> ContainerInfo | None:
        """Its container, in whatever state."""
        for one in await self._docker.containers(project=self._compose.project):
            if one.compose_service == self._service and not one.is_one_off:
                return one
        return None

    async def storage(self) -> Storage | None:
        """Caddy's storage; None where no mount holds it, or while there is no container.

        Raises Failure where a symbolic link in the mount leads to it.
        """
        container = await self.container()
        if container is None:
            return None
        env = container.env
        data = env.get("XDG_DATA_HOME") or f"{env.get('HOME', '/root')}/.local/share"
        inside = PurePosixPath(data) / "caddy"
        outside = _outside(inside, _mounts_of(container))
        if outside and (real := Path(os.path.realpath(outside))) != outside:
            raise Failure(
                f"Caddy's storage {outside} lies behind a symbolic link, to {real}",
                hint="Links in a folder that Caddy may write to are not followed. Put a real"
                " folder there.",
            )
        return Storage(inside=inside, outside=outside) if outside else None

    async def _mounts(self) -> list[Mounted]:
        if container := await self.container():
            return _mounts_of(container)
        service = (await self._compose.config()).services.get(self._service)
        binds = [one for one in (service.mounts if service else ()) if one.type == "bind"]
        return [(Path(one.source or "/"), PurePosixPath(one.target)) for one in binds]

    async def _generated_inside(self) -> PurePosixPath:
        """Where Caddy sees the fragments. Raises Failure where no mount shows them to it."""
        place = Path(os.path.realpath(self.generated))
        for source, target in await self._mounts():
            root = Path(os.path.realpath(source))
            if place.is_relative_to(root):
                return target / place.relative_to(root)
        raise Failure(
            f"Caddy's container does not see {self.generated}",
            hint=f"Mount it, or a folder above it, in compose service {self._service} of "
            f"{self._compose.project}, or correct agent.caddy.generated_dir.",
        )

    async def _on_a_copy(self, verb: str, changes: Changes) -> Finished:
        """Run Caddy beside the one that serves, on a copy of the fragments with the changes."""
        inside = await self._generated_inside()
        name = f"composia-caddy-{secrets.token_hex(6)}"
        with _folder(self._scratch, self._fragments(changes, caddyfile=False)) as copy:
            command = self._compose.run(
                self._service,
                *(verb, "--config", self._config, "--adapter", "caddyfile"),
                name=name,
                mounts={copy: f"{inside}:ro"},
                entrypoint="caddy",
            )
            await self._note("asking_caddy", container=name)
            finished = await self._finished(command, name)
        if finished.code != 0:
            raise _refusal(finished)
        return finished

    async def _finished(self, command: Command, container: str) -> Finished:
        try:
            return await self._compose.shell.run(command, check=False)
        except asyncio.CancelledError:
            # The client has gone, what it had started has not.
            await to_the_end(self._docker.kill_and_remove(container))
            raise

    def _fragments(self, changes: Changes, *, caddyfile: bool = True) -> dict[str, bytes]:
        there = {}
        if self.generated.is_dir():
            files = (path for path in self.generated.rglob("*") if path.is_file())
            there = {str(path.relative_to(self.generated)): path.read_bytes() for path in files}
        for name, content in changes.items():
            there.pop(name, None)
            if content is not None:
                there[name] = content
        main = self.generated.parent / "Caddyfile"
        if caddyfile and main.is_file():
            there["../Caddyfile"] = main.read_bytes()
        return there


def _refusal(finished: Finished) -> ComposiaError:
    # Docker's own errors read otherwise: then Caddy has not been asked.
    if OWN_WORD not in finished.complaint:
        return explained("asking Caddy about its configuration", finished)
    return Invalid(
        f"Caddy refuses the configuration: {complaint(finished)}",
        hint="Nothing was changed, and Caddy goes on with what it has. Mend the fragment in the "
        "catalog, then deploy again.",
    )


def complaint(finished: Finished) -> str:
    """What Caddy says is wrong, without the log it writes around that."""
    lines = finished.complaint.splitlines()
    said = [line for line in lines if line.strip() and not line.startswith("{")]
    text = " ".join(said) or finished.complaint or f"exit code {finished.code}"
    return text.removeprefix("Error: ")


def _mounts_of(container: ContainerInfo) -> list[Mounted]:
    mounts = (one for one in container.mounts if one.source)
    return [(Path(one.source), PurePosixPath(one.destination)) for one in mounts]


def _outside(path: PurePosixPath, mounts: Sequence[Mounted]) -> Path | None:
    """A path in the container as this machine has it: the deepest mount holds it."""
    for source, target in sorted(mounts, key=lambda one: len(one[1].parts), reverse=True):
        if path.is_relative_to(target):
            return Path(os.path.realpath(source)) / path.relative_to(target)
    return None


@contextmanager
def _folder(scratch: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """A folder with these files that every user may read; gone afterwards."""
    folder = scratch / secrets.token_hex(6)
    try:
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o644)
        yield folder
    finally:
        try_to_remove(folder)
