"""Times as they are stored, and the ids that sort by them."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime

_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_RANDOM_BITS = 80


def now() -> str:
    """The time, RFC 3339 in UTC, always of the same width."""
    return stored(datetime.now(UTC))


def stored(time: datetime) -> str:
    """A time as text that sorts."""
    text = time.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


#: So many characters of an id tell when it was given; records take them over from their task.
STAMP = 10


class Ids:
    """26 characters that grow with the time, also while the clock stands still or goes back.

    No two have the same millisecond, for the first ten characters are all that records take over.
    """

    def __init__(self, last: str | None = None) -> None:
        self._last = 0
        for digit in last or "":
            self._last = self._last * 32 + max(_DIGITS.find(digit), 0)

    def next(self) -> str:
        """A new id."""
        moment = max(int(time.time() * 1000), (self._last >> _RANDOM_BITS) + 1)
        self._last = (moment << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        return "".join(
            _DIGITS[(self._last >> (5 * place)) & 31] for place in reversed(range(_LENGTH))
        )
