from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composia.errors import Invalid, Problem
from composia.tools.yaml import MAX_BYTES, Position, load


def refused(text: str | bytes) -> Invalid:
    with pytest.raises(Invalid) as told:
        load(text, "f.yaml")
    return told.value


def test_every_key_and_value_knows_its_place() -> None:
    document = load("a:\n  - x\n  - {b: 1}\n", "f.yaml")
    assert document.data == {"a": ["x", {"b": 1}]}
    assert document.keys["a", 1, "b"] == Position(3, 6)
    assert document.values["a", 1, "b"] == Position(3, 9)
    assert document.values["a", 0] == Position(2, 5)


@pytest.mark.parametrize(
    ("text", "value"),
    [("on", "on"), ("no", "no"), ("2026-01-01", "2026-01-01"), ("1:30", "1:30"), ("true", True),
     ("~", None), ("", None), ("12", 12), ("-1", -1), ("1.5", 1.5), ('"12"', "12"),
     ("'true'", "true"),
     (".inf", ".inf"), ("0x10", "0x10"), ("1_000", "1_000"), ("<<", "<<")],
)  # fmt: skip
def test_a_scalar_is_what_it_looks_like(text: str, value: object) -> None:
    assert load(f"a: {text}\n", "f.yaml").data == {"a": value}


def test_keys_are_always_text() -> None:
    assert load("on: 1\n1: 2\ntrue: 3\n", "f.yaml").data == {"on": 1, "1": 2, "true": 3}


def test_every_key_that_is_there_twice_is_named() -> None:
    problems = refused("a: 1\nb: 2\na: 3\nb: 4\n").problems
    assert [(p.line, p.loc, p.msg) for p in problems] == [
        (3, ("a",), "key `a` is there twice"),
        (4, ("b",), "key `b` is there twice"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "not YAML"),
        ("a: !!python/object:os.system x", "the tag"),
        ("a: !!timestamp 2026-01-01", "the tag"),
        ("a: *b", "no anchor"),
        ("&a a: *a", "no anchor"),
        ("a: &a [*a]", "no anchor"),
        ("a\n---\nb", "second document"),
        ("? [x]\n: 1", "a key must be plain text"),
        ("[" * 10_000, "deep"),
        ('a: "\\0"', "NUL"),
        ("a: \x01", "control characters"),
        (b"a: \xff", "UTF-8"),
        ('a: "\\ud800"', "Unicode"),
        ("a: {b: ${NAME}}", "in quotes"),
        ("x" * (MAX_BYTES + 1), "KiB"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str | bytes, words: str) -> None:
    assert words in refused(text).message


def test_aliases_cannot_make_a_small_file_a_large_one() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert "aliases counted" in refused("\n".join(lines)).message


def test_an_alias_stands_for_its_anchor() -> None:
    assert load("a: &x {b: 1}\nc: *x\n", "f.yaml").data == {"a": {"b": 1}, "c": {"b": 1}}


@given(st.text() | st.binary())
def test_any_text_is_read_or_refused_with_a_place(text: str | bytes) -> None:
    found: tuple[Problem, ...] = ()
    try:
        load(text, "f.yaml")
    except Invalid as error:
        found = error.problems
    assert all(problem.file == "f.yaml" for problem in found)
