from __future__ import annotations

import pytest

from composia.tools.cron import fields


@pytest.mark.parametrize(
    ("schedule", "five"),
    [("0 2 * * *", "0 2 * * *"), ("0 3 * * Sun", "0 3 * * Sun"), ("@daily", "0 0 * * *"),
     ("*/5 * * * *", "*/5 * * * *"), ("none", None)],
)  # fmt: skip
def test_a_schedule_stands_for_five_fields(schedule: str, five: str | None) -> None:
    assert fields(schedule) == five


@pytest.mark.parametrize(
    "schedule", ["", "daily", "61 * * * *", "* * * *", "0 0 0 * * *", "@reboot"]
)
def test_what_is_no_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match="is no schedule"):
        fields(schedule)
