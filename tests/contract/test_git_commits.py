"""What a commit has changed, asked of the real Git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composia.controller.catalog import Catalog
from composia.controller.changes import LARGEST, What, Why
from composia.errors import NotFound
from tests.contract.git_world import World, commit, git, service, write

ODD = 'app/<b>\u202e "x"\n.txt'


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A work tree that is the catalog."""
    git(tmp_path, "init", "-qb", "main", str(tmp_path / "catalog"))
    return tmp_path / "catalog"


async def opened(here: Path) -> Catalog:
    return await World(here.parent).catalog(remote=False)


async def test_a_commit_shows_what_it_changed_of_a_service(here: Path) -> None:
    first = commit(here, {**service("app"), **service("other"), "app/gone": "a\nb"}, "Begin")
    (here / "app/gone").unlink()
    (here / "app/docker-compose.yaml").chmod(0o755)
    (here / "app/link").symlink_to("gone")
    write(here, "app/logo.png", b"\x89PNG\0\1")
    write(here, "app/large", "x" * (LARGEST + 1))
    write(here, ODD, "<script>\n")
    meta = "name: app\nnodes: [edge]\n"
    second = commit(here, {"app/composia-meta.yaml": meta, "other/x": "y"}, "Go\n\nA reason.\n")
    catalog = await opened(here)

    found = await catalog.commit(second, "app")

    assert (found.commit.subject, found.commit.body, found.commit.parent) == (
        "Go",
        "A reason.",
        first,
    )
    assert [(one.path, one.what, one.why) for one in found.files] == [
        (ODD, What.ADDED, None),
        ("app/composia-meta.yaml", What.CHANGED, None),
        ("app/docker-compose.yaml", What.MODE, None),
        ("app/gone", What.REMOVED, None),
        ("app/large", What.ADDED, Why.LARGE),
        ("app/link", What.ADDED, None),
        ("app/logo.png", What.ADDED, Why.BINARY),
    ]
    patches = {one.path: one.patch.split("\n") for one in found.files}
    assert patches[ODD] == ["@@ -0,0 +1,1 @@", "+<script>"]
    assert patches["app/composia-meta.yaml"][1:] == [
        " name: app",
        "-nodes: [main]",
        "+nodes: [edge]",
    ]
    assert patches["app/gone"][-1] == "\\ No newline at end of file"


async def test_the_first_commit_added_everything(here: Path) -> None:
    first = commit(here, service("app"))
    catalog = await opened(here)

    found = await catalog.commit(first, "app")

    assert {one.what for one in found.files} == {What.ADDED}
    assert found.commit.parent is None


async def test_a_commit_that_was_about_others_is_not_found(here: Path) -> None:
    commit(here, service("app"))
    other = commit(here, service("other"))
    catalog = await opened(here)

    for wrong in (other, "0" * 40, "HEAD"):
        with pytest.raises(NotFound):
            await catalog.commit(wrong, "app")


async def test_a_commit_in_no_encoding_is_shown_all_the_same(here: Path) -> None:
    first = commit(here, service("app"))
    tree, who = git(here, "rev-parse", "HEAD^{tree}"), "Caf\udce9 <a@b.c> 1700000000 +0000"
    raw = f"tree {tree}\nauthor {who}\ncommitter {who}\n\ncaf\udce9\n\nbody \udcff\n"
    (here.parent / "raw").write_bytes(os.fsencode(raw))
    revision = git(here, "hash-object", "-t", "commit", "-w", str(here.parent / "raw"))
    git(here, "update-ref", "HEAD", revision, first)
    catalog = await opened(here)

    found = (await catalog.commit(revision, "app")).commit

    assert (found.author.name, found.subject, found.body) == (
        "Caf\ufffd",
        "caf\ufffd",
        "body \ufffd",
    )


async def test_an_edit_whose_name_is_no_text_can_be_told(here: Path) -> None:
    commit(here, service("app"))
    write(here, "app/caf\udce9", "x")
    catalog = await opened(here)

    assert "app/caf\ufffd" in catalog.status.model_dump_json()
