"""Two versions of a text, line by line: compared here, or by Git."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from composia.controller.changes import FileChange


class Kind(StrEnum):
    PLACE = "place"
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


_KINDS = {"@": Kind.PLACE, " ": Kind.SAME, "+": Kind.ADDED, "-": Kind.REMOVED}
#: Characters of a line that are shown.
LONGEST = 1000


class Line(BaseModel):
    """A line of a unified diff, with the sign that it has there."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    text: str


def compared(before: str, after: str) -> tuple[Line, ...]:
    """The lines that differ, and some around them; none where both are the same."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="")
    found = tuple(Line(kind=_KINDS[line[0]], text=line) for line in list(lines)[2:])
    if not found and before != after:
        return (Line(kind=Kind.PLACE, text="@@ only the ends of lines differ @@"),)
    return found


class Compared(BaseModel):
    """What has become of one file in a commit; `left` of its lines are not shown."""

    model_config = ConfigDict(frozen=True)

    change: FileChange
    lines: tuple[Line, ...]
    added: int
    removed: int
    left: int


def in_lines(files: Sequence[FileChange], most: int) -> tuple[Compared, ...]:
    """The files with their lines, of which `most` are shown in all."""
    found = []
    for change in files:
        lines = change.patch.split("\n") if change.patch else []
        shown = tuple(_line(line) for line in lines[: max(0, most)])
        most -= len(shown)
        found.append(
            Compared(
                change=change,
                lines=shown,
                added=sum(line.startswith("+") for line in lines),
                removed=sum(line.startswith("-") for line in lines),
                left=len(lines) - len(shown),
            )
        )
    return tuple(found)


def _line(line: str) -> Line:
    text = line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
    return Line(kind=_KINDS.get(line[:1], Kind.PLACE), text=text)
