from __future__ import annotations

import pytest

from composia.controller.keys import TRIES, key_of, place_of
from composia.controller.store.steps import Place


@pytest.mark.parametrize("attempt", [1, 2, 7])
@pytest.mark.parametrize("tries", [*range(1, TRIES + 1), 50])
def test_a_key_leads_back_to_its_step(attempt: int, tries: int) -> None:
    place = Place(task="01T", attempt=attempt, name="save_data", node="main")

    assert place_of(key_of(place, tries)) == (place, tries)


def test_no_key_comes_twice_however_often_a_step_is_asked() -> None:
    keys = {
        key_of(Place(task="01T", attempt=attempt, name="undo_source", node="main"), tries)
        for attempt in range(1, 4)
        for tries in range(1, 100)
    }

    assert len(keys) == 3 * 99


@pytest.mark.parametrize("key", ["", "a:b:c", "a:b:c:0", "a:b:c:x", "a:b:c:1:2", "a:b:c:²"])
def test_what_is_no_key_of_ours_leads_nowhere(key: str) -> None:
    assert place_of(key) is None
