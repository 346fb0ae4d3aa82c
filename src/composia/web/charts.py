"""Charts as numbers: places in a drawing, and the words that say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import dropwhile, pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict

from composia.model.backup import Backup, BackupDay
from composia.model.task import Task
from composia.workflows.check import Downtime

#: A drawing's own units.
WIDTH = 600.0
HEIGHT = 96.0
#: Free at the edges, for a dot's other half.
EDGE = 7.0
#: A timeline shows at least so much, and so a first backup stands at its right end.
WINDOW = timedelta(days=30)
#: Days of a household's backups, and so high is at least what there is: one failure among hundreds
#: is to be seen.
DAYS = 30
LEAST = 5.0


class Drawn(BaseModel):
    model_config = ConfigDict(frozen=True)


class Dot(Drawn):
    """One run on a timeline."""

    x: float
    backup: Backup


class Timeline(Drawn):
    """The runs of a data item, each at its time: a gap is a gap."""

    item: str
    start: datetime
    dots: tuple[Dot, ...]
    failed: int
    partial: int
    missing: int
    longest_gap: float

    @classmethod
    def of(cls, item: str, backups: Sequence[Backup], now: datetime) -> Timeline:
        """From its records, in the order of their times."""
        start = min(now - WINDOW, backups[0].time)
        span = (now - start).total_seconds()
        times = [*(one.time for one in backups), now]
        return cls(
            item=item,
            start=start,
            dots=tuple(
                Dot(x=_placed((one.time - start).total_seconds() / span), backup=one)
                for one in backups
            ),
            failed=sum(one.status == "failed" for one in backups),
            partial=sum(one.status == "partial" for one in backups),
            missing=sum(one.missing or one.damaged for one in backups),
            longest_gap=max((b - a).total_seconds() for a, b in pairwise(times)),
        )


class Curve(Drawn):
    """Values over time, from nought up to the highest one."""

    item: str
    line: str
    area: str
    times: tuple[datetime, ...]
    values: tuple[float, ...]
    end_x: float
    end_y: float

    @property
    def highest(self) -> float:
        return max(self.values)

    @property
    def grown(self) -> float:
        """From the first value to the last one."""
        return self.values[-1] - self.values[0]

    @classmethod
    def of(cls, item: str, values: Sequence[tuple[datetime, float]]) -> Curve | None:
        """None where there are no two of them: one value is no curve."""
        if len(values) < 2:
            return None
        start, span = values[0][0], (values[-1][0] - values[0][0]).total_seconds() or 1.0
        top = max(value for _, value in values) or 1.0
        points = [
            (_placed((time - start).total_seconds() / span), _lifted(value / top))
            for time, value in values
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        floor = f"{_lifted(0):.1f}"
        return cls(
            item=item,
            line=line,
            area=f"{points[0][0]:.1f},{floor} {line} {points[-1][0]:.1f},{floor}",
            times=tuple(time for time, _ in values),
            values=tuple(value for _, value in values),
            end_x=points[-1][0],
            end_y=points[-1][1],
        )


class Layer(Drawn):
    """Those backups of a day that went alike."""

    tone: str
    x: float
    y: float
    width: float
    height: float


class Bar(Drawn):
    """What came of a day's backups, one upon the other: the worse, the narrower."""

    day: BackupDay
    layers: tuple[Layer, ...]


class DayChart(Drawn):
    """The backups of each of the last days: a day without one is a gap."""

    bars: tuple[Bar, ...]

    @property
    def good(self) -> int:
        return sum(bar.day.good for bar in self.bars)

    @property
    def partial(self) -> int:
        return sum(bar.day.partial for bar in self.bars)

    @property
    def failed(self) -> int:
        return sum(bar.day.failed for bar in self.bars)

    @property
    def empty(self) -> int:
        """Days without any, since the first one that has some."""
        return sum(not bar.layers for bar in self._begun())

    @classmethod
    def of(cls, days: Iterable[BackupDay], today: date) -> DayChart:
        """From the days that have some."""
        found = {one.day: one for one in days}
        shown = [today - timedelta(days=back) for back in reversed(range(DAYS))]
        every = [found.get(day) or BackupDay(day=day) for day in shown]
        top = max(one.good + one.partial + one.failed for one in every) or 1
        return cls(
            bars=tuple(
                Bar(day=one, layers=_layers(one, top, (place + 0.5) * WIDTH / DAYS))
                for place, one in enumerate(every)
            )
        )

    def _begun(self) -> Iterable[Bar]:
        return dropwhile(lambda bar: not bar.layers, self.bars)


class Part(Drawn):
    """A part of an outage, in seconds; `x` and `width` in a drawing's units."""

    name: str
    seconds: float
    x: float
    width: float


class Outage(Drawn):
    """The outage of a move with its parts."""

    task: Task
    seconds: float
    expected: float | None
    parts: tuple[Part, ...]


class ServiceCharts(Drawn):
    """What a service's Data tab draws."""

    timelines: tuple[Timeline, ...]
    sizes: tuple[Curve, ...]
    durations: tuple[Curve, ...]
    outages: tuple[Outage, ...]

    @classmethod
    def of(cls, backups: Iterable[Backup], moves: Iterable[Task], now: datetime) -> ServiceCharts:
        """From the newest records and moves, in any order."""
        by_item: dict[str, list[Backup]] = {}
        for one in sorted(backups, key=lambda one: one.time):
            by_item.setdefault(one.data_item, []).append(one)
        sizes = [Curve.of(item, _sizes(some)) for item, some in by_item.items()]
        durations = [Curve.of(item, _durations(some)) for item, some in by_item.items()]
        return cls(
            timelines=tuple(Timeline.of(item, some, now) for item, some in by_item.items()),
            sizes=tuple(curve for curve in sizes if curve),
            durations=tuple(curve for curve in durations if curve),
            outages=outages(moves),
        )


def outages(moves: Iterable[Task]) -> tuple[Outage, ...]:
    """Of the moves that have been measured, on one scale."""
    measured = [(one, one.result or {}) for one in moves]
    measured = [(one, result) for one, result in measured if "downtime_seconds" in result]
    longest = max((float(result["downtime_seconds"]) for _, result in measured), default=0.0)
    return tuple(
        Outage(
            task=one,
            seconds=result["downtime_seconds"],
            expected=result.get("predicted_seconds"),
            parts=_stacked(measured_parts(result), longest),
        )
        for one, result in measured
    )


def expected_parts(downtime: Downtime) -> tuple[Part, ...]:
    """What an outage is expected to be made of."""
    named = {
        "stop_and_start": downtime.stop_and_start_seconds,
        "compare_files": downtime.compare_files_seconds,
        "dump_and_import": downtime.dump_and_import_seconds,
    }
    return _stacked(named, sum(named.values()))


def measured_parts(result: Mapping[str, Any]) -> dict[str, float]:
    """What an outage was made of, from a task's result."""
    named = {
        name: float(result[f"{name}_seconds"])
        for name in ("held", "between", "start")
        if f"{name}_seconds" in result
    }
    return named or {"all": float(result["downtime_seconds"])}


def _layers(day: BackupDay, top: int, middle: float) -> tuple[Layer, ...]:
    """From the floor up. Each has the least height, and they share the rest."""
    named = (("good", day.good, 16.0), ("warn", day.partial, 11.0), ("bad", day.failed, 6.0))
    layers, y = [], HEIGHT - EDGE
    for tone, count, width in named:
        if count:
            height = round(LEAST + count / top * (HEIGHT - 2 * EDGE - 3 * LEAST), 1)
            y = round(y - height, 1)
            layers.append(Layer(tone=tone, x=middle - width / 2, y=y, width=width, height=height))
    return tuple(layers)


def _stacked(named: Mapping[str, float], whole: float) -> tuple[Part, ...]:
    parts, x = [], 0.0
    for name, seconds in named.items():
        width = WIDTH * seconds / (whole or 1.0)
        parts.append(Part(name=name, seconds=seconds, x=round(x, 1), width=round(width, 1)))
        x += width
    return tuple(parts)


def _sizes(backups: Iterable[Backup]) -> list[tuple[datetime, float]]:
    return [(one.time, one.size) for one in backups if one.snapshot_id and one.size is not None]


def _durations(backups: Iterable[Backup]) -> list[tuple[datetime, float]]:
    return [
        (one.time, one.duration) for one in backups if one.snapshot_id and one.duration is not None
    ]


def _placed(share: float) -> float:
    return round(EDGE + share * (WIDTH - 2 * EDGE), 1)


def _lifted(share: float) -> float:
    return round(HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE), 1)
