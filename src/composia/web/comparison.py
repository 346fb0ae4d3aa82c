"""Two versions of a text, line by line."""

from __future__ import annotations

import difflib
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Kind(StrEnum):
    PLACE = "place"
    SAME = "same"
    ADDED = "added"
    REMOVED = "removed"


_KINDS = {"@": Kind.PLACE, " ": Kind.SAME, "+": Kind.ADDED, "-": Kind.REMOVED}


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
