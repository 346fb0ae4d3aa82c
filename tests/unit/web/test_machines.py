"""Nodes, instances, their logs, and charts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from composia.errors import Failure
from composia.model.backup import BackupStatus
from composia.operations.readings import ContainerLogs
from composia.web.charts import ServiceCharts, outages
from composia.web.logs import LONGEST, lines_of
from tests.twins.office import MemoryOffice, backup
from tests.unit.web.conftest import Visitor


async def test_nodes_show_what_they_run_and_how_full_they_are(admin: Visitor) -> None:
    every, one = await admin.get("/nodes"), await admin.get("/nodes/main")

    assert "Offline" in every.text
    assert "211 GiB of 500 GiB free" in every.text
    assert "/services/my-app/instances?node=main" in one.text
    assert "Docker" in one.text


async def test_an_agent_that_is_too_old_says_what_to_install(
    admin: Visitor, office: MemoryOffice
) -> None:
    office.nodes.needs_update = lambda node: node == "edge"  # type: ignore[method-assign]

    page = (await admin.get("/nodes/edge")).text

    assert "Its agent needs an update" in page


async def test_every_new_node_gets_a_token_of_its_own(admin: Visitor) -> None:
    first, second = await admin.get("/add-node?id=attic"), await admin.get("/add-node?id=attic")

    tokens = [set(re.findall(r"\b[0-9a-f]{64}\b", page.text)) for page in (first, second)]
    # The page has its form's token, too, which is the same in both.
    assert len(tokens[0] - tokens[1]) == 1
    assert first.headers["cache-control"] == "no-store"
    assert "{id: attic, token_file: /etc/composia/attic-token}" in first.text
    assert "controller_addr: http://composia" in first.text


@pytest.mark.parametrize("host", ["127.0.0.1:7001", "localhost", "[::1]:7001"])
async def test_an_address_that_no_other_machine_reaches_is_told(admin: Visitor, host: str) -> None:
    for address, told in (
        (f"http://{host}", True),
        ("http://c.example.com", False),
        ("http://[", False),
    ):
        page = (await admin.get("/add-node", params={"address": address})).text
        assert ("No other machine reaches this address" in page) is told


async def test_a_nodes_name_cannot_leave_its_line(admin: Visitor) -> None:
    for odd in ("a;reboot", "a b", "$(x)", "A"):
        assert (await admin.get("/add-node", params={"id": odd})).status_code == 422
    odd = "http://x/$(reboot)"
    assert (await admin.get("/add-node", params={"id": "a", "address": odd})).status_code == 422


async def test_only_an_admin_adds_nodes(stranger: Visitor) -> None:
    await stranger.sign_in("read-token")

    assert (await stranger.get("/add-node?id=attic")).status_code == 403
    assert "/add-node" not in (await stranger.get("/nodes")).text


async def test_containers_are_heard_one_or_all(admin: Visitor, office: MemoryOffice) -> None:
    every = await admin.get("/services/my-app/instances/main/log")
    await admin.get("/services/my-app/instances/main/log?container=my-app-web-1")

    asked = [one for one in office.nodes.asked if isinstance(one, ContainerLogs)]
    assert [one.container for one in asked] == [None, "my-app-web-1"]
    assert all(one.follow for one in asked)
    assert every.text.startswith("event: begin\n")
    assert every.text.count("event: log") == 1
    assert every.text.count("\ndata: my-app-web-1 | ") == 80


async def test_a_log_that_cannot_be_read_says_why(admin: Visitor, office: MemoryOffice) -> None:
    def refuse(*_: object) -> None:
        raise Failure("Docker does not answer", hint="Start it.")

    office.nodes.read = refuse  # type: ignore[assignment,method-assign]  # as a node would

    log = (await admin.get("/services/my-app/instances/main/log")).text

    assert "data: Docker does not answer Start it." in log


async def test_a_log_of_another_container_is_refused(admin: Visitor) -> None:
    log = "/services/my-app/instances/main/log?container=guestbook-web-1"

    assert (await admin.get(log)).status_code == 404
    assert (await admin.get("/services/guestbook/instances/edge/log")).status_code == 409


async def test_bytes_become_lines() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for one in (b"a\r\nb", b"c\n", b"x" * (LONGEST + 1), b"\xff"):
            yield one

    assert [line async for line in lines_of(chunks())] == ["a", "bc", "x" * (LONGEST + 1), "\ufffd"]


async def test_the_data_tab_draws_and_says_the_same(admin: Visitor) -> None:
    page = (await admin.get("/services/my-app/data")).text

    assert "25 runs since" in page
    assert "grew by 168 MiB in 24 d" in page
    assert page.count("As a table") >= 4
    assert "Start until it answers 1.1 s" in page


def test_a_gap_is_a_gap() -> None:
    now = datetime.now(UTC)
    times = [now - timedelta(days=day) for day in (20, 19, 5, 1)]
    records = [
        backup(f"01B{n}", time=time, size=100 + n, duration=1.0) for n, time in enumerate(times)
    ]
    records.append(backup("01B9", time=now, status=BackupStatus.FAILED, snapshot_id=None))

    drawn = ServiceCharts.of(records, (), now)

    (line,) = drawn.timelines
    xs = [dot.x for dot in line.dots]
    assert xs == sorted(xs)
    assert xs[2] - xs[1] > 10 * (xs[1] - xs[0]) > 0
    assert (line.failed, round(line.longest_gap / 86400)) == (1, 14)
    assert drawn.sizes[0].grown == 3
    assert xs[-1] <= 600


def test_one_backup_is_a_dot_and_no_curve() -> None:
    now = datetime.now(UTC)

    drawn = ServiceCharts.of([backup(time=now, size=5, duration=0.0)], (), now)

    assert len(drawn.timelines[0].dots) == 1
    assert drawn.sizes == ()
    assert drawn.durations == ()


async def test_outages_share_one_scale(office: MemoryOffice) -> None:
    moves = await office.store.tasks(type="migrate")

    longest, shorter = outages(moves)

    assert round(sum(part.width for part in longest.parts)) == 600
    assert sum(part.width for part in shorter.parts) < 300
