"""What a container says does nothing to the terminal on which it is shown."""

from __future__ import annotations

import pytest

from composia.cli.tables import harmless


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
