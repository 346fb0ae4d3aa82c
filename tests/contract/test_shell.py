"""What every Shell does: the real one and its twin in memory."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import CommandFailed
from composia.tools.shell import QUOTED, Command, Finished, LocalShell, Shell, Silent
from tests.twins.shell import Answer, MemoryShell

SAYS = Command(("sh", "-c", "echo out; echo err >&2; exit 3"))
WELL = Command(("sh", "-c", "echo out"))
ECHOES = Command(("cat",), stdin=b"back")
ENDLESS = Command(("sleep", "1000"))
MISSING = Command(("composia-has-no-such-program",))
SCRIPT = {
    SAYS.argv: Answer(b"out\n", b"err\n", 3),
    WELL.argv: Answer(b"out\n"),
    ECHOES.argv: Answer(echoes=True),
    ENDLESS.argv: Answer(endless=True),
    MISSING.argv: Answer(missing=True),
}


@pytest.fixture(params=["real", "memory"])
def shell(request: pytest.FixtureRequest) -> Shell:
    if request.param == "real":
        return LocalShell()
    return MemoryShell(lambda command: SCRIPT[command.argv])


async def test_a_program_that_ends_well_gives_its_output(shell: Shell) -> None:
    finished = await shell.run(WELL)

    assert (finished.code, finished.stdout, finished.stderr) == (0, b"out\n", b"")


async def test_a_failure_names_the_program_its_code_and_its_complaint(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match=r"(?s)sh -c .* ended with code 3: err"):
        await shell.run(SAYS)


async def test_a_failure_that_was_asked_for_is_an_answer(shell: Shell) -> None:
    finished = await shell.run(SAYS, check=False)

    assert (finished.code, finished.stderr) == (3, b"err\n")


async def test_a_program_may_take_long_but_not_be_silent_for_long() -> None:
    shell = LocalShell()
    # In all longer than the silence, and each time shorter by seconds: a machine may be slow.
    slow = Command(("sh", "-c", "for i in $(seq 9); do echo $i; sleep 0.5; done"), silence=4)
    assert (await shell.run(slow)).stdout.split() == [b"%d" % number for number in range(1, 10)]
    with pytest.raises(Silent, match=r"sleep 1000 has said nothing for 0\.1 s"):
        await shell.run(replace(ENDLESS, silence=0.1), check=False)


async def test_what_goes_in_comes_out(shell: Shell) -> None:
    assert (await shell.run(ECHOES)).stdout == b"back"


async def test_a_program_that_is_missing_is_an_error_even_unchecked(shell: Shell) -> None:
    with pytest.raises(CommandFailed, match="could not be started"):
        await shell.run(MISSING, check=False)


async def test_streams_can_be_used_while_it_runs(shell: Shell) -> None:
    async with shell.start(ECHOES) as running:
        running.stdin.write(b"one\n")
        await running.stdin.drain()
        assert await running.stdout.readline() == b"one\n"
        running.stdin.close()
        assert await running.wait() == 0


async def test_leaving_kills_what_still_runs(shell: Shell) -> None:
    async with shell.start(ENDLESS) as running:
        pass

    assert await running.wait() == -9


async def test_a_cancelled_caller_kills_its_program(shell: Shell) -> None:
    running = asyncio.create_task(shell.run(ENDLESS))
    await asyncio.sleep(0)
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_killing_twice_is_harmless(shell: Shell) -> None:
    async with shell.start(ENDLESS) as running:
        running.kill()
        await running.wait()
        running.kill()


async def test_children_die_with_the_program() -> None:
    command = Command(("sh", "-c", "sleep 1000 & echo $!; wait"))

    async with LocalShell().start(command) as running:
        child = int(await running.stdout.readline())

    async with asyncio.timeout(20):
        while _is_alive(child):  # noqa: ASYNC110  # nobody tells of somebody else's child
            await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_program_that_cannot_be_watched_is_ended_and_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    def too_many(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", too_many)
    async with asyncio.timeout(20):
        with pytest.raises(CommandFailed, match=r"could not be started: .*Too many open files"):
            await LocalShell().run(ENDLESS, check=False)
    assert not Path(f"/proc/{started[0]}").exists()


async def test_the_environment_of_a_command_is_added_to_the_shells_own() -> None:
    shell = LocalShell({"PATH": os.environ["PATH"], "GIVEN": "1"})

    finished = await shell.run(Command(("env",), env={"MORE": "2"}))

    assert {b"GIVEN=1", b"MORE=2"} <= set(finished.stdout.split())


def test_a_command_prints_without_the_values_of_its_environment() -> None:
    command = Command(("psql", "a b"), env={"PGPASSWORD": "secret"})

    assert str(command) == "PGPASSWORD=… psql 'a b'"


def test_a_long_complaint_is_cut_at_its_beginning() -> None:
    finished = Finished(WELL, 1, b"", b"x" * 5000 + b"the end")

    assert finished.complaint.endswith("the end")
    assert len(finished.complaint) == QUOTED
