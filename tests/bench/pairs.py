"""The same work, twice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Seconds of the same work by us and by the peer."""

    ours: float
    peer: float
