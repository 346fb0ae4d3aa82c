"""Changing one list of a YAML file: that value, and no other byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composia.errors import Conflict, Invalid
from composia.tools.yaml import load
from composia.tools.yaml_edit import set_list

NODES = ("main", "edge", "west", "a-b", "true", "123", "null")


def edit(text: str, *wanted: str) -> str:
    return set_list(text.encode(), "f", "nodes", wanted, after="name").decode()


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("name: x\nnodes: [main]\n", "name: x\nnodes: [edge]\n"),
        ("name: x\nnodes: [ main ]  # here\n", "name: x\nnodes: [ edge ]  # here\n"),
        ("nodes:\n  - main  # why\nname: x\n", "nodes:\n  - edge  # why\nname: x\n"),
        ("nodes:\n- main\n\n# end\nname: x", "nodes:\n- edge\n\n# end\nname: x"),
        ("nodes: ['main']\n", "nodes: ['edge']\n"),
        ('nodes: ["main"]\r\nname: x\r\n', 'nodes: ["edge"]\r\nname: x\r\n'),
        ("nodes: [\n  main, # one\n]\n", "nodes: [\n  edge, # one\n]\n"),
        ("{name: x, nodes: [main]}", "{name: x, nodes: [edge]}"),
        ("nodes: main\n", "nodes: [edge]\n"),
        ("nodes:\nname: x\n", "nodes: [edge]\nname: x\n"),
        ("nodes: []\n", "nodes: [edge]\n"),
        ("name: x  # mine\nenabled: true\n", "name: x  # mine\nnodes: [edge]\nenabled: true\n"),
        ("name: x", "name: x\nnodes: [edge]"),
        ("  name: x\n  enabled: true\n", "  name: x\n  nodes: [edge]\n  enabled: true\n"),
        ("{name: x}", "{name: x, nodes: [edge]}"),
        ("--- # ö\nname: 'ü'\nnodes: [main]\n...\n", "--- # ö\nname: 'ü'\nnodes: [edge]\n...\n"),
        ("\ufeffnodes: [main]\n", "\ufeffnodes: [edge]\n"),
        ("nodes: [main]\nb: {nodes: [main]}\n", "nodes: [edge]\nb: {nodes: [main]}\n"),
    ],
)
def test_only_the_span_of_the_value_changes(text: str, edited: str) -> None:
    assert edit(text, "edge") == edited


@pytest.mark.parametrize(
    ("text", "wanted", "edited"),
    [
        ("nodes: [main, west]\n", ("edge", "west"), "nodes: [edge, west]\n"),
        ("nodes: [main, west]\n", ("west",), "nodes: [west]\n"),
        ("nodes: [main]\n", ("main", "west"), "nodes: [main, west]\n"),
        ("nodes:\n  - main\n  - west # w\n", ("west",), "nodes:\n  - west # w\n"),
        ("nodes:\n  - main\nb: 1\n", ("main", "west"), "nodes:\n  - main\n  - west\nb: 1\n"),
        ("nodes:\n  - main", ("main", "west"), "nodes:\n  - main\n  - west"),
    ],
)
def test_words_come_and_go_in_the_layout_that_is_there(
    text: str, wanted: tuple[str, ...], edited: str
) -> None:
    assert edit(text, *wanted) == edited


def test_a_word_that_would_be_no_text_is_quoted() -> None:
    assert edit("nodes: [main]\n", "123") == 'nodes: ["123"]\n'


def test_what_is_there_already_is_left_as_it_is() -> None:
    assert edit("nodes: [ 'edge' ]\n", "edge") == "nodes: [ 'edge' ]\n"


@pytest.mark.parametrize(
    "text",
    [
        "nodes: &here [main]\nb: *here\n",
        "a: &one main\nnodes: [*one]\n",
        "a: &all [main]\nnodes: *all\n",
        "nodes: [&one main]\nb: *one\n",
        "nodes:\n  - |-\n    main\n",
        "nodes: {main: 1}\n",
        "- main\n",
        "enabled: true\n",
        "nodes:\n  - main\n  - west # why it is there\n",
    ],
)
def test_what_needs_a_person_is_told_with_what_to_write(text: str) -> None:
    with pytest.raises(Conflict) as told:
        edit(text, "main" if "west" in text else "edge")
    assert "Write `nodes: [" in str(told.value.hint)


def test_a_file_that_is_no_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(Invalid, match="f:2:"):
        edit("nodes: [main\n", "edge")


comments = st.sampled_from(["", "  # why", " # 'quoted' [a, b]", "   #ö: x"])
words = st.lists(st.sampled_from(NODES), min_size=1, max_size=4, unique=True)
styles = st.sampled_from(["'{}'", '"{}"'])


@st.composite
def listed(draw: st.DrawFn, nodes: list[str]) -> str:
    style = draw(styles)
    quoted = [style.format(node) for node in nodes]
    kind = draw(st.sampled_from(["flow", "lines", "block", "indented"]))
    if kind == "flow":
        gap = draw(st.sampled_from(["", " "]))
        return f"nodes: [{gap}{f',{gap}'.join(quoted)}{gap}]{draw(comments)}\n"
    if kind == "lines":
        return "nodes: [\n" + "".join(f"    {word},\n" for word in quoted) + "  ]\n"
    indent = "  " if kind == "indented" else ""
    return "nodes:\n" + "".join(f"{indent}-  {word}\n" for word in quoted)


@st.composite
def files(draw: st.DrawFn) -> tuple[str, list[str]]:
    nodes = draw(words)
    parts = [
        f"name: my-app{draw(comments)}\n",
        draw(listed(nodes)) if draw(st.booleans()) else "",
        f"network:{draw(comments)}\n  dns:\n    - {{hostname: 'ä.b', nodes: [main]}}\n",
        "about: |\n  nodes: [main]\n  # no comment\n",
        "folded: >-\n  one\n\n  two\n",
    ]
    blank = st.sampled_from(["", "\n", "# a remark: [main]\n", "   \n"])
    order = draw(st.permutations(parts))
    text = "".join(draw(blank) + part for part in order)
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"]))), nodes


@given(files(), words)
def test_whatever_the_layout_only_the_list_is_other_afterwards(
    file: tuple[str, list[str]], wanted: list[str]
) -> None:
    text, _ = file
    edited = edit(text, *wanted)
    assert load(edited, "f").data == {**load(text, "f").data, "nodes": wanted}
    kept = [line for line in edited.splitlines() if line.lstrip().startswith("#")]
    assert kept == [line for line in text.splitlines() if line.lstrip().startswith("#")]
    newline = "\r\n" if "\r\n" in text else "\n"
    assert edited.splitlines(keepends=True) == [line + newline for line in edited.splitlines()]


@given(files(), words)
def test_a_list_that_is_changed_and_changed_back_is_the_same_file(
    file: tuple[str, list[str]], wanted: list[str]
) -> None:
    text, nodes = file
    if "nodes" not in load(text, "f").data or len(nodes) != len(wanted):
        return
    assert edit(edit(text, *wanted), *nodes) == text
