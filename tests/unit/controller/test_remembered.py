"""Answers that do not change are asked for once."""

from __future__ import annotations

from composia.controller.remembered import Remembered


async def test_a_question_is_asked_once_and_the_oldest_are_forgotten() -> None:
    asked: list[str] = []

    async def ask(what: str) -> str:
        asked.append(what)
        return what.upper()

    known = Remembered(most=2)
    for what in ("a", "b", "a", "c", "a", "b"):
        assert await known.answer(what, lambda what=what: ask(what)) == what.upper()  # type: ignore[misc]  # a loop's variable

    assert asked == ["a", "b", "c", "b"]
