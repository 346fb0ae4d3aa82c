from __future__ import annotations

import io
import os
import tarfile

import pytest

from composia.errors import Invalid
from composia.tools.bundle import bundle, stays_inside
from composia.tools.git import LINK, Entry


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


def given(*paths: str, mode: str = "100644") -> tuple[list[Entry], dict[str, bytes]]:
    entries = [Entry(mode, path, 1, f"app/{path}") for path in sorted(paths)]
    return entries, {path: os.fsencode(path) for path in paths}


def turned(content: bytes) -> bytes:
    """Stands in for decrypting."""
    if content.startswith(b"broken"):
        raise ValueError("it is rubbish")
    return content[::-1]


def deployed(*paths: str, mode: str = "100644") -> dict[str, tuple[int, bytes]]:
    entries, contents = given(*paths, mode=mode)
    made = bundle(entries, contents, below="app", decrypt=turned)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        return {
            member.name: (
                member.mode,
                opened.read() if (opened := tar.extractfile(member)) else b"",
            )
            for member in tar.getmembers()
        }


@pytest.mark.parametrize("name", [".env", "secrets/db", "--help", "ö", "x.age", "n" * 250, " "])
@pytest.mark.parametrize("mode", ["100644", "100755"])
def test_an_encrypted_file_is_deployed_in_plain_for_its_owner_alone(name: str, mode: str) -> None:
    encrypted = f"{name}.age"
    plain = encrypted.encode()[::-1]
    assert deployed(encrypted, "other", mode=mode)[name] == (0o600, plain)
    assert sorted(deployed(encrypted, "other")) == sorted([name, "other"])


def test_without_an_identity_it_is_deployed_as_it_is() -> None:
    entries, contents = given(".env", ".env.age", ".age")
    made = bundle(entries, contents, below="app")
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        assert sorted(tar.getnames()) == [".age", ".env", ".env.age"]


def test_a_link_is_deployed_as_it_is() -> None:
    entries = [Entry(LINK, "s", 1, "app/link.age")]
    made = bundle(entries, {"s": b"target"}, below="app", decrypt=turned)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        assert [(one.name, one.linkname) for one in tar.getmembers()] == [("link.age", "target")]


@pytest.mark.parametrize(
    "name", [".age", "folder/.age", "..age", "...age", "a/...age", ".git.age", "a/.GIT.age"]
)
def test_one_that_would_get_a_name_that_no_catalog_may_have_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match=r"without \.age") as told:
        deployed(name)
    assert told.value.problems[0].file == f"app/{name}"


@pytest.mark.parametrize(
    ("paths", "named"),
    [
        ((".env", ".env.age"), "app/.env and app/.env.age"),
        (("x/inside", "x.age"), "app/x/inside and app/x.age"),
        (("a/x.age/y", "a/x.age.age"), "app/a/x.age/y and app/a/x.age.age"),
        (("x/y.age", "x.age"), "app/x"),
    ],
)
def test_two_that_would_be_in_each_others_way_are_refused_by_name(
    paths: tuple[str, ...], named: str
) -> None:
    with pytest.raises(Invalid, match="cannot both be deployed") as told:
        deployed(*paths)
    assert named in told.value.message


def test_one_that_cannot_be_decrypted_is_named_with_reason_and_next_step() -> None:
    with pytest.raises(Invalid) as told:
        deployed("good.age", "broken ö\udcff.age")
    assert told.value.message == "app/broken ö\ufffd.age: cannot be decrypted: it is rubbish"
    assert told.value.hint
    assert told.value.hint.endswith("composia catalog encrypt --force 'app/broken ö\ufffd'")
