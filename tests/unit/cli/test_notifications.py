from __future__ import annotations

import json

from composia.model.notification import Delivery, NotificationState, Tried
from tests.twins.office import NOW, MemoryOffice, notification
from tests.unit.cli.conftest import Composia


def test_what_is_open_is_listed_with_who_was_not_told(
    composia: Composia, office: MemoryOffice
) -> None:
    down = Delivery(target="urls[0] (json)", queued_at=NOW, attempts=3, error="nobody answers")
    office.store.notices = {
        "01N1": notification("01N1", deliveries=[down]),
        "01N2": notification("01N2", state=NotificationState.SETTLED, title="over"),
    }

    found = composia("notifications")

    assert found.exit_code == 0
    assert "./data/uploads is not there" in found.output
    assert "0 of 1; urls[0] (json): nobody answers" in found.output
    assert "over" not in found.output
    assert "over" in composia("notifications", "--all").output


def test_an_empty_list_says_of_what_it_is_empty(composia: Composia, office: MemoryOffice) -> None:
    office.store.notices = {"01N1": notification(state=NotificationState.SETTLED)}
    assert "`--all` shows what is over" in composia("notifications").stdout
    assert "None is like that" in composia("notifications", "--state", "open").stdout
    office.store.notices = {}
    assert composia("notifications", "--all").stdout == "No notifications yet.\n"


def test_a_target_that_is_down_makes_the_test_fail(
    composia: Composia, office: MemoryOffice
) -> None:
    office.notifier.tried = [Tried(target="urls[0] (json)", ok=False, error="nobody answers")]

    found = composia("notifications", "test")

    assert found.exit_code == 1
    assert "nobody answers" in found.output


def test_without_a_target_the_next_step_is_named(composia: Composia, office: MemoryOffice) -> None:
    office.notifier.tried = []

    found = composia("notifications", "test")

    assert (found.exit_code, "controller.notifications.urls" in found.output) == (1, True)


def test_an_event_that_there_is_not_is_a_wrong_command(composia: Composia) -> None:
    assert composia("notifications", "--event", "backup_failed").exit_code == 0
    found = composia("notifications", "--event", "backup_faild")
    assert (found.exit_code, "backup_failed" in found.stderr) == (2, True)


def test_one_is_acknowledged(composia: Composia, office: MemoryOffice) -> None:
    office.store.notices["01N1"] = notification()

    found = composia("notifications", "ack", "01N1", "--json")

    assert json.loads(found.output)["state"] == "acknowledged"
