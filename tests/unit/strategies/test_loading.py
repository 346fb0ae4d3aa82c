from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from composia.errors import Damaged
from composia.strategies import dump, fresh_database, loading

DUMP = b"""SET x;
DROP ROLE IF EXISTS app;
DROP ROLE IF EXISTS "my-admin";
CREATE ROLE app;
CREATE ROLE "my-admin";
ALTER ROLE "my-admin" WITH SUPERUSER;
\\connect template1
COPY t FROM stdin;
CREATE ROLE "my-admin";
\\.
-- PostgreSQL database cluster dump complete
--
"""


async def pieces(size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(DUMP), size):
        yield DUMP[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
async def test_only_the_two_lines_of_the_globals_are_left_out(size: int) -> None:
    kept = b"".join([one async for one in loading.without_role(pieces(size), b'"my-admin"')])
    expected = DUMP.replace(b'DROP ROLE IF EXISTS "my-admin";\n', b"")
    assert kept == expected.replace(b'CREATE ROLE "my-admin";\n', b"", 1)


@pytest.mark.parametrize("tail", [b"", b"\n--\n\n", b"\n--\n\n\\unrestrict Abc\n\n"])
def test_a_whole_dump_is_known_by_its_last_line(tail: bytes) -> None:
    assert dump.is_complete(b"x\n--\n-- PostgreSQL database cluster dump complete" + tail)


@pytest.mark.parametrize("tail", [b"", b"SELECT 1;\n", dump.LAST_LINE + b"\nSELECT 1;\n"])
def test_a_dump_that_breaks_off_is_known_too(tail: bytes) -> None:
    assert not dump.is_complete(tail)


def test_the_first_error_is_quoted_without_the_statement() -> None:
    said = (
        b"psql:<stdin>:3: NOTICE:  00000: skipping\n"
        b"LOCATION:  DropErrorMsgNonExistent, tablecmds.c:1340\n"
        b'psql:<stdin>:9: ERROR:  42601: syntax error at or near "NONSENSE"\n'
        b"LINE 1: ALTER ROLE app WITH PASSWORD 'planted' NONSENSE;\n"
    )
    told = loading._why("db", 3, said)
    assert isinstance(told, Damaged)
    assert told.message.endswith(': line 9: ERROR:  syntax error at or near "NONSENSE"')


@pytest.mark.parametrize(
    ("code", "said", "damaged"),
    [
        (3, "psql:<stdin>:2: ERROR:  42P07: relation exists", True),
        (3, "psql:<stdin>:2: FEHLER:  23505: doppelter Wert", True),
        (3, "psql:<stdin>:2: error: invalid command \\x", True),
        (3, "psql:<stdin>:1: WARNING:  01000: odd\npsql:<stdin>:2: ERROR:  22P02: no int", True),
        (3, "psql:<stdin>:2: ERROR:  53100: could not extend file: No space left", False),
        (3, "psql:<stdin>:2: FEHLER:  57014: abgebrochen", False),
        (3, "psql:<stdin>:2: ERROR:  58030: could not read block 3", False),
        (3, "psql:<stdin>:2: ERROR:  0A000: extension is not available", False),
        (3, "psql:<stdin>:2: error: \\connect: connection to server failed", False),
        (2, "psql:<stdin>:2: FATAL:  57P01: terminating connection", False),
        (2, "psql:<stdin>:2: server closed the connection unexpectedly", False),
        (1, "psql: out of memory", False),
        (137, "", False),
    ],
)
def test_only_an_error_of_the_dump_says_that_it_is_damaged(
    code: int, said: str, damaged: bool
) -> None:
    assert isinstance(loading._why("db", code, said.encode()), Damaged) == damaged


def test_lines_that_may_hold_a_password_are_not_shown() -> None:
    said = "it failed\nSTATEMENT:  ALTER ROLE x PASSWORD 'planted'"
    assert fresh_database.safe(said) == "it failed"
