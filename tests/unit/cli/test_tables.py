"""Tables, and that a terminal obeys nothing of what a container says."""

from __future__ import annotations

import sys

import click
import pytest

from composia.cli.tables import harmless, show_table

ID = "01KB8Z3N0QW6V5T4S3R2Q1P0N6"
ROW = (ID, "my-app", "missing in the repository", "2026-11-24 04:00:00Z (6 d ago)", "117.7 MiB")


def shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> list[str]:
    """A table on a terminal of this width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    show_table(("BACKUP", "SERVICE", "STATUS", "TIME", "SIZE"), [ROW], empty="")
    return [click.unstyle(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("width", [90, 80])
def test_a_table_that_has_too_little_room_is_folded_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    lines = shown(monkeypatch, capsys, width)
    assert {len(line) for line in lines} == {width}
    words = {word for line in lines[2:] for word in line.split()}
    assert words == {word for cell in ROW for word in cell.split()}
    assert lines[2].endswith("117.7 MiB")


def test_what_no_folding_can_make_fit_is_left_to_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, row = shown(monkeypatch, capsys, 60)
    assert row.rstrip() == "  ".join([ID, "my-app ", *ROW[2:]])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("as\tit is: ö 日本 🙂\n", "as\tit is: ö 日本 🙂\n"),
        ("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m"),
        ("a\x1b]52;c;cm0gLXJmIC8=\x07b", "ab"),
        ("a\x1b]0;title\x1b\\b", "ab"),
        ("a\x9d52;c;eA==\x9cb", "ab"),
        ("a\x1bP1$r0m\x1b\\b", "ab"),
        ("a\x1b]52;c;never ends\nb", "a\nb"),
        ("a\x1b[2J\x1b[H\x1b[?1049h\x9b2Kb", "ab"),
        ("a\x1bc\x1b(0\x1b7b", "ab"),
        ("real\rfalse\x08\x0b\x0c\x7f\x00\x85", "realfalse"),
        ("\x1b\x1b[2J[31m\x1b", "[31m"),
        ("\x1b[31\x1b[32mm", "31\x1b[32mm"),
    ],
)
def test_a_terminal_obeys_colours_and_nothing_else(said: str, shown: str) -> None:
    assert harmless(said) == shown
    assert harmless(harmless(said)) == harmless(said)
