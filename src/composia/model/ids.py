"""Ids of tasks, and how the ids begin of what comes of them: they sort by time."""

from __future__ import annotations

#: Five bits each, in order; without letters that look like digits.
DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
#: So many characters of an id tell when it was given; records take them over from their task.
STAMP = 10
#: So many it has in all.
LENGTH = 26
#: As a regular expression.
TASK_ID = f"[{DIGITS}]{{{LENGTH}}}"


def written(number: int, length: int) -> str:
    """A number in so many digits."""
    return "".join(DIGITS[(number >> (5 * place)) & 31] for place in reversed(range(length)))


def stamp(milliseconds: int) -> str:
    """How ids begin that were given so long after the start of 1970."""
    return written(milliseconds, STAMP)
