from __future__ import annotations

from composia.controller.latest import Latest


def test_it_is_made_anew_only_from_something_else() -> None:
    latest, made = Latest[int](), list[str]()

    def make(of: str) -> int:
        made.append(of)
        return len(made)

    found = [latest.of((one,), lambda one=one: make(one)) for one in "aabba"]  # type: ignore[misc]

    assert made == ["a", "b", "a"]
    assert found == [1, 1, 2, 2, 3]


def test_what_is_nothing_is_kept_too() -> None:
    latest, made = Latest[tuple[int, ...]](), list[int]()
    for _ in range(2):
        latest.of("same", lambda: made.append(1) or ())  # type: ignore[func-returns-value]

    assert made == [1]
