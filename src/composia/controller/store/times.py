"""Times as they are stored, and the ids that sort by them."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

from composia.model.ids import DIGITS, LENGTH, STAMP, written

_RANDOM_BITS = 5 * (LENGTH - STAMP)


def now() -> str:
    """The time, RFC 3339 in UTC, always of the same width."""
    return stored(datetime.now(UTC))


def stored(time: datetime) -> str:
    """A time as text that sorts."""
    text = time.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


class Ids:
    """26 characters that grow with the time, also while the clock stands still or goes back.

    No two have the same millisecond, for the first ten characters are all that records take over.
    """

    def __init__(self, last: str | None = None) -> None:
        self._last = 0
        for digit in last or "":
            self._last = self._last * 32 + max(DIGITS.find(digit), 0)

    def next(self) -> str:
        """A new id."""
        moment = max(int(time.time() * 1000), (self._last >> _RANDOM_BITS) + 1)
        self._last = (moment << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        return written(self._last, LENGTH)
