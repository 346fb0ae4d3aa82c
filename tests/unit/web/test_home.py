"""Home: everything in four numbers, and the backups of the last days."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from pydantic import SecretStr

from composia.controller.auth import Gate
from composia.model.backup import BackupDay, BackupStatus
from composia.model.catalog import Broken, CatalogView
from composia.model.config import AccessToken, RusticConfig, Scope
from composia.model.notification import EventName, NotificationState
from composia.web.charts import DAYS, HEIGHT, WIDTH, DayChart
from tests.twins.office import PROBLEM, MemoryOffice, backup, notification
from tests.unit.web.conftest import Visitor

TODAY = date(2026, 11, 24)
CHART = re.compile(r'aria-label="Backups by day: ([^"]+)"')
ROW = re.compile(r"<tr><td>(\d{4}-\d\d-\d\d)</td>" + 3 * r"<td[^>]*>(\d+)</td>")


async def home(visitor: Visitor) -> str:
    return (await visitor.get("/")).text


def day(back: int, **counts: int) -> BackupDay:
    return BackupDay(day=TODAY - timedelta(days=back), **counts)


async def test_home_comes_whichever_service_is_broken(admin: Visitor, office: MemoryOffice) -> None:
    broken = Broken(folder="infra-backup", name=None, problems=(PROBLEM,), infra=None)
    office.catalog.known = CatalogView(broken=(broken,))
    office.config = office.config.model_copy(update={"rustic": RusticConfig()})

    for path in ("/", "/nodes", "/nodes/main"):
        assert (await admin.get(path)).status_code == 200


def test_every_one_of_the_last_days_has_its_place_and_an_empty_one_is_a_gap() -> None:
    chart = DayChart.of([day(3, good=2), day(1, good=1, failed=1)], TODAY)

    assert [bar.day.day for bar in chart.bars] == [
        TODAY - timedelta(days=back) for back in reversed(range(DAYS))
    ]
    assert [place for place, bar in enumerate(chart.bars) if bar.layers] == [DAYS - 4, DAYS - 2]
    assert (chart.good, chart.partial, chart.failed) == (3, 0, 1)
    assert chart.empty == 2, "yesterday but one and today; nothing was expected before the first"


def test_one_failure_among_hundreds_is_seen_above_the_others() -> None:
    chart = DayChart.of([day(0, good=400, partial=1, failed=1)], TODAY)

    layers = chart.bars[-1].layers
    assert [one.tone for one in layers] == ["good", "warn", "bad"]
    assert all(
        lower.y == pytest.approx(upper.y + upper.height) for lower, upper in pairwise(layers)
    )
    assert all(lower.width > upper.width for lower, upper in pairwise(layers))
    assert min(one.height for one in layers) >= 5
    assert layers[-1].y >= 0
    assert layers[0].y + layers[0].height <= HEIGHT
    assert layers[0].x + layers[0].width <= WIDTH


def test_days_before_the_first_backup_are_nobodys_fault() -> None:
    assert DayChart.of([day(DAYS + 5, good=1)], TODAY).empty == 0
    assert DayChart.of([], TODAY).bars[0].layers == ()


async def test_the_chart_and_its_table_say_the_same(admin: Visitor, office: MemoryOffice) -> None:
    now = datetime.now(UTC)
    office.store.records = [
        backup("01B1", time=now - timedelta(days=2)),
        backup("01B2", time=now - timedelta(days=1), status=BackupStatus.PARTIAL),
        backup("01B3", time=now - timedelta(days=1), status=BackupStatus.UNPROVEN),
        backup("01B4", time=now, status=BackupStatus.FAILED, snapshot_id=None),
    ]

    page = await home(admin)

    assert CHART.findall(page) == ["1 good, 2 partial or unproven, 1 failed"]
    rows = {row[0]: row[1:] for row in ROW.findall(page)}
    assert len(rows) == DAYS
    assert rows[str(now.date())] == ("0", "0", "1")
    assert rows[str((now - timedelta(days=1)).date())] == ("0", "2", "0")
    assert rows[str((now - timedelta(days=2)).date())] == ("1", "0", "0")


async def test_without_a_backup_in_these_days_it_says_what_will_be_here(
    admin: Visitor, office: MemoryOffice
) -> None:
    office.store.records = [backup("01B1", time=datetime.now(UTC) - timedelta(days=DAYS + 1))]

    page = await home(admin)

    assert "None in these days" in page
    assert not CHART.search(page)


async def test_a_token_of_one_service_counts_no_others(
    stranger: Visitor, office: MemoryOffice
) -> None:
    now = datetime.now(UTC)
    office.store.records = [backup("01B1", time=now), backup("01B2", service="wiki", time=now)]
    token = AccessToken(
        name="one", token=SecretStr("one-token"), scope=Scope.READ, services=("wiki",)
    )
    office.gate = Gate([token])
    await stranger.sign_in("one-token")

    page = await home(stranger)

    assert CHART.findall(page) == ["1 good"]


async def test_the_tiles_count_what_is_there(admin: Visitor, office: MemoryOffice) -> None:
    office.nodes.offline = set()

    page = await home(admin)

    tiles = re.findall(r"<b>(\d+)<small> of (\d+)</small></b><span>([^<]+)", page)
    assert [words for *_, words in tiles] == [
        "instances running",
        "data items with a good backup",
        "nodes online",
    ]
    assert tiles[2][0] == tiles[2][1]
    assert int(tiles[0][0]) >= 2
    assert tiles[1][:2] == ("2", "3")


async def test_what_people_are_told_of_is_seen_though_nothing_else_shows_it(
    admin: Visitor, office: MemoryOffice
) -> None:
    damaged = notification(
        "01N2",
        event=EventName.VERIFY_FAILED,
        title="Backup not proven: uploads of my-app",
        reason="a pack is damaged",
        task_id="01T2",
    )
    down = notification(
        "01N3", subject="after-backup:my-app@main", title="my-app does not run on main"
    )
    over = notification("01N4", event=EventName.CHECK_FAILED, state=NotificationState.SETTLED)
    also = notification("01N5", title="This stands there already")
    office.store.notices = {one.id: one for one in (damaged, down, over, also)}

    page = await home(admin)

    rows = dict(re.findall(r'href="(/(?:tasks|notifications)[^"]*)"[^>]*><bdi>([^<]+)</bdi>', page))
    assert rows["/tasks/01T2"] == "Backup not proven: uploads of my-app"
    assert rows["/notifications"] == "my-app does not run on main"
    assert "a pack is damaged" in page
    assert over.title not in page
    assert also.title not in page
