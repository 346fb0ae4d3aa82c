"""What is told of a compose file before compose reads it."""

from __future__ import annotations

import pytest

from composia.model.compose import faults
from composia.tools.yaml import load


def found(text: str) -> list[str]:
    problems = faults(load(text, "docker-compose.yaml", tags=True))
    return [f"{one.line}:{one.column} {one.msg}" for one in problems]


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  web:\n    image: a\n",
        "services: {}\n",
        "volumes: {a: {}}\n",
        "x-mine: 1\nservices:\n  web: {x-own: 1, <<: {}, image: a}\n",
        "services:\n  web: {whatever_comes: 1}\n",
        "services:\n  web:\n    ports: !override []\n",
    ],
)
def test_a_compose_file_is_left_to_compose(text: str) -> None:
    assert found(text) == []


def test_keys_that_look_like_others_are_named_with_their_places() -> None:
    text = "servces: {}\nservices:\n  web:\n    volums: []\n    enviroment: []\n"

    assert found(text) == [
        "1:1 unknown key `servces`; did you mean `services`?",
        "4:5 unknown key `volums`; did you mean `volumes`?",
        "5:5 unknown key `enviroment`; did you mean `environment`?",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [("- a\n", "1:1"), ("services: [web]\n", "1:11"), ("services:\n  web: image\n", "2:8")],
)
def test_what_is_no_mapping_is_named(text: str, place: str) -> None:
    assert found(text) == [f"{place} must be a mapping of keys to values"]
