"""The only place where a program is started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Protocol, TypeVar

from composia.errors import CommandFailed
from composia.tools import pipes

#: Bytes of a program's complaint that an error quotes.
QUOTED = 2000
#: A line of output may be this long, in bytes: rustic's lists are one line each.
LINE_LIMIT = 256 * 1024 * 1024
#: Bytes that are read at once.
PIECE = 256 * 1024
#: What docker compose quotes behind these words is a value, or a line of a file of variables.
_QUOTES_A_VALUE = re.compile(
    rb"(unterminated quoted value|in variable name(?: near)?|[Ii]nvalid template:"
    rb"|escape any \$ with another \$\.)\s.+",
    re.DOTALL,
)
#: A `$` in a password makes what follows it the name of a variable.
_UNSET = re.compile(rb'The \\?"[^"\\]*\\?" variable is not set')

Stream = TypeVar("Stream")


@dataclass(frozen=True, slots=True)
class Command:
    """A program call as a value: it can be compared, printed and tested before it is run."""

    argv: tuple[str, ...]
    cwd: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    #: Bytes for the program's input. Not shown either.
    stdin: bytes | None = None
    #: A line of its output may be this long; twice as much is read ahead of who reads it slowly.
    line_limit: int = LINE_LIMIT
    #: Seconds for which it may say nothing before it is given up; None: as long as it likes.
    silence: float | None = None

    def __str__(self) -> str:
        # Values of env never appear: that is where passwords travel.
        return " ".join([*(f"{name}=…" for name in self.env), shlex.join(self.argv)])


@dataclass(frozen=True, slots=True)
class Finished:
    """How a program ended and what it said."""

    command: Command
    code: int
    stdout: bytes
    stderr: bytes

    @property
    def complaint(self) -> str:
        """The end of what it said on stderr, or else on stdout; without what may be a secret."""
        said = self.stderr.strip() or self.stdout.strip()
        said = _QUOTES_A_VALUE.sub(rb"\1 (not shown)", said)
        said = _UNSET.sub(b"A variable is not set", said)
        return said[-QUOTED:].decode(errors="replace")

    def error(self) -> CommandFailed:
        """The error that this end stands for."""
        return CommandFailed(f"{self.command} ended with code {self.code}: {self.complaint}")


class Silent(CommandFailed):
    """A program that has said nothing for longer than it may."""


class Running(Protocol):
    """A program at work, with its three streams."""

    @property
    def pid(self) -> int: ...
    @property
    def stdin(self) -> asyncio.StreamWriter: ...
    @property
    def stdout(self) -> asyncio.StreamReader: ...
    @property
    def stderr(self) -> asyncio.StreamReader: ...

    async def wait(self) -> int:
        """Its exit code, when it has ended."""
        ...

    def kill(self) -> None:
        """End it and its children at once; harmless when it has ended."""
        ...


class Shell(Protocol):
    """Programs. A cancelled caller kills the program it waits for, its process group included."""

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        """Run to the end. Raises CommandFailed for a non-zero code when check is set,
        and for a program that cannot be started always; Silent for one that says nothing.
        """
        ...

    def start(self, command: Command) -> AbstractAsyncContextManager[Running]:
        """Start with pipes; leaving the context kills what still runs."""
        ...


class _Process:
    """A program with its pipes and its end on the loop.

    Not by the loop's own way: uvloop copies the page tables of the whole process for each program,
    and a controller stands still for more than 10 ms meanwhile. Popen does not copy them.
    """

    def __init__(self, process: Popen[bytes]) -> None:
        self._process = process
        assert process.stdin
        assert process.stdout
        assert process.stderr
        self._pipes = [process.stdin, process.stdout, process.stderr]
        self._transports: list[asyncio.BaseTransport] = []
        #: None where it is not watched.
        self._end: asyncio.Future[int] | None = None
        self.pid = process.pid
        self.stdin: asyncio.StreamWriter
        self.stdout: asyncio.StreamReader
        self.stderr: asyncio.StreamReader

    async def connect(self, limit: int) -> None:
        """Watch it; `limit` is that of its readers, in bytes. Raises OSError."""
        self._watch()
        stdin, stdout, stderr = self._pipes
        self.stdin = self._kept(await pipes.writer(_released(stdin)))
        self.stdout = self._kept(await pipes.reader(_released(stdout), limit))
        self.stderr = self._kept(await pipes.reader(_released(stderr), limit))

    async def wait(self) -> int:
        if self._end is None:
            # Nothing tells of its end, and it has been killed.
            return await asyncio.to_thread(self._process.wait)
        return await asyncio.shield(self._end)

    def kill(self) -> None:
        # Only while it has not been waited for: its id may belong to somebody else afterwards.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let go of the pipes: a child of its own may hold their other ends for ever."""
        for transport in self._transports:
            transport.close()
        for pipe in self._pipes:
            pipe.close()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        watched = os.pidfd_open(self.pid)
        end: asyncio.Future[int] = loop.create_future()
        try:
            loop.add_reader(watched, self._ended, watched, end)
        except OSError:
            os.close(watched)
            raise
        self._end = end

    def _ended(self, watched: int, end: asyncio.Future[int]) -> None:
        asyncio.get_running_loop().remove_reader(watched)
        os.close(watched)
        end.set_result(self._process.wait())

    def _kept(self, made: tuple[Stream, asyncio.BaseTransport]) -> Stream:
        stream, transport = made
        self._transports.append(transport)
        return stream


def _released(pipe: IO[bytes]) -> int:
    """The descriptor of a pipe, which is the caller's to close from now on."""
    with pipe:
        return os.dup(pipe.fileno())


class LocalShell:
    """Programs on this machine, with `base_env` under each command's own environment."""

    def __init__(self, base_env: Mapping[str, str] | None = None) -> None:
        self._base_env = dict(os.environ if base_env is None else base_env)

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        async with _heard(command) as heard, self.start(command) as process:
            stdout, stderr, _ = await asyncio.gather(
                _read(process.stdout, heard),
                _read(process.stderr, heard),
                _feed(process, command.stdin),
            )
            finished = Finished(command, await process.wait(), stdout, stderr)
        if check and finished.code != 0:
            raise finished.error()
        return finished

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncIterator[Running]:
        running = _Process(self._popen(command))
        try:
            with _starting(command):
                await running.connect(command.line_limit)
            yield running
        finally:
            running.kill()
            running.close()
            await running.wait()

    def _popen(self, command: Command) -> Popen[bytes]:
        with _starting(command):
            return Popen(
                command.argv,
                bufsize=0,
                cwd=command.cwd,
                env={**self._base_env, **command.env},
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,
            )


@contextlib.contextmanager
def _starting(command: Command) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailed(f"{command} could not be started: {error}") from error


@asynccontextmanager
async def _heard(command: Command) -> AsyncIterator[Callable[[], None]]:
    """To be called at each word; raises Silent where the next one does not come in time."""
    if (silence := command.silence) is None:
        yield lambda: None
        return
    now = asyncio.get_running_loop().time
    try:
        async with asyncio.timeout(silence) as limit:
            yield lambda: limit.reschedule(now() + silence)
    except TimeoutError:
        raise Silent(f"{command} has said nothing for {silence:g} s") from None


async def _read(stream: asyncio.StreamReader, heard: Callable[[], None]) -> bytes:
    pieces = []
    while piece := await stream.read(PIECE):
        pieces.append(piece)
        heard()
    return b"".join(pieces)


async def _feed(process: Running, stdin: bytes | None) -> None:
    # A program may end without having read its input: that is its right.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if stdin:
            process.stdin.write(stdin)
            await process.stdin.drain()
        process.stdin.close()
