"""A shell in memory: answers from a script, and remembers what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from composia.errors import CommandFailed
from composia.tools.shell import Command, Finished, Running


@dataclass
class Answer:
    """How a program behaves: what it says, how it ends, and whether it ever does."""

    stdout: bytes = b""
    stderr: bytes = b""
    code: int = 0
    #: Runs until it is killed.
    endless: bool = False
    #: Cannot be started at all.
    missing: bool = False
    #: Says what it is told.
    echoes: bool = False


Script = Callable[[Command], Answer]


def always(**facts: object) -> Script:
    """The same answer to everything."""
    return lambda _: Answer(**facts)  # type: ignore[arg-type]  # the fields of Answer, by name


def by_word(**answers: Answer) -> Script:
    """The answer of the first word that is in the command; else an empty success."""

    def find(command: Command) -> Answer:
        found = [answer for word, answer in answers.items() if word in command.argv]
        return found[0] if found else Answer()

    return find


@dataclass
class MemoryShell:
    """Programs that exist in the test's head only."""

    script: Script = field(default_factory=always)
    commands: list[Command] = field(default_factory=list)

    @property
    def argvs(self) -> Sequence[tuple[str, ...]]:
        """What was asked for, in order."""
        return [command.argv for command in self.commands]

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        async with self.start(command) as running:
            if command.stdin:
                running.stdin.write(command.stdin)
            running.stdin.close()
            stdout, stderr = await asyncio.gather(running.stdout.read(), running.stderr.read())
            finished = Finished(command, await running.wait(), stdout, stderr)
        if check and finished.code != 0:
            raise finished.error()
        return finished

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncIterator[Running]:
        self.commands.append(command)
        answer = self.script(command)
        if answer.missing:
            raise CommandFailed(f"{command} could not be started: not found")
        program = _Program(answer, len(self.commands))
        try:
            yield program
        finally:
            program.kill()


class _Input(asyncio.StreamWriter):
    """Takes everything, and hands it back where the program echoes."""

    def __init__(self, program: _Program, echoes: bool) -> None:
        self.program = program
        self.echoes = echoes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.echoes:
            self.program.stdout.feed_data(bytes(data))

    async def drain(self) -> None:
        await asyncio.sleep(0)

    def close(self) -> None:
        self.program.input_ended()

    def __del__(self) -> None:
        return


class _Program:
    def __init__(self, answer: Answer, pid: int) -> None:
        self.pid = pid
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        self.stdin: asyncio.StreamWriter = _Input(self, answer.echoes)
        self._answer = answer
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stdout.feed_data(answer.stdout)
        self.stderr.feed_data(answer.stderr)
        if not (answer.endless or answer.echoes):
            self._end(answer.code)

    def input_ended(self) -> None:
        if self._answer.echoes:
            self._end(self._answer.code)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def kill(self) -> None:
        self._end(-9)

    def _end(self, code: int) -> None:
        if not self._ended.done():
            self._ended.set_result(code)
            self.stdout.feed_eof()
            self.stderr.feed_eof()
