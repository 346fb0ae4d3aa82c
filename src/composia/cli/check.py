"""What `composia doctor` says of one thing that it has looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and how to mend it where it is not well."""

    name: str
    level: Level
    message: str
    hint: str | None = None


def ok(name: str, message: str) -> Check:
    """It is well."""
    return Check(name, Level.OK, message)


def warn(name: str, message: str, hint: str) -> Check:
    """It works, and will hurt one day."""
    return Check(name, Level.WARN, message, hint)


def fail(name: str, message: str, hint: str) -> Check:
    """It does not work."""
    return Check(name, Level.FAIL, message, hint)


def numbers(version: str) -> tuple[int, ...]:
    """The first three numbers of a version, to compare it with another."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
