"""Numbers, times and words, as pages write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from composia.model.task import Status, Step, StepProgress
from composia.web.pace import Pace
from composia.web.templating import ago, coded, exactly, in_bytes, in_seconds

NOW = datetime(2026, 11, 24, 4, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB")],
)
def test_sizes(size: float | None, text: str) -> None:
    assert in_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (1.84, "1.8 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert in_seconds(seconds) == text


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (timedelta(seconds=3), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=5), "5 hours ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=100), "2026-08-16"),
        (-timedelta(hours=2), "in 2 hours"),
    ],
)
def test_times_are_as_long_ago_as_people_say(before: timedelta, text: str) -> None:
    assert ago(NOW - before, NOW) == text
    assert exactly(NOW) == "2026-11-24 04:00:00 UTC"


def test_backticks_are_code_and_nothing_else_is() -> None:
    assert coded("see `a<b>` & <i>") == "see <code>a&lt;b&gt;</code> &amp; &lt;i&gt;"
    assert coded("one ` <b>") == "one ` &lt;b&gt;"


def test_a_step_knows_how_long_it_will_go_on() -> None:
    progress = StepProgress(bytes_done=100, bytes_total=400)
    step = Step(name="save_data", status=Status.RUNNING, started_at=NOW, progress=progress)

    pace = Pace.of(step, NOW + timedelta(seconds=10))

    assert pace == Pace(done=100, total=400, rate=10, left=30)
    assert Pace.of(step.model_copy(update={"progress": None}), NOW) is None
    ended = step.model_copy(update={"status": Status.SUCCEEDED, "finished_at": NOW})
    assert Pace.of(ended, NOW + timedelta(days=1)) == Pace(done=100, total=400)
