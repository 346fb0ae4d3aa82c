from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composia.tools.paths import (
    IncludedPath,
    IncludedVolume,
    overlapping,
    parse_include,
    relative_path,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [("./data", "data"), ("./data//uploads/", "data/uploads"), ("a/./b", "a/b"), ("./--x", "--x"),
     ("./ö x", "ö x"), ("./..data", "..data"), ("./; rm -rf", "; rm -rf")],
)  # fmt: skip
def test_an_entry_with_a_slash_is_inside_the_folder(text: str, path: str) -> None:
    assert parse_include(text) == IncludedPath(path=path)


def test_a_bare_word_is_a_volume() -> None:
    assert parse_include("pgdata") == IncludedVolume(key="pgdata")


@pytest.mark.parametrize(
    "text",
    ["", " ", "/", "/etc", "//etc", "..", "../x", "./a/../../x", "a/..", ".", "./", "~/x", "~",
     "a\0b", "./a\nb", "./a:b", "a b", "--help", "; rm -rf", "ö", "x" * 300,
     "./" + "x" * 256, "./" + "x/" * 600,
     "./\udcff"],
)  # fmt: skip
def test_an_entry_that_leads_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_include(text)


@given(st.text(alphabet="./ab~:\0\n", max_size=20))
def test_whatever_is_taken_stays_inside(text: str) -> None:
    try:
        path = relative_path(text)
    except ValueError:
        return
    assert path
    assert not path.startswith("/")
    assert not {"", ".", ".."} & set(path.split("/"))
    assert relative_path(path) == path


@pytest.mark.parametrize(
    ("entries", "overlap"),
    [
        (["./a", "./a/b"], True),
        (["./a/b", "./c", "./a"], True),
        (["./a", "a/"], True),
        (["v", "v"], True),
        (["./a", "./ab"], False),
        (["a", "./a"], False),
        (["./a/b", "./a/c", "v"], False),
    ],
)
def test_entries_overlap_where_one_is_inside_the_other(entries: list[str], overlap: bool) -> None:
    assert (overlapping(map(parse_include, entries)) is not None) is overlap
