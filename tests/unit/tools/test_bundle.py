from __future__ import annotations

import pytest

from composia.errors import Invalid
from composia.tools.bundle import bundle, stays_inside
from composia.tools.git import Entry


@pytest.mark.parametrize(
    ("name", "target", "inside"),
    [
        ("l", b"file", True),
        ("a/l", b"../file", True),
        ("a/b/l", b"../../x/y", True),
        ("l", b"./a/./b", True),
        ("l", b"../file", False),
        ("a/l", b"../../x", False),
        ("l", b"/etc/passwd", False),
        # Elsewhere `k` may be a link to the top: then `k/..` would be outside.
        ("p/q/l", b"k/..", False),
    ],
)
def test_a_link_stays_inside_whatever_other_links_say(
    name: str, target: bytes, inside: bool
) -> None:
    assert stays_inside(name, target) is inside


@pytest.mark.parametrize("path", ["app/../x", "app/.git/config", "app/a//b", "app/.GIT/hooks/x"])
def test_a_name_that_no_catalog_may_have_is_refused(path: str) -> None:
    with pytest.raises(Invalid, match="name"):
        bundle([Entry("100644", "s", 1, path)], {"s": b"x"}, below="app")


def test_a_submodule_is_refused() -> None:
    with pytest.raises(Invalid, match="submodules"):
        bundle([Entry("160000", "s", 0, "app/sub")], {}, below="app")


def test_the_same_files_are_the_same_bytes() -> None:
    entries = [Entry("100755", "s", 1, "app/run"), Entry("100644", "t", 1, "app/" + "n" * 200)]
    contents = {"s": b"x", "t": b"y"}
    assert bundle(entries, contents, below="app") == bundle(entries, contents, below="app")
