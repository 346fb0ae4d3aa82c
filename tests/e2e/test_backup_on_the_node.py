"""Saving on a real node: real engine, real rustic, real PostgreSQL, without a controller."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from composia.errors import Failure
from composia.model.service import ServiceRef
from composia.operations.backup import DataSaved, ItemToSave, SaveData
from composia.operations.hold import held, release
from composia.strategies import AnyBackupStrategy
from composia.strategies.base import Saved, Site
from composia.strategies.files_copy import FilesCopy
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.strategies.pgdumpall import PgDumpAll
from composia.tools import manifest
from tests.e2e.by_hand import ByHand, by_hand
from tests.e2e.services import files_compose
from tests.lab import Lab

POLICIES = ("no", "always", "unless-stopped", "on-failure:5")
POSTGRES = """
services:
  postgres:
    image: postgres:15
    init: true
    network_mode: none
    {more}
    volumes: ["pgdata:/var/lib/postgresql/data"]
volumes: {{pgdata: }}
secrets: {{pw: {{file: ./pw}}}}
"""
DATABASES = {
    "trust": "environment: {POSTGRES_HOST_AUTH_METHOD: trust}",
    "another": "environment: {POSTGRES_USER: boss, POSTGRES_DB: app, POSTGRES_PASSWORD: planted}",
    "password": "environment: {POSTGRES_PASSWORD: planted,"
    " POSTGRES_INITDB_ARGS: --auth-local=scram-sha-256}",
    "peer": "environment: {POSTGRES_PASSWORD: planted, POSTGRES_INITDB_ARGS: --auth-local=peer}",
    # Somebody who is not in /etc/passwd; the folder of its own is what initdb wants then.
    "numeric": 'user: "1234:1234"\n    environment: {POSTGRES_PASSWORD: planted,'
    " PGDATA: /var/lib/postgresql/data/own}",
    "secret": "environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw,"
    " POSTGRES_INITDB_ARGS: --auth-local=scram-sha-256}\n    secrets: [pw]",
}
HOSTILE = (b"new\nline", b'quo"te', b"back\\slash", b"not \xff utf-8", b"we[i]rd*{a}?", b" space ")


@pytest.fixture(scope="module")
def hand(lab: Lab) -> Iterator[ByHand]:
    with by_hand(lab) as made:
        yield made


@asynccontextmanager
async def a_site(hand: ByHand, name: str) -> AsyncIterator[Site]:
    site = hand.site(name, task=f"01{os.urandom(4).hex()}")
    try:
        if await site.engine.repository_id() is None:
            await site.engine.init()
            hand.lighten_keys()
        yield site
    finally:
        await site.docker.aclose()


def a_web(hand: ByHand, name: str, policy: str = "unless-stopped") -> Path:
    """A web server that runs; gives its uploads."""
    folder = hand.service(name, files_compose(f'"{policy}"'))
    (folder / "data/uploads/file").write_text("content")
    (hand.volume(f"{name}_cache") / "x").write_text("x")
    return folder / "data/uploads"


def ref(name: str) -> ServiceRef:
    return ServiceRef(
        name=name,
        folder=name,
        project=name,
        compose_files=("docker-compose.yaml",),
        revision="0" * 40,
    )


def item(name: str, strategy: AnyBackupStrategy) -> ItemToSave:
    return ItemToSave(name=name, backup_id=f"backup-{name}", strategy=strategy)


def cold(*include: str) -> FilesTarAfterStop:
    return FilesTarAfterStop(strategy="files.tar_after_stop", include=include)


async def save(site: Site, *items: ItemToSave) -> DataSaved:
    return await SaveData(service=ref(site.service), items=items).perform(site)


async def ids(site: Site) -> set[str]:
    return {snapshot.id for snapshot in await site.engine.snapshots()}


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await true():  # noqa: ASYNC110  # the node is asked
            await asyncio.sleep(0.05)


async def test_everything_about_files_comes_back_from_a_snapshot(
    hand: ByHand, tmp_path: Path
) -> None:
    uploads = a_web(hand, "whole")
    for name in HOSTILE:
        Path(os.fsdecode(os.fsencode(uploads) + b"/" + name)).write_bytes(name)
    (uploads / "empty").mkdir(mode=0o2750)
    os.link(uploads / "file", uploads / "same")
    (uploads / "link").symlink_to("file")
    os.setxattr(uploads / "file", "user.note", b"kept")
    os.chown(uploads, 33, 33)
    async with a_site(hand, "whole") as site:
        saved = await FilesCopy(include=("./data/uploads", "cache")).save("data", site)
        (tmp_path / "files").mkdir()
        await site.engine.restore(
            saved.snapshot.id,
            {"files/data/uploads": tmp_path / "files"},
            on_progress=site.notes.progress,
        )
    assert (saved.unread, saved.changed, saved.warnings) == ((), (), ())
    assert saved.manifest
    seen = manifest.read(saved.manifest)
    came_back = manifest.take(tmp_path / "files")
    assert manifest.differences(seen.within("files/data/uploads"), came_back) == ()
    assert b"x" in seen.within("volumes/cache").entries


async def test_what_is_excluded_is_not_saved(hand: ByHand, tmp_path: Path) -> None:
    uploads = a_web(hand, "without")
    for name in ("we[i]rd*{a}?", "weird", ".composia-01-0-x"):
        (uploads / name).mkdir()
        (uploads / name / "x").write_text("x")
    async with a_site(hand, "without") as site:
        strategy = FilesCopy(include=("./data/uploads",), exclude=("./data/uploads/we[i]rd*{a}?",))
        saved = await strategy.save("uploads", site)
        listed = await site.engine.list_files(saved.snapshot.id, "files/data/uploads")
    assert {Path(entry.path).name for entry in listed} == {"file", "weird"}


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_cold_backup_starts_the_same_containers_with_their_policies(
    hand: ByHand, policy: str
) -> None:
    name = f"cold-{policy.partition(':')[0]}"
    a_web(hand, name, policy)
    before = hand.container(name, "web")
    async with a_site(hand, name) as site:
        done = await save(site, item("u", cold("./data/uploads")), item("c", cold("cache")))
        restart = (await site.docker.containers(project=name))[0].restart_policy
    assert [one.error for one in done.items] == [None, None]
    assert hand.container(name, "web") == before
    assert hand.inspect(before, ".State.Status") == "running"
    assert restart == policy


async def test_a_service_that_was_stopped_stays_stopped(hand: ByHand) -> None:
    a_web(hand, "stopped", "always")
    hand.compose("stopped", "stop")
    async with a_site(hand, "stopped") as site:
        done = await save(site, item("u", cold("./data/uploads")))
    assert done.items[0].saved
    assert hand.inspect(hand.container("stopped", "web"), ".State.Status") == "exited"


async def test_a_container_started_under_the_hold_makes_the_item_fail(hand: ByHand) -> None:
    a_web(hand, "broken")
    container = hand.container("broken", "web")
    async with a_site(hand, "broken") as site:
        before = await ids(site)

        def start(done: int, total: int | None = None) -> None:
            hand.docker("start", container)

        site.notes.progress = start  # type: ignore[method-assign]  # somebody else's doing
        done = await save(site, item("u", cold("./data/uploads")))
        assert await ids(site) == before
    assert done.items[0].error
    assert "did not stay" in done.items[0].error.message


async def test_a_cancelled_backup_leaves_nothing_that_has_no_record(hand: ByHand) -> None:
    a_web(hand, "given-up")
    async with a_site(hand, "given-up") as site:
        recorded = await save(site, item("c", FilesCopy(include=("cache",))))
        before = await ids(site)

        def cancel(line: str) -> None:
            if line.startswith("Saved u"):
                saving.cancel()

        site.notes.log = cancel  # type: ignore[method-assign]  # somebody's doing
        both = (item("u", cold("./data/uploads")), item("c", cold("cache")))
        saving = asyncio.create_task(save(site, *both))
        with pytest.raises(asyncio.CancelledError):
            await saving
        assert await ids(site) == before
    assert recorded.items[0].saved
    assert recorded.items[0].saved.snapshot.id in before


async def test_a_restarted_engine_does_not_start_what_is_held(hand: ByHand) -> None:
    a_web(hand, "engine", "always")
    container = hand.container("engine", "web")
    async with a_site(hand, "engine") as site:
        async with held(site):
            hand.lab.kill("docker:main")
            hand.lab.start("docker:main")
            assert hand.inspect(container, ".State.Status") == "exited"
        (after,) = await site.docker.containers(project="engine")
    assert (after.id, after.state, after.restart_policy) == (container, "running", "always")


async def test_a_dead_agents_hold_is_released_from_its_note_alone(hand: ByHand) -> None:
    a_web(hand, "dead", "always")
    container = hand.container("dead", "web")
    async with a_site(hand, "dead") as site:
        hold = held(site)
        await hold.__aenter__()
        notes: dict[str, Any] = {"held": site.notes.noted["held"]}  # type: ignore[attr-defined]
        hand.lab.kill("docker:main")
        hand.lab.start("docker:main")
        assert hand.inspect(container, ".State.Status") == "exited"
        await release(site, notes)
        assert hand.inspect(container, ".State.Status") == "running"
        assert hand.inspect(container, ".HostConfig.RestartPolicy.Name") == "always"
        with pytest.raises(Failure):
            await hold.__aexit__(None, None, None)


@pytest.mark.parametrize("kind", DATABASES)
async def test_any_postgresql_is_dumped(hand: ByHand, kind: str) -> None:
    a_database(hand, f"pg-{kind}", DATABASES[kind])
    strategy = PgDumpAll(service="postgres")
    async with a_site(hand, f"pg-{kind}") as site:
        # As it was made, nobody has put anything into it: that is no backup (promise 8).
        with pytest.raises(Failure, match="empty database"):
            await strategy.save("database", site)
        saved = await strategy.save("database", replace(site, empty_is_fine=True))
        dump = await content(site, saved)
    assert b"CREATE ROLE" in dump
    assert dump.rstrip().endswith(b"-- PostgreSQL database cluster dump complete\n--")
    assert saved.snapshot.size == len(dump)


async def test_a_dump_that_fails_half_way_leaves_no_snapshot(hand: ByHand) -> None:
    a_database(hand, "half", DATABASES["trust"])
    sql(hand, "half", "create table t as select md5(n::text) from generate_series(1, 50000) n")
    sql(hand, "half", "checkpoint")
    path = sql(hand, "half", "select pg_relation_filepath('t')")
    hand.compose("half", "stop")
    with (hand.volume("half_pgdata") / path).open("r+b") as file:
        file.seek(8192 * 200)
        file.write(os.urandom(8192 * 100))
    hand.compose("half", "start")
    async with a_site(hand, "half") as site:
        before = await ids(site)
        with pytest.raises(Failure, match="pg_dumpall"):
            await PgDumpAll(service="postgres").save("database", site)
        assert await ids(site) == before


async def test_a_dump_whose_container_is_killed_leaves_no_snapshot(hand: ByHand) -> None:
    a_database(hand, "killed", DATABASES["trust"])
    async with a_site(hand, "killed") as site, a_stalled_dump(hand, site) as dump:
        before = await ids(site)
        hand.compose("killed", "kill")
        with pytest.raises(Failure):
            await dump
        assert await ids(site) == before


async def test_a_cancelled_dump_ends_in_the_container_too(hand: ByHand) -> None:
    a_database(hand, "cancel", DATABASES["trust"])
    async with a_site(hand, "cancel") as site, a_stalled_dump(hand, site) as dump:
        before = await ids(site)
        dump.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dump
        await until(lambda: nothing_dumps(hand, "cancel"))
        assert await ids(site) == before


async def test_a_dump_ends_in_the_container_when_its_client_is_killed(hand: ByHand) -> None:
    a_database(hand, "client", DATABASES["trust"])
    async with a_site(hand, "client") as site, a_stalled_dump(hand, site) as dump:
        for pid in clients("pg_dumpall --clean", "client"):
            # The one may have ended because of the other.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(Failure):
            await dump
        await until(lambda: nothing_dumps(hand, "client"))


def a_database(hand: ByHand, name: str, more: str) -> None:
    hand.write(f"{name}/pw", "planted\n")
    hand.service(name, POSTGRES.format(more=more))
    container = hand.container(name, "postgres")
    ready = ["exec", container, "sh", "-c", "until pg_isready -qh 127.0.0.1; do sleep 0.1; done"]
    hand.docker(*ready)


def sql(hand: ByHand, name: str, statement: str) -> str:
    container = hand.container(name, "postgres")
    return hand.docker("exec", "-u", "postgres", container, "sh", "-c",
                       'until pg_isready -qh 127.0.0.1; do sleep 0.1; done; psql -XAtc "$1"',
                       "sh", statement)  # fmt: skip


@asynccontextmanager
async def a_stalled_dump(hand: ByHand, site: Site) -> AsyncIterator[asyncio.Task[Saved]]:
    """A dump that has begun and waits for a table that somebody else has locked."""
    sql(hand, site.service, "create table t(x int)")
    container = hand.container(site.service, "postgres")
    lock = "begin; lock table t; select pg_sleep(600)"
    hand.docker("exec", "-d", "-u", "postgres", container, "psql", "-Xc", lock)
    await until(lambda: sees(hand, site.service, "wait_event = 'PgSleep'"))
    dump = asyncio.create_task(PgDumpAll(service="postgres").save("database", site))
    try:
        await until(lambda: sees(hand, site.service, "wait_event_type = 'Lock'"))
        yield dump
    finally:
        dump.cancel()
        await asyncio.wait([dump])


async def sees(hand: ByHand, name: str, activity: str) -> bool:
    found = await asyncio.to_thread(
        sql, hand, name, f"select count(*) from pg_stat_activity where {activity}"
    )
    return found != "0"


async def nothing_dumps(hand: ByHand, name: str) -> bool:
    container = hand.container(name, "postgres")
    return "pg_dump" not in await asyncio.to_thread(hand.docker, "top", container)


def clients(*words: str) -> list[int]:
    """Processes of this machine in whose command line all the words are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "compose" in line and all(word in line for word in words):
            found.append(int(path.parent.name))
    return found


async def content(site: Site, saved: Saved) -> bytes:
    async with site.engine.read_file(saved.snapshot.id, "dump.sql") as pieces:
        return b"".join([piece async for piece in pieces])
