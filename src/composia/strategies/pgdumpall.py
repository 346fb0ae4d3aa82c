"""database.pgdumpall: one SQL stream holding every database of a PostgreSQL service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from composia.errors import CommandFailed, Failure
from composia.strategies import dump, fresh_database
from composia.strategies.base import BackupStrategy, Needs, Saved, Site
from composia.strategies.postgres import CONNECT
from composia.tools.containers import ContainerInfo
from composia.tools.shell import QUOTED, Command, Finished, Running

CHUNK = 1 << 20

# A first start answers on the socket while it is still being filled: TCP says that it is done. A
# server without TCP is believed after a while.
PROBE = (
    CONNECT
    + """
tries=0
until pg_isready -qh 127.0.0.1; do
  tries=$((tries + 1))
  if [ $tries -ge 50 ] && pg_isready -q; then break; fi
  if [ $tries -ge 150 ]; then echo 'it does not accept connections' >&2; exit 3; fi
  sleep 0.2
done
connect
"""
)
# The client's death does not end what it started in a container, but it ends that one's input: then
# the server is asked to end the dump's own connections, and so pg_dump ends with an error. Nothing
# here may be killed and left to PID 1: that is the server, which takes the death of a child by a
# signal for a crash of its own, and throws everybody out.
SCRIPT = (
    CONNECT  # noqa: S608  # a constant
    + """
connect || exit 3
trap '' PIPE
export PGAPPNAME="composia-dump-$$"
exec 3<&0
pg_dumpall --clean --if-exists -w </dev/null &
dump=$!
{
  read -r _ <&3
  while kill -0 $dump; do
    psql -XAtqw -d template1 -c "select pg_terminate_backend(pid) from pg_stat_activity
      where application_name = '$PGAPPNAME' and pid <> pg_backend_pid()"
    sleep 0.2
  done
} </dev/null >/dev/null 2>&1 &
watch=$!
wait $dump
code=$?
kill $watch 2>/dev/null
wait $watch 2>/dev/null
exit $code
"""
)


class Sink(Protocol):
    """Where a dump goes."""

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        ...


class _File:
    """A new file that nobody else may read: it holds the hashes of passwords."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        self.size = 0

    async def write(self, chunk: bytes) -> None:
        self.size += await asyncio.to_thread(self._file.write, chunk)

    async def close(self) -> None:
        await asyncio.to_thread(self._file.close)


class PgDumpAll(BackupStrategy):
    """Dump every database while the service runs."""

    needs: ClassVar[Needs] = Needs.RUNNING

    strategy: Literal["database.pgdumpall"] = "database.pgdumpall"
    service: str = Field(
        min_length=1,
        description="The compose service that runs PostgreSQL.",
        examples=["postgres"],
    )

    async def check(self, site: Site) -> None:
        containers = await site.docker.containers(project=site.compose.project)
        _refuse_stopped(self.service, containers, site)

    async def save(self, item: str, site: Site) -> Saved:
        await self.check(site)
        program = await self._command(site)
        async with site.engine.save_stream(dump.NAME, site.labels(item)) as stream:
            seen = await self._dump(program, stream, site)
            self._refuse_empty(seen, site)
            snapshot = await stream.finish()
        return Saved(
            snapshot=snapshot, empty=(f"database {self.service}",) if seen.is_empty else ()
        )

    async def dump_alone(self, item: str, path: Path, site: Site) -> int:
        """Dump a database that is stopped and that nobody else reaches; the size in bytes.

        Its own container runs by itself on the live data meanwhile. Raises Failure.
        """
        mounted = await fresh_database.live(self.service, site)
        name = f"composia-{site.task}-{item}-dump"
        await site.notes.note(f"dumping_{item}", container=name)
        async with fresh_database.alone(name, mounted, site) as container:
            file = _File(path)
            try:
                await self._dump(await self._inside(container, site), file, site)
            finally:
                await file.close()
            await fresh_database.stop(container, site)
        return file.size

    async def _inside(self, container: str, site: Site) -> Command:
        said = ""
        for user in (None, "postgres"):
            tried = await fresh_database.inside(container, PROBE, site, user=user)
            if tried.code == 0:
                command = fresh_database.exec_(container, SCRIPT, user=user)
                return replace(command, line_limit=CHUNK)
            said = said or tried.complaint
        raise self._refused(said, site)

    async def _command(self, site: Site) -> Command:
        """The dump as whichever user of the container may connect: its own, or postgres."""
        said = ""
        for user in ((), ("--user", "postgres")):
            probe = site.compose.command("exec", "-T", *user, self.service, "sh", "-c", PROBE)
            tried = await site.compose.shell.run(probe, check=False)
            if tried.code == 0:
                words = ("exec", "-T", *user, self.service, "sh", "-c", SCRIPT)
                return replace(site.compose.command(*words), line_limit=CHUNK)
            said = said or tried.complaint
        raise self._refused(said, site)

    def _refused(self, said: str, site: Site) -> Failure:
        return Failure(
            f"service {self.service} of {site.service} refuses the connection for a dump: {said}",
            hint="The user is POSTGRES_USER (else postgres), the password POSTGRES_PASSWORD or"
            f" POSTGRES_PASSWORD_FILE, as service {self.service} has them in the compose file.",
        )

    def _refuse_empty(self, seen: dump.Seen, site: Site) -> None:
        if seen.is_empty and not site.empty_is_fine:
            raise Failure(
                f"service {self.service} of {site.service} has an empty database on {site.node}:"
                " there is nothing to save",
                hint="Is it the right volume, and is its disk mounted? Else take the item out of"
                " `backup.data` until there is something in it.",
            )

    async def _dump(self, command: Command, stream: Sink, site: Site) -> dump.Seen:
        async with site.compose.shell.start(command) as program:
            complaint = asyncio.ensure_future(_end_of(program))
            try:
                seen = await _pump(program, stream, site)
                said, code = await complaint, await program.wait()
            finally:
                complaint.cancel()
        if code != 0:
            ended = Finished(command, code, b"", said)
            raise CommandFailed(
                f"pg_dumpall in service {self.service} of {site.service} failed with code {code}:"
                f" {ended.complaint}",
                hint="Nothing was saved. What PostgreSQL complains about must be mended first.",
            )
        if not dump.is_complete(seen.tail):
            raise Failure(
                f"the dump of service {self.service} of {site.service} ends before its last line",
                hint="Nothing was saved. Was the container stopped meanwhile? Back up again.",
            )
        return seen


async def _pump(program: Running, stream: Sink, site: Site) -> dump.Seen:
    seen = dump.Seen()
    while chunk := await program.stdout.read(CHUNK):
        await stream.write(chunk)
        seen.add(chunk)
        site.notes.progress(seen.size)
    return seen


async def _end_of(program: Running) -> bytes:
    said = b""
    while chunk := await program.stderr.read(CHUNK):
        said = (said + chunk)[-QUOTED:]
    return said


def _refuse_stopped(service: str, containers: Iterable[ContainerInfo], site: Site) -> None:
    mine = [
        container
        for container in containers
        if container.compose_service == service and not container.is_one_off
    ]
    if any(container.state == "running" for container in mine):
        return
    states = ", ".join(sorted({container.state for container in mine})) or "no container"
    raise Failure(
        f"service {service} of {site.service} is not running on {site.node} ({states})",
        hint=f"A dump needs its database: composia deploy {site.service}",
    )
