"""Promise 15 where it is kept: a dump imported beside the live database."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.operations.restore import ExchangeBack
from composia.strategies.files_copy import FilesCopyBack
from composia.strategies.pgdumpall import PgDumpAll
from composia.strategies.pgimport import PgImport
from tests.e2e.disks import disk
from tests.e2e.node import NodeService
from tests.e2e.world import until
from tests.lab import Lab

SECRET = "planted-database-secret"
COMPOSE = """services:
  db:
    image: postgres:15
    restart: always
    ports: ["{port}:5432"]
    container_name: {name}-fixed
    environment: {{POSTGRES_PASSWORD: {secret}, POSTGRES_USER: {user}{more}}}
    volumes: ["{mount}"]
  web:
    image: busybox:lab
    init: true
    command: sleep 1000000
{volumes}
"""
SAVE = PgDumpAll(service="db")
BACK = PgImport(service="db")


def a_database(node: Lab, name: str, **fields: str) -> NodeService:
    """Up, and filled with everything a cluster has."""
    given = {"port": "5432", "user": "my-admin", "mount": "pg:/var/lib/postgresql/data"}
    given |= {"secret": SECRET, "name": name, "more": "", "volumes": "volumes: {pg: }"} | fields
    service = NodeService(node, name, COMPOSE.format(**given))
    service.compose("up", "-d")
    sql(service, "CREATE ROLE app LOGIN PASSWORD 'planted-role-secret'")
    sql(service, "CREATE DATABASE app OWNER app")
    sql(service, "CREATE TABLE t(x text primary key); INSERT INTO t VALUES ('first')", "app")
    return service


def sql(service: NodeService, statement: str, database: str = "postgres") -> str:
    """One statement, when the database answers over TCP."""
    container = service.running()["db"]
    until(lambda: _answers(service, container), f"the database of {service.name}")
    user = service.docker("exec", container, "printenv", "POSTGRES_USER")
    words = ["exec", container, "psql", "-XU", user, "-d", database, "-Atc", statement]
    return service.docker(*words)


def _answers(service: NodeService, container: str) -> bool:
    words = ["exec", container, "sh", "-c", "pg_isready -qh 127.0.0.1 && echo yes"]
    return service.docker(*words, check=False) == "yes"


def rows(service: NodeService) -> str:
    return sql(service, "SELECT string_agg(x, ',' ORDER BY x) FROM t", "app")


def test_a_dump_replaces_the_data_and_can_be_imported_again(node: Lab) -> None:
    service = a_database(node, "imported")
    wanted = service.save("database", SAVE)
    sql(service, "INSERT INTO t VALUES ('second')", "app")
    sql(service, "CREATE DATABASE later")
    ran = service.running()

    for _ in range(2):
        task = service.restore(wanted, BACK)
        assert rows(service) == "first"
        assert sql(service, "SELECT count(*) FROM pg_database WHERE datname = 'later'") == "0"
        assert sql(service, "SELECT count(*) FROM pg_database WHERE datname ~ 'composia'") == "0"
        assert sql(service, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'app'") == "t"
        assert service.running() == ran

    service.perform(ExchangeBack(service=service.ref, of_task=task))
    assert rows(service) == "first"


def test_an_import_beside_a_folder_in_a_subfolder_with_a_user_of_its_own(node: Lab) -> None:
    service = a_database(
        node, "subfolder", port="5433", mount="./pg:/var/lib/postgresql/data", volumes="",
        more=", PGDATA: /var/lib/postgresql/data/inside",
    )  # fmt: skip
    wanted = service.save("database", SAVE)
    (service.folder / "pg/beside").write_text("stays")
    sql(service, "DROP TABLE t", "app")
    service.restore(wanted, BACK)
    assert rows(service) == "first"
    assert (service.folder / "pg/beside").read_text() == "stays"


def test_an_import_into_a_volume_that_is_a_disk_of_its_own(node: Lab) -> None:
    volumes = "volumes: {pg: {name: own_pg, external: true}}"
    node.docker("main", "volume", "create", "own_pg")
    place = node.docker("main", "volume", "inspect", "-f", "{{.Mountpoint}}", "own_pg")
    with disk(Path(place.strip())):
        service = a_database(node, "own", port="5436", volumes=volumes)
        wanted = service.save("database", SAVE)
        sql(service, "DROP TABLE t", "app")
        task = service.restore(wanted, BACK)
        assert rows(service) == "first"
        service.perform(ExchangeBack(service=service.ref, of_task=task))
        assert sql(service, "SELECT count(*) FROM pg_class WHERE relname = 't'", "app") == "0"
        service.compose("down")


@pytest.mark.parametrize(("at", "more"), [("/var/run/postgresql", ""), ("/sockets", ",/sockets")])
def test_an_import_leaves_alone_the_socket_by_which_others_come(
    node: Lab, at: str, more: str
) -> None:
    node.docker("main", "volume", "create", "pg_sockets")
    place = node.docker("main", "volume", "inspect", "-f", "{{.Mountpoint}}", "pg_sockets")
    Path(place.strip()).chmod(0o1777)
    service = a_database(
        node, "sockets" + at.replace("/", "-"), port="5447",
        mount=f"pg:/var/lib/postgresql/data\", \"sockets:{at}\"]\n"
        f"    command: [\"postgres\", \"-c\", \"unix_socket_directories=/var/run/postgresql{more}",
        volumes="volumes: {pg: , sockets: {name: pg_sockets, external: true}}",
    )  # fmt: skip
    wanted = service.save("database", SAVE)
    sql(service, "INSERT INTO t VALUES ('second')", "app")
    container = service.running()["db"]
    service.perform(service.fetching(wanted, BACK))
    come = ("exec", container, "psql", "-XU", "my-admin", "-h", at, "-d", "app", "-Atc")
    assert service.docker(*come, "SELECT count(*) FROM t") == "2"
    service.compose("down")


def test_an_import_is_whole_where_the_sockets_are_in_the_data_folder(node: Lab) -> None:
    data = "/var/lib/postgresql/data"
    service = a_database(
        node, "inside", port="5449",
        mount=f"pg:{data}\"]\n"
        f"    command: [\"postgres\", \"-c\", \"unix_socket_directories=/var/run/postgresql,{data}",
    )  # fmt: skip
    wanted = service.save("database", SAVE)
    sql(service, "INSERT INTO t VALUES ('second')", "app")
    service.restore(wanted, BACK)
    assert rows(service) == "first"
    service.compose("down", "-v")


def test_an_import_writes_nothing_over_the_archive_of_the_live_database(node: Lab) -> None:
    service = a_database(
        node, "archived", port="5448",
        mount="pg:/var/lib/postgresql/data\", \"archive:/archive\"]\n"
        "    command: [\"postgres\", \"-c\", \"archive_mode=on\", \"-c\","
        " \"archive_command=cp %p /archive/%f",
        volumes="volumes: {pg: , archive: }",
    )  # fmt: skip
    archive = service.volume("archived_archive")
    archive.chmod(0o777)
    first = archive / "000000010000000000000001"
    sql(service, "SELECT pg_switch_wal()")
    archived = "SELECT count(*) FROM pg_stat_archiver WHERE archived_count > 0"
    until(lambda: sql(service, archived) == "1", "the first segment of the archive")
    before = first.read_bytes()
    wanted = service.save("database", SAVE)
    service.perform(service.fetching(wanted, BACK))
    assert first.read_bytes() == before
    service.compose("down", "-v")


def test_an_import_where_the_data_folder_and_the_containers_are_gone(node: Lab) -> None:
    service = a_database(node, "gone", port="5434")
    wanted = service.save("database", SAVE)
    service.compose("down", "-v")
    task = service.new_task()
    service.perform(service.fetching(wanted, BACK), task)
    exchanged = service.perform(service.exchanging(), task)
    assert not exchanged.started
    service.compose("up", "-d")
    assert rows(service) == "first"


def test_a_failed_import_changes_nothing_and_tells_no_secret(node: Lab) -> None:
    service = a_database(node, "broken", port="5435")
    good = service.save("database", SAVE)
    broken = service.save_stream(
        "database",
        b"CREATE ROLE app;\nALTER ROLE app WITH PASSWORD 'planted-role-secret' NONSENSE;\n"
        b"-- PostgreSQL database cluster dump complete\n",
    )
    ran = service.running()
    with pytest.raises(Failure, match="line 2: ERROR") as raised:
        service.perform(service.fetching(broken, BACK))
    assert "planted" not in str(raised.value)
    assert rows(service) == "first"
    assert service.running() == ran
    assert not service.lies_aside()
    assert good.snapshot_id != broken.snapshot_id


def test_a_truncated_dump_is_not_imported(node: Lab) -> None:
    service = a_database(node, "truncated", port="5436")
    cut = service.save_stream("database", b"SELECT 1;\n")
    with pytest.raises(Failure, match="last line"):
        service.perform(service.fetching(cut, BACK))
    assert not service.lies_aside()


def test_a_dump_can_be_put_as_a_file_into_a_folder(node: Lab) -> None:
    service = a_database(node, "filed", port="5437")
    wanted = service.save("database", SAVE)
    service.restore(wanted, FilesCopyBack(include=("./restore/",)))
    dump = service.folder / "restore/dump.sql"
    assert dump.read_text().rstrip().endswith("dump complete\n--")
    assert dump.stat().st_mode & 0o777 == 0o600


def test_an_import_killed_after_any_note_leaves_nothing(node: Lab) -> None:
    service = a_database(node, "killed-import", port="5438")
    wanted = service.save("database", SAVE)
    sql(service, "INSERT INTO t VALUES ('second')", "app")
    ran = service.running()
    fetch, task = service.fetching(wanted, BACK), service.new_task()
    for after in itertools.count(1):
        if not service.perform_and_die(fetch, task, after):
            break
        service.put_right(fetch, task)
        assert not service.lies_aside()
        assert service.running() == ran
    assert after > 4
    assert rows(service) == "first,second"
