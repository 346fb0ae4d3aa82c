"""A list that is empty because of a name that nobody knows."""

from __future__ import annotations

import json

import pytest

from composia.model.notification import NotificationState
from tests.twins.office import MemoryOffice, backup, notification
from tests.unit.cli.conftest import Composia


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("backups --service my-ap", "there is no service `my-ap`\n  Did you mean `my-app`?"),
        ("tasks --service my-ap", "there is no service `my-ap`\n  Did you mean `my-app`?"),
        ("schedules --service my-ap", "there is no service `my-ap`\n  Did you mean `my-app`?"),
        ("notifications --service my-ap", "there is no service `my-ap`\n  Did you mean `my-app`?"),
        ("backups --node mian", "there is no node `mian`\n  Did you mean `main`?"),
        ("tasks --node mian", "there is no node `mian`\n  Did you mean `main`?"),
        ("tasks --type bakup", "there is no type of task `bakup`\n  Did you mean `backup`?"),
        ("backups --item upload", "there is no data item `upload`\n  Did you mean `uploads`?"),
        ("backups --service my-app --node mian", "there is no node `mian`"),
    ],
)
def test_a_misspelt_filter_is_refused_as_anywhere_else(
    composia: Composia, line: str, said: str
) -> None:
    ended = composia(*line.split())
    assert (ended.exit_code, ended.stdout) == (3, "")
    assert f"Error: {said}" in ended.stderr
    told = json.loads(composia(*line.split(), "--json").stdout)
    assert told["error"]["kind"] == "NotFound"


def test_what_has_left_the_catalog_is_listed_by_its_name(
    composia: Composia, office: MemoryOffice
) -> None:
    office.store.records = [backup("01B7", service="gone", node="sold", data_item="old")]
    office.store.notices = {"01N1": notification(service="gone", state=NotificationState.SETTLED)}
    for words in (("--service", "gone"), ("--node", "sold"), ("--item", "old")):
        assert "01B7" in composia("backups", *words).stdout
        nothing = composia("backups", *words, "--status", "failed")
        assert (nothing.exit_code, "None is like that" in nothing.stdout) == (0, True)
    assert "None of that is open" in composia("notifications", "--service", "gone").stdout


@pytest.mark.parametrize("type_", ["stop-stale", "init_repository", "copy"])
def test_a_task_of_each_type_may_be_asked_for(composia: Composia, type_: str) -> None:
    assert composia("tasks", "--type", type_).exit_code == 0
