"""database.pgdumpall: a dump counts when it is whole, and else leaves nothing (promise 7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import CommandFailed, Failure
from composia.strategies import dump
from composia.strategies.pgdumpall import PgDumpAll
from composia.tools.shell import Command, Finished, Running, Shell
from tests.twins.site import Twins

LAST = b"--\n-- PostgreSQL database cluster dump complete\n--\n\n"
EMPTY = b"CREATE ROLE app;\nDROP DATABASE IF EXISTS app;\nCREATE DATABASE app;\n" + LAST
WHOLE = b"CREATE ROLE app;\nCREATE TABLE public.words (\n" + LAST


class Postgres(Shell):
    """`docker compose exec` into a PostgreSQL that answers to some users and dumps `content`."""

    def __init__(self) -> None:
        self.answers = {"": True, "postgres": True}
        self.content, self.complaint, self.code = WHOLE, b"", 0
        self.commands: list[Command] = []
        self.stalls = asyncio.Event()
        self.stalls.set()
        self.started = asyncio.Event()
        self.running = 0

    async def run(self, command: Command, *, check: bool = True) -> Finished:
        self.commands.append(command)
        user = command.argv[command.argv.index("--user") + 1] if "--user" in command.argv else ""
        if self.answers[user]:
            return Finished(command, 0, b"", b"")
        return Finished(command, 2, b"", b"Peer authentication failed")

    @asynccontextmanager
    async def start(self, command: Command) -> AsyncIterator[Running]:
        self.commands.append(command)
        self.running += 1
        self.started.set()
        try:
            yield await self._dump()
        finally:
            self.running -= 1

    async def _dump(self) -> _Dump:
        stdout, stderr = asyncio.StreamReader(), asyncio.StreamReader()
        stdout.feed_data(self.content)
        stderr.feed_data(self.complaint)
        if self.stalls.is_set():
            stdout.feed_eof()
            stderr.feed_eof()
        return _Dump(stdout, stderr, self.code)


class _Dump(Running):
    pid = 1

    def __init__(
        self, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader, code: int
    ) -> None:
        self._stdout, self._stderr, self._code = stdout, stderr, code

    @property
    def stdout(self) -> asyncio.StreamReader:
        return self._stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        return self._stderr

    @property
    def stdin(self) -> asyncio.StreamWriter:
        raise AssertionError("a dump reads no input")

    async def wait(self) -> int:
        return self._code

    def kill(self) -> None:
        raise AssertionError("leaving the context is what ends it")


@pytest.fixture
def postgres() -> Postgres:
    return Postgres()


@pytest.fixture
def twins(tmp_path: Path, postgres: Postgres) -> Twins:
    made = Twins(tmp_path / "my-app", shell=postgres)
    made.docker.add("postgres", folder=made.folder)
    return made


STRATEGY = PgDumpAll(service="postgres")


async def test_a_whole_dump_is_saved_as_it_came(twins: Twins) -> None:
    saved = await STRATEGY.save("database", twins.site)
    assert twins.engine.streams == {"dump.sql": WHOLE}
    assert (saved.snapshot.size, saved.manifest) == (len(WHOLE), None)
    assert twins.notes.done == [(len(WHOLE), None)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        WHOLE[:-10],
        WHOLE.replace(b"-- Postgre", b"x-- Postgre"),
        WHOLE + b"CREATE TABLE more();\n",
    ],
)
async def test_a_truncated_dump_leaves_no_snapshot(
    twins: Twins, postgres: Postgres, content: bytes
) -> None:
    postgres.content = content
    with pytest.raises(Failure, match="ends before its last line"):
        await STRATEGY.save("database", twins.site)
    assert twins.engine.kept == {}


async def test_an_emptied_database_is_no_backup(twins: Twins, postgres: Postgres) -> None:
    postgres.content = EMPTY
    with pytest.raises(Failure, match="empty database on main: there is nothing to save") as told:
        await STRATEGY.save("database", twins.site)
    assert "mounted" in str(told.value.hint)
    assert twins.engine.streams == {}
    # Before a move or a restore it is told, for it may be what is wrong.
    saved = await STRATEGY.save("database", replace(twins.site, empty_is_fine=True))
    assert saved.empty == ("database postgres",)


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("dumped", "is_empty"),
    [
        (EMPTY, True),
        (WHOLE, False),
        (EMPTY.replace(b"\n", b"\nCOPY public.a FROM stdin;\n", 1), False),
        (EMPTY.replace(b"\n", b"\nSELECT pg_catalog.lo_create('1');\n", 1), False),
        (b"CREATE VIEW a AS\n" + LAST, False),
        (b"-- CREATE TABLE a\n" + b"x" * 5000 + b"\n" + LAST, True),
    ],
    ids=["empty", "a table", "rows", "a large object", "a view", "a remark"],
)
def test_a_dump_tells_whether_anything_is_in_it(
    dumped: bytes, size: int, *, is_empty: bool
) -> None:
    seen = dump.Seen()
    for start in range(0, len(dumped), size):
        seen.add(dumped[start : start + size])
    assert (seen.is_empty, seen.size) == (is_empty, len(dumped))
    assert dump.is_complete(seen.tail)


async def test_a_dump_that_fails_after_its_last_line_leaves_no_snapshot(
    twins: Twins, postgres: Postgres
) -> None:
    postgres.code, postgres.complaint = 1, b"pg_dump: error: query failed\n"
    with pytest.raises(CommandFailed, match="pg_dump: error: query failed") as raised:
        await STRATEGY.save("database", twins.site)
    assert raised.value.hint
    assert twins.engine.kept == {}


async def test_a_database_that_lets_only_its_own_user_in_is_dumped_by_that_one(
    twins: Twins, postgres: Postgres
) -> None:
    postgres.answers[""] = False
    await STRATEGY.save("database", twins.site)
    words = postgres.commands[-1].argv
    assert words[words.index("exec") :][:5] == ("exec", "-T", "--user", "postgres", "postgres")


async def test_a_database_that_lets_nobody_in_says_why(twins: Twins, postgres: Postgres) -> None:
    postgres.answers = {"": False, "postgres": False}
    with pytest.raises(Failure, match="Peer authentication failed") as raised:
        await STRATEGY.save("database", twins.site)
    assert "POSTGRES_PASSWORD_FILE" in str(raised.value.hint)
    assert twins.engine.kept == {}


async def test_a_database_that_does_not_run_is_named_with_the_next_step(twins: Twins) -> None:
    twins.docker.change("postgres", state="exited")
    with pytest.raises(Failure, match=r"service postgres of my-app is not running.*exited") as told:
        await STRATEGY.save("database", twins.site)
    assert "composia deploy my-app" in str(told.value.hint)


async def test_a_container_of_compose_run_is_not_the_database(twins: Twins) -> None:
    twins.docker.there.clear()
    twins.docker.add("postgres", one_off=True)
    with pytest.raises(Failure, match="no container"):
        await STRATEGY.check(twins.site)


async def test_a_cancelled_dump_ends_its_program_and_leaves_no_snapshot(
    twins: Twins, postgres: Postgres
) -> None:
    postgres.stalls.clear()
    task = asyncio.create_task(STRATEGY.save("database", twins.site))
    await postgres.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (postgres.running, twins.engine.kept) == (0, {})


async def test_nothing_of_the_service_is_put_into_the_script(twins: Twins) -> None:
    await PgDumpAll(service="postgres").save("database", twins.site)
    scripts = {command.argv[-1] for command in twins.shell.commands}  # type: ignore[attr-defined]
    assert not any(twins.site.service in script for script in scripts)
    assert dump.NAME == "dump.sql"
