"""The key of a question: `task:step:node:number`, of which the last part never comes twice."""

from __future__ import annotations

from composia.controller.store.steps import Place

#: How often a step is asked in one attempt of its task.
TRIES = 3
#: Room for more of them: what has to be done is asked for as often as its agent was interrupted.
STRIDE = 1_000_000


def key_of(place: Place, tries: int) -> str:
    """The key that a step is asked under, the so-and-so-many-th time."""
    number = (place.attempt - 1) * STRIDE + tries
    return f"{place.task}:{place.name}:{place.node}:{number}"


def place_of(key: str) -> tuple[Place, int] | None:
    """The step that a key belongs to; None for a key that is none of ours."""
    parts = key.split(":")
    if len(parts) != 4 or not parts[3].isascii() or not parts[3].isdigit() or parts[3] == "0":
        return None
    attempt, tries = divmod(int(parts[3]) - 1, STRIDE)
    place = Place(task=parts[0], attempt=attempt + 1, name=parts[1], node=parts[2])
    return place, tries + 1
