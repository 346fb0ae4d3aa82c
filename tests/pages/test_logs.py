"""What programs colour for terminals, in a log on a page."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.pages.browser import longest_work
from tests.pages.serving import Serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID = (
    """[...document.querySelectorAll("#log span")].map((one) => [one.className, one.textContent])"""
)


async def said(page: Page, serving: Serving, *lines: str) -> list[Any]:
    """Each piece that does not look like the rest, with what it looks like."""
    serving.office.nodes.said = "".join(f"{line}\n" for line in (*lines, "the end")).encode()
    await page.goto("/services/my-app/instances")
    await expect(page.locator("#log")).to_contain_text("the end")
    return await page.evaluate(SAID)  # type: ignore[no-any-return]  # as SAID makes it


async def test_colours_of_a_program_are_seen(admin: Page, serving: Serving) -> None:
    pieces = await said(
        admin,
        serving,
        "plain \x1b[1;31merror\x1b[0m plain \x1b[92mgood\x1b[39m plain",
        "\x1b[4m\x1b[33mopen to its end",
        "\x1b[38;5;208mtable\x1b[m \x1b[38;2;10;20;230mrgb\x1b[m \x1b[38:2::250:0:250mcolons\x1b[m",
        "\x1b[37;44m INFO \x1b[7m turned \x1b[0m \x1b[7mplain turned\x1b[27m",
        "\x1b[90;2mfaint\x1b[22m\x1b[3m \x1b[23m\x1b[0;30mblack\x1b[38;5;244m\x1b[97mwhite",
    )

    assert pieces == [
        ["bold ink-red", "error"],
        ["ink-green", "good"],
        ["underlined ink-yellow", "open to its end"],
        ["ink-red", "table"],
        ["ink-blue", "rgb"],
        ["ink-magenta", "colons"],
        ["on-blue", " INFO "],
        ["on-plain", " turned "],
        ["on-plain", "plain turned"],
        ["ink-grey", "faint"],
        ["italic ink-grey", " "],
        ["ink-grey", "black"],
    ]


async def test_whatever_else_steers_a_terminal_is_dropped(admin: Page, serving: Serving) -> None:
    pieces = await said(
        admin,
        serving,
        "a\x1b[2J\x1b[10;20H\x1b[?25lb\x1b]0;title\x07c\x1b]8;;https://example.org\x1b\\d\x1bPq#0\x1b\\e",
        "f\x1b(B\x1b[mg\x1b7h\x1bci\x1b[>4;1mj\x1b=k\x9b31ml\x1b[",
        "\x1b[31m<b onclick=alert(1)>\u202etxt\x00\x1b[0m",
    )

    text = await admin.locator("#log").text_content() or ""
    assert text.splitlines() == ["abcde", "fghijkl", "<b onclick=alert(1)>·txt·", "the end"]
    assert pieces == [["ink-red", "l"], ["ink-red", "<b onclick=alert(1)>·txt·"]]


async def test_a_flood_of_colours_freezes_nothing(admin: Page, serving: Serving) -> None:
    every = "".join(f"\x1b[3{n % 7}m{n % 7}" for n in range(70))
    lines = [*(f"{n} {every}" for n in range(3_000)), "the last line"]
    serving.office.nodes.said = "\n".join(lines).encode()

    longest = await longest_work(admin, "/services/my-app/instances", "the last line")

    assert 0 < longest < 500
    text = await admin.locator("#log").text_content() or ""
    assert "2999 0123" in text
    assert "\x1b" not in text
    # Where not all colours fit, the newest lines have theirs.
    assert (await admin.evaluate(SAID))[-2:] == [["ink-magenta", "5"], ["ink-cyan", "6"]]
