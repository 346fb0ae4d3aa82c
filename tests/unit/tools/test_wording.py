from __future__ import annotations

from composia.tools.wording import few


def test_a_long_list_is_cut() -> None:
    assert few(["a", "b"]) == "a, b"
    assert few([str(number) for number in range(7)]) == "0, 1, 2, 3, 4 and 2 more"


def test_what_is_not_listed_is_counted() -> None:
    assert few(["a", "b"], 3) == "a, b and 3 more"
    assert few([str(number) for number in range(7)], 3) == "0, 1, 2, 3, 4 and 5 more"
