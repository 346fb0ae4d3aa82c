"""Lists as a sentence has them."""

from __future__ import annotations

from collections.abc import Sequence

#: How many of a long list a message names.
FEW = 5


def names(several: Sequence[str]) -> str:
    """All of them."""
    return ", ".join(several)


def few(several: Sequence[str], more: int = 0) -> str:
    """The first of them, and how many there are besides, with those that were not even listed."""
    left = len(several[FEW:]) + more
    return names(several[:FEW]) + (f" and {left} more" if left else "")
