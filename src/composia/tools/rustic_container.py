"""Running rustic in a container of the user's own service, with a name written down beforehand."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import (
    AsyncIterator,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol

from composia.errors import Failure, Invalid
from composia.tools.compose import Compose, ComposeConfig, ComposeService
from composia.tools.docker import Docker
from composia.tools.rustic_paths import ROOT
from composia.tools.rustic_profile import Mounts, Profile, find_profile, mounts_of
from composia.tools.shell import Command, Finished, Running, Shell

#: Without the first, errors have colours even in a pipe; without the second, a crash hides why;
#: without the third, an image that has no time zones makes rustic complain about every file.
ENVIRONMENT = {"NO_COLOR": "1", "RUST_BACKTRACE": "0", "TZ": "UTC0"}


class Note(Protocol):
    async def __call__(self, name: str, **facts: Any) -> None:
        """Write down what is about to be done, before it is done."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of this machine inside the container."""

    source: Path
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is found out once: the service, its profile, how rustic is called, what is unset."""

    config: ComposeConfig
    service: ComposeService
    mounts: Mounts
    profile: Profile
    program: tuple[str, ...]
    unset: tuple[str, ...]


class Working:
    """rustic at work in a container of ours."""

    def __init__(self, name: str, process: Running, command: Command) -> None:
        self.name = name
        self.stdin, self.stdout = process.stdin, process.stdout
        self._process = process
        self._command = command
        self._complaining = asyncio.ensure_future(process.stderr.read())
        self.ended = False

    async def wait(self, stdout: bytes = b"") -> Finished:
        """How it ended, when it has; `stdout` is what was read of its output."""
        code = await self._process.wait()
        stderr = await self._complaining
        self.ended = True
        return Finished(self._command, code, stdout, stderr)

    async def let_go(self) -> None:
        """Stop listening."""
        self._complaining.cancel()
        await asyncio.gather(self._complaining, return_exceptions=True)


class Container:
    """The way to run rustic for one compose service and profile.

    A run that is left before its end is killed by the container's name: killing the compose
    client would let rustic go on, and close a stream as if it were whole.
    """

    #: How rustic is called, for each image and entry point that has shown it.
    _proven: ClassVar[dict[tuple[str, tuple[str, ...] | None], tuple[str, ...]]] = {}

    def __init__(
        self,
        compose: Compose,
        docker: Docker,
        shell: Shell,
        *,
        compose_service: str,
        profile: str,
        origin: str,
        note: Note,
    ) -> None:
        self._compose = compose
        self._docker = docker
        self._shell = shell
        self._service = compose_service
        self._profile = profile
        self._origin = origin
        self._note = note
        self._ready: Prepared | None = None
        self._preparing = asyncio.Lock()

    def new_name(self) -> str:
        """A name for a container, never used before."""
        return f"composia-{self._origin}-{secrets.token_hex(4)}"

    async def prepared(self) -> Prepared:
        """What is found out once. Raises Invalid where the service cannot be used."""
        async with self._preparing:
            if self._ready is None:
                self._ready = await self._prepare()
        return self._ready

    async def run(self, *arguments: str, mounts: Sequence[Mount] = ()) -> Finished:
        """Run to the end, whatever that is."""
        async with self.start(*arguments, mounts=mounts) as working:
            working.stdin.close()
            return await working.wait(await working.stdout.read())

    @asynccontextmanager
    async def start(
        self, *arguments: str, mounts: Sequence[Mount] = (), name: str | None = None
    ) -> AsyncIterator[Working]:
        """Start it; leaving before it has ended kills it and waits until it is gone."""
        ready = await self.prepared()
        options = ("-P", ready.profile.file, "--log-level", "info")
        called = (*ready.program, *options, *arguments)
        async with self._started(name or self.new_name(), called, ready.unset, mounts) as working:
            yield working

    async def end(self, name: str) -> None:
        """Kill a container of ours; harmless when it is not there."""
        await self._docker.kill_and_remove(name)

    @asynccontextmanager
    async def _started(
        self, name: str, called: Sequence[str], unset: Sequence[str], mounts: Sequence[Mount]
    ) -> AsyncIterator[Working]:
        await self._note(f"container {name}", container=name)
        with _override(self._service, unset, mounts) as file:
            command = self._compose.with_override(file).run(self._service, *called, name=name)
            working = None
            try:
                async with self._shell.start(command) as process:
                    working = Working(name, process, command)
                    try:
                        yield working
                    finally:
                        # Before the client goes, which would close the container's input.
                        await self._end(working)
            finally:
                # Once more: the client may just have been about to start it.
                if not (working and working.ended):
                    await to_the_end(self.end(name))

    async def _end(self, working: Working) -> None:
        if not working.ended:
            await to_the_end(self.end(working.name))
            await working.let_go()

    async def _prepare(self) -> Prepared:
        config = await self._compose.config()
        service = config.services.get(self._service)
        if service is None:
            raise Invalid(
                f"{self._compose.project} has no compose service {self._service!r}",
                hint=f"Set infra.rustic.compose_service to one of: {', '.join(config.services)}.",
            )
        _refuse_mounts(service)
        image = await self._docker.image_config(self._image(service))
        variables = dict(line.partition("=")[::2] for line in image.get("Env") or ())
        variables |= {name: value or "" for name, value in service.environment.items()}
        mounts = mounts_of(config, service, self._docker)
        home = variables.get("HOME") or "/root"
        profile = await find_profile(self._profile, service, mounts, home)
        unset = tuple(profile.neutralised(tuple(variables)))
        program = await self._program(service, image.get("Entrypoint"))
        return Prepared(config, service, mounts, profile, program, unset)

    def _image(self, service: ComposeService) -> str:
        return service.image or f"{self._compose.project}-{service.name}"

    async def _program(
        self, service: ComposeService, image: Sequence[str] | None
    ) -> tuple[str, ...]:
        """The words before rustic's own arguments, proven by its version."""
        entry = tuple(image or ()) if service.entrypoint is None else service.entrypoint
        known = (self._image(service), entry)
        if known not in self._proven:
            self._proven[known] = await self._prove(service, entry)
        return self._proven[known]

    async def _prove(self, service: ComposeService, entry: Sequence[str]) -> tuple[str, ...]:
        first = (service.command or ("rustic",))[0]
        named = (first if PurePosixPath(first).name == "rustic" else "rustic",)
        said = []
        for program in ((), named) if entry else (named, ()):
            async with self._started(self.new_name(), (*program, "--version"), (), ()) as working:
                working.stdin.close()
                finished = await working.wait(await working.stdout.read())
            if finished.code == 0 and finished.stdout.startswith(b"rustic "):
                return program
            said.append(finished.complaint)
        raise Failure(
            f"compose service {service.name} does not run rustic: {said[0]}",
            hint="Its image must have rustic 0.11.4 or newer, as its entry point or on PATH.",
        )


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Await it to its end even when the caller is cancelled meanwhile, and then be cancelled."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    task.result()


def _refuse_mounts(service: ComposeService) -> None:
    for mount in service.mounts:
        if PurePosixPath(mount.target).is_relative_to(ROOT):
            raise Invalid(
                f"compose service {service.name} mounts something at {mount.target}",
                hint=f"Mount it elsewhere: {ROOT} is where Composia mounts what it saves.",
            )


@contextmanager
def _override(service: str, unset: Sequence[str], mounts: Sequence[Mount]) -> Iterator[Path]:
    """A compose file for one run, in memory: a killed agent leaves nothing behind.

    The long form of mounts takes any path, and does not make a source that is missing.
    """
    environment: Mapping[str, str | None] = {**dict.fromkeys(unset), **ENVIRONMENT}
    volumes = [_long_form(mount) for mount in mounts]
    # No log: what it says is read here, and a second copy of it slows a backup down.
    changes = {"environment": environment, "volumes": volumes, "logging": {"driver": "none"}}
    content = {"services": {service: changes}}
    handle = os.memfd_create("composia-compose")
    try:
        os.write(handle, json.dumps(content).replace("$", "$$").encode())
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)


def _long_form(mount: Mount) -> Mapping[str, Any]:
    return {
        "type": "bind",
        "source": str(mount.source),
        "target": mount.target,
        "read_only": mount.read_only,
        "bind": {"create_host_path": False},
    }
