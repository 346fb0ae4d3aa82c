"""How things look to people; JSON for programs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from composia.model.task import Step

#: Where a list is empty because of what was asked for.
NONE_SUCH = "None is like that. Without options all are listed."

#: Columns between two columns of a table.
GAP = 2
#: A column of so many is never folded, and no word of so many broken: an id has as many.
SHORT, UNBROKEN = 12, 26

#: Colours of words that say how something is.
COLOURS = {
    "running": "green", "succeeded": "green", "success": "green", "online": "green",
    "healthy": "green", "yes": "green",
    "partly": "yellow", "partial": "yellow", "pending": "yellow", "unknown": "yellow",
    "unproven": "yellow", "stopped": "yellow", "cancelled": "yellow",
    "failed": "red", "broken": "red", "offline": "red", "absent": "red", "unhealthy": "red",
    "missing": "red", "damaged": "red",
}  # fmt: skip

#: What a terminal obeys: whole sequences, titles and clipboards among them, then what is left.
_OBEYED = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def harmless(text: str) -> str:
    """A text that containers or nodes wrote, of which a terminal obeys no more than its colours."""
    return _OBEYED.sub(lambda found: found["colour"] or "", text)


def show_json(value: Any) -> None:
    """A model, or a list of models, as JSON."""
    import json

    from pydantic import BaseModel

    def plain(part: Any) -> Any:
        return part.model_dump(mode="json", by_alias=True) if isinstance(part, BaseModel) else part

    shown = [plain(part) for part in value] if isinstance(value, list) else plain(value)
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str) -> None:
    """Rows under columns; without any, a sentence that names the next step."""
    if not rows:
        click.echo(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    shown = [[_coloured(cell) for cell in row] for row in rows]
    texts = [[str(cell) for cell in column] for column in zip(columns, *shown, strict=True)]
    # A pipe has no width: nothing is folded there, so that grep finds what is on one line.
    room = Console().width if sys.stdout.isatty() else None
    widths, fits = fitted(texts, room)
    # Where even that has no room, the terminal breaks the lines itself.
    table = (
        Table(box=SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False, show_edge=False)
        if fits
        else Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    )
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width, overflow="fold")
    for row in shown:
        table.add_row(*row)
    Console(width=sum(widths) + GAP * len(widths), highlight=False, soft_wrap=True).print(table)


def fitted(columns: Sequence[Sequence[str]], room: int | None) -> tuple[list[int], bool]:
    """How wide each column is, and whether they fit into the room with no id broken."""
    from rich.cells import cell_len

    widths = [
        max(cell_len(line) for text in column for line in text.split("\n")) for column in columns
    ]
    words = [max(map(cell_len, " ".join(column).split()), default=0) for column in columns]
    least = [
        width if width <= SHORT else min(UNBROKEN, word)
        for width, word in zip(widths, words, strict=True)
    ]
    over = sum(widths) + GAP * (len(widths) - 1) - room if room is not None else 0
    if sum(widths) - sum(least) < over:
        return widths, False
    for _ in range(over):
        foldable = [at for at, width in enumerate(widths) if width > least[at]]
        widths[max(foldable, key=widths.__getitem__)] -= 1
    return widths, True


def show_fields(fields: Sequence[tuple[str, str]]) -> None:
    """One thing, a line a field."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        first, *more = harmless(value).splitlines() or [""]
        click.echo(f"{name:<{width}}  {first}")
        for line in more:
            click.echo(f"{'':<{width}}  {line}")


def _coloured(cell: str) -> Any:
    from rich.text import Text

    return Text(click.unstyle(harmless(cell)), style=COLOURS.get(cell.partition(" ")[0], ""))


def size(count: int | None) -> str:
    """Bytes, in the unit that fits."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def when(time: datetime | None) -> str:
    """A time in UTC, and how long ago that is."""
    if time is None:
        return "-"
    ago = (datetime.now(UTC) - time).total_seconds()
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ} ({_ago(ago)})"


def _ago(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def took(start: datetime | None, end: datetime | None) -> str:
    """Seconds between two times."""
    return f"{(end - start).total_seconds():.1f} s" if start and end else "-"


def label(step: Step) -> str:
    """A step's name, with its node."""
    return f"{step.name} on {step.node}" if step.node else step.name
