"""A dump of a whole cluster on its way into a fresh database."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from composia.errors import Damaged, Failure
from composia.strategies.base import Site
from composia.strategies.fresh_database import exec_, inside, safe
from composia.strategies.postgres import CONNECT
from composia.tools.shell import QUOTED, Running

#: Ours: whoever loads a dump that drops every database has to be connected to another one.
DATABASE = "composia_import"
WHO = CONNECT + "connect || exit 3\npsql -XAtq -d template1 -c 'select quote_ident(current_user)'\n"
MAKE = (
    CONNECT
    + "connect || exit 3\n"
    + f"psql -Xq -d template1 -c 'CREATE DATABASE {DATABASE} TEMPLATE template0'\n"
)
#: psql's code for an error in what it was given; without a connection it ends with 2.
ERRORS = 3
LOAD = (
    CONNECT
    + "connect || exit 2\n"
    + "exec psql -Xq -v ON_ERROR_STOP=1 -v VERBOSITY=verbose"
    + f" -d {DATABASE} -f - >/dev/null\n"
)
CLEAR = (
    CONNECT
    + f"connect || exit 3\npsql -Xq -d template1 -c 'DROP DATABASE {DATABASE}' -c CHECKPOINT\n"
)
DATABASES = (  # nothing is put in, and so below
    CONNECT  # noqa: S608
    + "connect || exit 3\n"
    + "psql -XAtq -d template1 -c"
    + " 'select datname from pg_database where not datistemplate and datallowconn order by 1'\n"
)
#: One number a line, for each table of a database: what it has, partitions each by itself.
COUNT = (
    CONNECT  # noqa: S608
    + """connect || exit 3
psql -XAtq -v ON_ERROR_STOP=1 -d "$1" <<'SQL'
select format('select count(*) from %I.%I', nspname, relname)
from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relkind = 'r' and relpersistence <> 't'
and nspname <> 'information_schema' and nspname !~ '^pg_'
order by 1
\\gexec
SQL
"""
)
#: What psql says about a statement that failed; whatever follows may quote the statement.
COMPLAINT = re.compile(
    r"^psql:\S*:(?P<line>\d+): (?P<kind>\w+):\s+(?:(?P<state>[0-9A-Z]{5}): )?(?P<text>.*)$",
    re.MULTILINE,
)
#: Classes of SQLSTATEs that are notices.
NO_ERRORS = ("00", "01", "02")
#: Classes that say nothing of the dump: this server has no room, is stopped, cannot read its files
#: (or those of an extension that its image lacks), does not know a feature, or fails inside.
OF_THE_SERVER = ("53", "57", "58", "0A", "XX")


async def load(container: str, item: str, pieces: AsyncIterator[bytes], site: Site) -> int:
    """Load the dump, stopping at the first error; answers its size in bytes. Raises Failure."""
    user = await _who_may(container, site)
    role = (await _do(container, WHO, user, site)).strip()
    await _do(container, MAKE, user, site)
    size = await _feed(container, user, item, without_role(pieces, role), site)
    await _do(container, CLEAR, user, site)
    return size


class Counted(NamedTuple):
    """What a cluster holds."""

    databases: int
    tables: int
    rows: int


async def count(container: str, site: Site) -> Counted:
    """Count the rows of every table: each is read from its first page to its last."""
    user = await _who_may(container, site)
    names = (await _do(container, DATABASES, user, site)).decode().splitlines()
    found = [await _do(container, COUNT, user, site, word=name) for name in names]
    rows = [int(line) for one in found for line in one.splitlines() if line.strip()]
    return Counted(len(names), len(rows), sum(rows))


async def _who_may(container: str, site: Site) -> str | None:
    """Whichever user of the container may connect: its own, or postgres."""
    for user in (None, "postgres"):
        tried = await inside(container, WHO, site, user=user)
        if tried.code == 0:
            return user
    raise Failure(
        f"the fresh database refuses the connection for an import: {safe(tried.complaint)}",
        hint="The user is POSTGRES_USER (else postgres), the password POSTGRES_PASSWORD or"
        " POSTGRES_PASSWORD_FILE, as the service has them in the compose file.",
    )


async def _do(
    container: str, script: str, user: str | None, site: Site, *, word: str = ""
) -> bytes:
    finished = await inside(container, script, site, user=user, word=word)
    if finished.code != 0:
        raise Failure(f"the fresh database does not do its work: {safe(finished.complaint)}")
    return finished.stdout


async def _feed(
    container: str, user: str | None, item: str, pieces: AsyncIterator[bytes], site: Site
) -> int:
    async with site.compose.shell.start(exec_(container, LOAD, user=user)) as psql:
        said = asyncio.ensure_future(_end_of(psql))
        drained = asyncio.ensure_future(psql.stdout.read())
        try:
            size = await _pump(psql, pieces)
            code, complaint = await psql.wait(), await said
        finally:
            said.cancel()
            drained.cancel()
    if code != 0:
        raise _why(item, code, complaint)
    return size


async def _pump(psql: Running, pieces: AsyncIterator[bytes]) -> int:
    """Write until psql has ended or all is written; a psql that ended says why itself."""
    size = 0
    with suppress(BrokenPipeError, ConnectionResetError):
        async for piece in pieces:
            psql.stdin.write(piece)
            await psql.stdin.drain()
            size += len(piece)
        psql.stdin.close()
    return size


async def without_role(pieces: AsyncIterator[bytes], role: bytes) -> AsyncIterator[bytes]:
    """The dump without the two lines of its globals that drop and make the connecting role."""
    dropped = {
        b"DROP ROLE IF EXISTS %s;" % role,
        b"DROP ROLE %s;" % role,
        b"CREATE ROLE %s;" % role,
    }
    rest = b""
    async for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        end = next((at for at, line in enumerate(lines) if line.startswith(b"\\connect ")), None)
        globals_ = lines if end is None else lines[:end]
        kept = [line for line in globals_ if line not in dropped]
        tail = [] if end is None else lines[end:]
        yield b"".join(b"%s\n" % line for line in [*kept, *tail])
        if end is not None:
            break
    if rest:
        yield rest
    async for piece in pieces:
        yield piece


async def _end_of(psql: Running) -> bytes:
    # It stops at the first error, so that is at the end; notices may come before.
    said = b""
    while chunk := await psql.stderr.read(1 << 16):
        said = (said + chunk)[-QUOTED:]
    return said


def _why(item: str, code: int, complaint: bytes) -> Failure:
    """Damaged only where the dump itself is wrong: of a server in trouble it says nothing."""
    text = complaint.decode(errors="replace")
    error = _error(text)
    told = f"line {error['line']}: {error['kind']}:  {safe(error['text'])}" if error else safe(text)
    if code == ERRORS and not (error and _is_of_the_server(error)):
        return Damaged(
            f"the dump of {item} could not be loaded: {told}",
            hint="Nothing was touched: the live database runs on. Choose another backup, or mend"
            " what the image of the service is missing (a locale).",
        )
    return Failure(
        f"the fresh database could not take the dump of {item} (psql ended with {code}): {told}",
        hint="Nothing was touched, and it says nothing about the backup. Look at the node's disk"
        " and memory, and whether the image of the service has all extensions; then try again.",
    )


def _error(said: str) -> re.Match[str] | None:
    # It stops at the first, so that is the last; what came before are notices and warnings.
    found = [
        one for one in COMPLAINT.finditer(said) if not (one["state"] or "").startswith(NO_ERRORS)
    ]
    return found[-1] if found else None


def _is_of_the_server(error: re.Match[str]) -> bool:
    if error["state"] is None:
        return error["text"].startswith("\\connect: ")
    return error["state"].startswith(OF_THE_SERVER)
