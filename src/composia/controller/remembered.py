"""What does not change once it is known: answers of Git about a commit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Remembered:
    """The answers that were asked for last."""

    def __init__(self, most: int = 512) -> None:
        self._most = most
        self._known: OrderedDict[Hashable, Any] = OrderedDict()

    async def answer(self, key: Hashable, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to this question, asked where it is not known any more."""
        if key not in self._known:
            self._known[key] = await ask()
        self._known.move_to_end(key)
        found: Answer = self._known[key]
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return found
