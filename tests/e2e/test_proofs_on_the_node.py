"""A dump is proven by an import into a throw-away database: nothing live is touched."""

from __future__ import annotations

import itertools

import pytest

from composia.errors import Damaged, Failure
from composia.operations.verifying import BackupProven, VerifyDump
from composia.strategies.base import Wanted
from tests.e2e.disks import disk
from tests.e2e.node import NodeService
from tests.e2e.test_imports_on_the_node import SAVE, a_database, rows, sql
from tests.lab import Lab

END = b"--\n-- PostgreSQL database cluster dump complete\n--\n"


@pytest.fixture(scope="module")
def service(node: Lab) -> NodeService:
    """A database that is in use."""
    made = a_database(node, "proven")
    sql(made, 'CREATE TABLE "odd\'s name" AS SELECT generate_series(1, 1000)', "app")
    return made


def verifying(service: NodeService, wanted: Wanted) -> VerifyDump:
    return VerifyDump(service=service.ref, wanted=wanted, compose_service="db")


def verify(service: NodeService, wanted: Wanted) -> BackupProven:
    found: BackupProven = service.perform(verifying(service, wanted))
    return found


def left(service: NodeService) -> list[str]:
    """What verifications have left: containers, and what lies aside."""
    return [*service.docker("ps", "-aqf", "name=composia-").split(), *service.lies_aside()]


def test_a_dump_is_imported_and_counted_beside_the_database_that_runs(
    service: NodeService,
) -> None:
    wanted = service.save("database", SAVE)
    sql(service, "INSERT INTO t VALUES ('second')", "app")
    ran = service.running()

    proven = verify(service, wanted)

    assert proven.text == "imported, 2 tables, 1,001 rows"
    assert (service.running(), rows(service)) == (ran, "first,second")
    assert left(service) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"CREATE TABLE t(x int);\n", "is not whole: its last line is missing"),
        (b"CREATE TABLE t(x int);\nCREATE TABLE t(x int);\n" + END, "line 2: ERROR"),
    ],
    ids=["truncated", "with an error"],
)
def test_a_dump_that_cannot_be_imported_whole_is_caught(
    service: NodeService, content: bytes, told: str
) -> None:
    wanted = service.save_stream("database", content)

    with pytest.raises(Damaged, match=told):
        verify(service, wanted)

    assert left(service) == []


@pytest.mark.parametrize(
    "content",
    [
        b"COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID';\n",
        b"COPY (SELECT 1) TO PROGRAM 'kill -INT 1; sleep 60';\n",
        b"CREATE EXTENSION not_in_this_image;\n",
    ],
    ids=["killed for want of memory", "stopped by its engine", "an extension that is not here"],
)
def test_trouble_of_the_throw_away_database_says_nothing_of_the_dump(
    service: NodeService, content: bytes
) -> None:
    wanted = service.save_stream("database", content + END)

    with pytest.raises(Failure, match="could not take the dump of database") as raised:
        verify(service, wanted)

    assert not isinstance(raised.value, Damaged)
    assert left(service) == []


def test_a_disk_that_is_full_in_the_middle_says_nothing_of_the_dump(node: Lab) -> None:
    folder = node.nodes["main"].repo_dir / "roomless-disk"
    fill = b"CREATE TABLE filler AS SELECT generate_series(1, 10000000) AS x;\n"
    with disk(folder, "size=250m"):
        service = a_database(
            node, "roomless", port="5439", mount=f"{folder}/pg:/var/lib/postgresql/data", volumes=""
        )
        wanted = service.save_stream("database", fill + END)
        try:
            with pytest.raises(Failure, match="could not take the dump of database") as raised:
                verify(service, wanted)
            assert rows(service) == "first"
            assert [path.name for path in folder.iterdir()] == ["pg"]
        finally:
            service.compose("kill")

    assert not isinstance(raised.value, Damaged)
    assert left(service) == []


def test_a_killed_verification_leaves_nothing(service: NodeService) -> None:
    operation = verifying(service, service.save("database", SAVE))
    ran = service.running()

    for after in itertools.count(3, 3):
        task = service.new_task()
        if not service.perform_and_die(operation, task, after):
            break
        service.put_right(operation, task)
        assert left(service) == []

    assert after > 4
    assert service.running() == ran
