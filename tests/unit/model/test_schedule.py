from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.schedule import GRACE, SPREAD, Kind, Schedule, overdue, scheduled
from tests.twins.office import config, service

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def app(name: str, *schedules: str | None, **more: Any) -> dict[str, Any]:
    """A service with an item for each schedule; None says nothing of its own."""
    items = [f"item-{number}" for number in range(len(schedules))]
    saved = {"strategy": "files.copy", "include": ["./data"]}
    entries = [
        {"name": item, **({"schedule": schedule} if schedule else {})}
        for item, schedule in zip(items, schedules, strict=True)
    ]
    return {
        "name": name,
        "nodes": ["main"],
        "data_protect": {"data": [{"name": item, "backup": saved} for item in items]},
        "backup": {"data": entries},
        **more,
    }


def catalog(*texts: dict[str, Any]) -> CatalogView:
    return CatalogView(services={text["name"]: service(text) for text in texts})


def configured(default: str | None = "0 2 * * *", **more: Any) -> ControllerConfig:
    changes = {"default_schedule": default, "timezone": "Europe/Berlin", **more}
    backup = config().backup.model_copy(update=changes)
    return config().model_copy(update={"backup": backup})


def keys(found: tuple[Schedule, ...]) -> dict[str, str]:
    return {one.key: one.expression for one in found}


def test_an_item_has_its_own_schedule_or_the_default_or_none() -> None:
    found = scheduled(catalog(app("my-app", "@hourly", None, "none")), configured())

    assert keys(found) == {"backup:my-app/item-0": "@hourly", "backup:my-app/item-1": "0 2 * * *"}
    assert {one.timezone for one in found} == {"Europe/Berlin"}


@pytest.mark.parametrize("default", [None, "none"])
def test_without_a_default_nothing_is_backed_up_by_itself(default: str | None) -> None:
    assert scheduled(catalog(app("my-app", None)), configured(default)) == ()


def test_a_disabled_service_is_left_alone() -> None:
    assert scheduled(catalog(app("my-app", None, enabled=False)), configured()) == ()


def test_what_is_about_the_repository_is_scheduled_too() -> None:
    text = """{"rustic": {"maintenance": {"forget_schedule": "0 1 * * *",
               "prune_schedule": "0 3 * * Sun", "check_schedule": "none"}},
               "backup": {"verify_schedule": "0 5 * * Sun"},
               "offsite": [{"name": "s3", "profile": "s3", "schedule": "0 6 * * *"},
                           {"name": "by-hand", "profile": "other"}]}"""

    found = scheduled(CatalogView(), ControllerConfig.model_validate_json(text))

    assert [one.key for one in found] == ["forget", "prune", "verify", "copy:s3"]
    assert found[-1].kind is Kind.COPY


def test_few_services_begin_at_their_minute() -> None:
    found = scheduled(catalog(app("one", None), app("two", None)), configured())

    assert {one.offset for one in found} == {timedelta(0)}
    assert found[0].next(NOON) == datetime(2026, 11, 25, 1, tzinfo=UTC)


def test_many_are_spread_each_by_its_own_and_the_items_of_a_service_together() -> None:
    many = [app(f"app-{number}", None, None) for number in range(20)]

    found = scheduled(catalog(*many), configured())
    again = scheduled(catalog(*many[:10]), configured())

    offsets = {one.key: one.offset for one in found}
    assert len(set(offsets.values())) > 10
    assert all(timedelta(0) <= offset < SPREAD for offset in offsets.values())
    assert all(offsets[one.key] == one.offset for one in again)
    assert all(
        offsets[f"backup:app-{number}/item-0"] == offsets[f"backup:app-{number}/item-1"]
        for number in range(20)
    )


@pytest.mark.parametrize("expression", ["* * * * *", "*/5 * * * *", "0,3 2 * * *"])
def test_nothing_is_spread_past_its_next_time(expression: str) -> None:
    many = [app(f"app-{number}", expression) for number in range(20)]

    for one in scheduled(catalog(*many), configured()):
        begins = one.next(NOON)
        slot = one.last_slot(begins) if begins else None
        assert slot
        assert begins
        assert begins < next(one.slots(slot, slot + timedelta(days=2)))


def late(last: datetime | None, since: datetime, now: datetime = NOON) -> list[str]:
    schedules = scheduled(catalog(app("my-app", "0 2 * * *")), configured(timezone="UTC"))
    good = {("my-app", "item-0", "main"): last} if last else {}
    found = overdue(schedules, good, {schedules[0].on("main"): since}, now)
    return [one.reason for one in found]


LONG_AGO = NOON - timedelta(days=90)


def test_a_backup_is_overdue_when_its_schedule_came_twice_since() -> None:
    today, once, twice = (datetime(2026, 11, day, 2, 1, tzinfo=UTC) for day in (24, 23, 22))

    assert late(today, LONG_AGO) == []
    assert late(once, LONG_AGO) == []
    assert "of 2026-11-22 02:01" in late(twice, LONG_AGO)[0]


def test_the_second_time_has_its_grace() -> None:
    last = datetime(2026, 11, 22, 2, 1, tzinfo=UTC)
    second = datetime(2026, 11, 24, 2, tzinfo=UTC)

    assert late(last, LONG_AGO, second + GRACE - timedelta(minutes=1)) == []
    assert late(last, LONG_AGO, second + GRACE) != []


def test_what_was_never_saved_is_overdue_after_two_times() -> None:
    assert "never backed up" in late(None, LONG_AGO)[0]
    assert late(None, NOON - timedelta(hours=30)) == []
