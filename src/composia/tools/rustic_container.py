"""Running rustic in a container of ours, with a name written down beforehand."""

from __future__ import annotations

import asyncio
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from composia.tools.cancelling import to_the_end
from composia.tools.docker import Docker
from composia.tools.shell import Command, Finished, Running, Shell

#: Without the first, errors have colours even in a pipe; without the second, a crash hides why;
#: without the third, an image that has no time zones makes rustic complain about every file.
ENVIRONMENT = {"NO_COLOR": "1", "RUST_BACKTRACE": "0", "TZ": "UTC0"}

_CREDENTIALS = re.compile(rb"://[^/@\s]+@")


class Note(Protocol):
    async def __call__(self, name: str, **facts: Any) -> None:
        """Write down what is about to be done, before it is done."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of this machine inside the container."""

    source: Path
    target: str
    read_only: bool


class Writes(Enum):
    """What of its own rustic may write to: names in a snapshot may lead anywhere it can write."""

    #: Its cache, and nothing that lasts besides.
    CACHE = "cache"
    #: Nothing at all: it makes files as a snapshot names them.
    NOTHING = "nothing"
    REPOSITORY = "repository"


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
        # What it says of an address has the password in it.
        stderr = _CREDENTIALS.sub(b"://***@", await self._complaining)
        self.ended = True
        return Finished(self._command, code, stdout, stderr)

    async def let_go(self) -> None:
        """Stop listening."""
        self._complaining.cancel()
        await asyncio.gather(self._complaining, return_exceptions=True)


class Container(ABC):
    """The way to run rustic: what is started, and how it is told of its repository.

    A run that is left before its end is killed by the container's name: killing the client
    would let rustic go on, and close a stream as if it were whole.
    """

    def __init__(self, docker: Docker, shell: Shell, *, origin: str, note: Note) -> None:
        self._docker = docker
        self._shell = shell
        self._origin = origin
        self._note = note

    @abstractmethod
    async def globs(self) -> tuple[str, ...]:
        """The user's own globs: one on the command line would replace them all."""

    @abstractmethod
    async def filters(self) -> bool:
        """Whether the user's own profile leaves anything out of a backup."""

    @abstractmethod
    async def profile(self) -> str:
        """The profile, as rustic is told of it."""

    @abstractmethod
    async def repository_folder(self) -> Path | None:
        """The repository's folder where it is one of this node."""

    async def fingerprint(self) -> str | None:
        """What stays the same only while it is the same repository, opened in the same way.

        None where that cannot be told without rustic.
        """
        return None

    @abstractmethod
    def _call(
        self,
        name: str,
        arguments: Sequence[str],
        mounts: Sequence[Mount],
        *,
        far: bool,
        writes: Writes,
    ) -> AbstractAsyncContextManager[Command]:
        """The call of rustic, good within the context; `far`: it needs the network anyhow."""

    def new_name(self) -> str:
        """A name for a container, never used before."""
        return f"composia-{self._origin}-{secrets.token_hex(4)}"

    async def run(
        self, *arguments: str, mounts: Sequence[Mount] = (), writes: Writes = Writes.CACHE
    ) -> Finished:
        """Run to the end, whatever that is."""
        async with self.start(*arguments, mounts=mounts, writes=writes) as working:
            working.stdin.close()
            return await working.wait(await working.stdout.read())

    @asynccontextmanager
    async def start(
        self,
        *arguments: str,
        mounts: Sequence[Mount] = (),
        name: str | None = None,
        far: bool = False,
        writes: Writes = Writes.CACHE,
    ) -> AsyncIterator[Working]:
        """Start it; leaving before it has ended kills it and waits until it is gone.

        `far`: it reaches other places than its own repository.
        """
        chosen = name or self.new_name()
        async with (
            self._call(chosen, arguments, mounts, far=far, writes=writes) as command,
            self._started(chosen, command) as working,
        ):
            yield working

    async def end(self, name: str) -> None:
        """Kill a container of ours; harmless when it is not there."""
        await self._docker.kill_and_remove(name)

    @asynccontextmanager
    async def _started(self, name: str, command: Command) -> AsyncIterator[Working]:
        await self._note(f"container {name}", container=name)
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
