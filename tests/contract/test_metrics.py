"""What Prometheus gets of a real controller, and whether the alert rules fit it."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

from composia.controller.app import create_app
from composia.controller.metrics import METRICS, expected, metrics
from composia.controller.store.moves import DONE
from composia.controller.store.store import Store
from composia.controller.store.tasks import NewTask
from composia.model.backup import Backup, BackupKind, BackupStatus
from composia.model.catalog import CatalogView
from composia.model.config import BackupConfig, ControllerConfig, Offsite
from composia.model.offsite import CopyState
from composia.model.schedule import scheduled
from composia.model.task import Status
from tests.twins.notify import START
from tests.twins.office import MY_APP, service
from tests.workflow.office import deploy

ROOT = Path(__file__).parents[2]
RULES = ROOT / "contrib/prometheus/alerts.yml"
GUIDE = ROOT / "docs/guide/monitoring.md"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[FastAPI]:
    text = """{"access_tokens": [
        {"name": "prometheus", "token": "scrape", "scope": "read"},
        {"name": "one", "token": "one", "services": ["my-app"]}],
        "nodes": [{"id": "main", "token": "m"}]}"""
    folders = {name: tmp_path / name for name in ("repo_dir", "state_dir", "log_dir")}
    config = ControllerConfig.model_validate_json(text).model_copy(update=folders)
    made = create_app(config)
    async with made.router.lifespan_context(made):
        yield made


@pytest.fixture
def store(app: FastAPI) -> Store:
    found: Store = app.state.controller.store
    return found


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://composia") as made:
        yield made


async def test_metrics_are_for_tokens_that_may_see_all(
    http: httpx2.AsyncClient, store: Store
) -> None:
    tokens = {"": 401, "Bearer wrong": 401, "Bearer one": 403, "Bearer scrape": 200}
    await store.keep_backups([_backup(number) for number in range(3)])

    answers = {
        token: await http.get("/metrics", headers={"Authorization": token}) for token in tokens
    }

    assert {token: answer.status_code for token, answer in answers.items()} == tokens
    found = _samples(answers["Bearer scrape"].text)
    of = (("data_item", "uploads"), ("node", "main"), ("service", "my-app"))
    assert found["composia_backup_last_success_timestamp_seconds", of] == _at(2).timestamp()
    assert found["composia_backup_size_bytes", of] == 102
    assert found["composia_node_online", (("node", "main"),)] == 0
    # Each is announced, also without a sample, so that a rule can be told from a mistake.
    families = text_string_to_metric_families(answers["Bearer scrape"].text)
    assert {one.name for one in families} == {name.removesuffix("_total") for name in METRICS}


async def test_a_missing_damaged_or_failed_backup_is_not_the_last_good_one(
    store: Store,
) -> None:
    await store.keep_backups([
        _backup(0, verified_at=_at(9)),
        _backup(1, missing=True, verified_at=_at(10)),
        _backup(2, damaged=True),
        _backup(3, status=BackupStatus.PARTIAL, verified_at=_at(11)),
        _backup(4, kind=BackupKind.BEFORE_RESTORE, verified_at=_at(12)),
    ])  # fmt: skip

    [last] = await store.last_good_backups()
    [verified] = await store.last_verified()

    assert (last.size, last.at[:13]) == (100, f"{_at(0):%Y-%m-%dT%H}")
    assert verified.proven_at.startswith("2026-11-24T11:00:00")


async def test_an_old_backup_that_is_proven_again_is_not_the_newest_proven_one(
    app: FastAPI, store: Store
) -> None:
    await store.keep_backups([_backup(0, verified_at=_at(99)), _backup(1, verified_at=_at(5))])
    await store.keep_backups([_backup(2), _backup(3, verified_at=_at(6), damaged=True)])

    found = _samples((await metrics(app.state.controller)).decode())

    of = (("data_item", "uploads"), ("node", "main"), ("service", "my-app"))
    newest = found["composia_backup_newest_verified_timestamp_seconds", of]
    assert newest == _at(1).timestamp()
    proven = found["composia_backup_last_verified_timestamp_seconds", of]
    assert proven == _at(99).timestamp()


async def test_backups_that_have_vanished_are_counted_by_their_item(
    app: FastAPI, store: Store
) -> None:
    missing = [_backup(number, missing=True) for number in range(2)]
    await store.keep_backups([*missing, _backup(2), _backup(3, missing=True, going=True)])

    found = _samples((await metrics(app.state.controller)).decode())

    of = (("data_item", "uploads"), ("node", "main"), ("service", "my-app"))
    assert found["composia_backup_missing", of] == 2


async def test_only_copies_that_are_configured_are_told_of_those_never_made_too(
    app: FastAPI, store: Store
) -> None:
    controller = app.state.controller
    copies = (Offsite(name="s3", profile="s3"), Offsite(name="new", profile="new"))
    controller.config = controller.config.model_copy(update={"offsite": copies})
    for name in ("s3", "old"):
        await store.keep_copy(name, CopyState(complete_at=START, snapshots=3))

    found = _samples((await metrics(controller)).decode())

    told = {(name, dict(labels)["copy"]) for name, labels in found if "copy" in dict(labels)}
    assert told == {
        ("composia_copy_expected", "s3"), ("composia_copy_expected", "new"),
        ("composia_copy_snapshots", "s3"), ("composia_copy_snapshots", "new"),
        ("composia_copy_complete_timestamp_seconds", "s3"),
    }  # fmt: skip


async def test_outages_of_moves_are_added_up(store: Store) -> None:
    for number, seconds in enumerate((2.5, 1.5)):
        await _moved(store, f"01A{number}", seconds)

    [outage] = await store.outages()

    assert (outage.service, outage.last, outage.total) == ("my-app", 1.5, 4.0)


async def test_two_hundred_services_cost_little(app: FastAPI, store: Store) -> None:
    await store.keep_backups([
        _backup(number, service=f"app-{app}", data_item=f"item-{item}")
        for app in range(200) for item in range(5) for number in range(3)
    ])  # fmt: skip

    begun = time.process_time()
    text = await metrics(app.state.controller)
    took = time.process_time() - begun

    assert text.count(b"composia_backup_size_bytes{") == 1000
    # Loose on purpose: what it must not be is a question for each of them.
    assert took < 10.0


def test_what_has_a_schedule_is_expected_where_it_runs() -> None:
    view = CatalogView(services={"my-app": service(MY_APP)})

    daily = BackupConfig(default_schedule="0 2 * * *")

    assert list(expected(scheduled(view, ControllerConfig(backup=daily)))) == [
        ("my-app", "uploads", "main"),
        ("my-app", "database", "main"),
    ]
    assert list(expected(scheduled(view, ControllerConfig()))) == []


def test_alert_rules_name_only_metrics_that_there_are() -> None:
    rules: dict[str, Any] = yaml.safe_load(RULES.read_text())
    every = [rule for group in rules["groups"] for rule in group["rules"]]
    named = {
        name for rule in every for name in re.findall(r"\bcomposia_[a-z_]+", str(rule["expr"]))
    }

    assert named - set(METRICS) == set()
    assert len({rule["alert"] for rule in every}) == len(every)
    for rule in every:
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {"summary", "description"} == set(rule["annotations"])
        assert set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) <= _labels(rule)


def test_the_guide_explains_every_metric_and_no_other() -> None:
    text = GUIDE.read_text()

    assert set(re.findall(r"`(composia_[a-z_]+)", text)) == set(METRICS)


def _labels(rule: dict[str, Any]) -> set[str]:
    """What the rule's result may have: the labels of the first metric in it."""
    first = re.findall(r"\bcomposia_[a-z_]+", str(rule["expr"]))
    return set(METRICS[first[0]][1]) if first else set()


def _samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _at(hour: int) -> Any:
    return START + timedelta(hours=hour)


def _backup(number: int, **fields: Any) -> Backup:
    given = {"service": "my-app", "data_item": "uploads", "node": "main"} | fields
    return Backup(
        **{"status": BackupStatus.SUCCESS, "snapshot_id": "5" * 64} | given,
        id=f"01B{number}-{given['service']}-{given['data_item']}",
        size=100 + number,
        time=_at(number),
    )


async def _moved(store: Store, task: str, seconds: float) -> None:
    await store.admit(NewTask(id=task, created_by="token:x", source="api"), deploy())
    await store.begin_move(task, "my-app", "main", "edge")
    await store.note_move(task, DONE, {"downtime_seconds": seconds})
    await store.end(task, Status.SUCCEEDED)
