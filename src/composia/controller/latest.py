"""What is made of things that seldom change, and is asked for all the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

Made = TypeVar("Made")


class Latest(Generic[Made]):
    """What was made last: made anew only from something else than before."""

    def __init__(self) -> None:
        self._last: tuple[object, Made] | None = None

    def of(self, known: object, make: Callable[[], Made]) -> Made:
        """What `make` makes of what is known."""
        made = self._last[1] if self._last and self._last[0] == known else make()
        # If they only look the same, the new ones are kept: the same ones are faster compared.
        self._last = (known, made)
        return made
