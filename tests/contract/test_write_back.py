"""`nodes` written back into the catalog on real Git, against people who push at the same time."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from composia.controller.catalog import Catalog
from composia.errors import Conflict, Failure
from tests.contract.git_world import World, commit, git, service

META = """# The app of the house.
name: app   # never rename it
nodes:
  - main    # moved here in spring
enabled: true
"""
MOVED = META.replace("- main ", "- edge ")
FILE = "app/composia-meta.yaml"


@pytest.fixture
def world(tmp_path: Path, template: Path) -> World:
    made = World(tmp_path).with_remote(template)
    made.someone_pushes(service("app", META))
    return made


async def move(catalog: Catalog) -> str:
    return await catalog.write_back("app", "app", ["edge"], ["main"])


async def test_only_the_value_changes_in_one_commit_that_is_pushed(world: World) -> None:
    catalog, before = await world.catalog(), world.remote_head()
    revision = await move(catalog)
    assert world.remote_head() == revision == catalog.view().revision
    assert world.remote_file(FILE) == MOVED.strip()
    assert git(world.remote, "rev-list", f"{before}..main") == revision
    assert git(world.remote, "log", "-1", "--format=%s|%an", "main") == (
        "Move app from main to edge|Composia"
    )
    assert (world.root / "catalog" / FILE).read_text() == MOVED


async def test_what_is_so_already_makes_no_commit(world: World) -> None:
    catalog = await world.catalog()
    assert await move(catalog) == await move(catalog) == world.remote_head()


async def test_a_commit_of_somebody_else_stays_below_ours(world: World) -> None:
    catalog = await world.catalog()
    world.someone_pushes({FILE: META.replace("enabled: true", "enabled: false"), "b/c.txt": "b"})
    await move(catalog)
    assert world.remote_file(FILE) == MOVED.replace("enabled: true", "enabled: false").strip()
    assert world.remote_file("b/c.txt") == "b"


async def test_nodes_that_somebody_else_wrote_stay_and_are_told(world: World) -> None:
    catalog = await world.catalog()
    world.someone_pushes({FILE: META.replace("- main ", "- west ")})
    before = world.remote_head()
    with pytest.raises(Conflict, match=r"somebody else changed `nodes` of app to \[west\]") as told:
        await move(catalog)
    assert world.remote_head() == before
    assert "[edge]" in str(told.value.hint)


async def test_nodes_that_somebody_else_wrote_as_wanted_need_no_commit(world: World) -> None:
    catalog = await world.catalog()
    theirs = world.someone_pushes({FILE: MOVED})
    assert await move(catalog) == theirs == world.remote_head()


async def test_people_who_push_all_the_time_lose_nothing_and_neither_do_we(world: World) -> None:
    catalog = await world.catalog()
    config = world.config()
    pushed: list[str] = []
    real = catalog._git.push

    async def overtaken(revision: str, branch: str) -> bool:
        if len(pushed) < 3:
            pushed.append(world.someone_pushes({f"b/{len(pushed)}.txt": "x"}))
        return await real(revision, branch)

    catalog._git.push = overtaken  # type: ignore[method-assign]  # somebody is quicker, thrice
    revision = await move(catalog)
    above = git(world.remote, "rev-list", "--first-parent", config.git.branch).splitlines()
    assert above[:4] == [revision, *reversed(pushed)]
    assert world.remote_file(FILE) == MOVED.strip()


async def test_two_controllers_and_a_person_at_once_lose_no_change(world: World) -> None:
    for name in ("b", "c"):
        world.someone_pushes(service(name, META.replace("name: app", f"name: {name}")))
    one, two = await world.catalog("one"), await world.catalog("two")
    await asyncio.gather(
        move(one),
        two.write_back("b", "b", ["edge"], ["main"]),
        asyncio.to_thread(world.someone_pushes, {"c/readme.txt": "c"}, "ada"),
        return_exceptions=True,
    )
    # A person's own push may have been refused: that one is pushed by hand afterwards.
    git(world.root / "ada", "pull", "-q", "--rebase", "origin", "main")
    git(world.root / "ada", "push", "-q", "origin", "HEAD:main")
    found = [world.remote_file(path) for path in (FILE, "b/composia-meta.yaml", "c/readme.txt")]
    assert ["- edge " in found[0], "- edge " in found[1], found[2]] == [True, True, "c"]


async def test_a_remote_that_is_gone_is_told_and_tried_again(world: World) -> None:
    catalog, away = await world.catalog(), world.root / "away.git"
    before = catalog.view().revision
    shutil.move(world.remote, away)
    with pytest.raises(Failure, match="remote cannot be reached") as told:
        await move(catalog)
    assert told.value.hint
    assert (await catalog.current()).revision == before
    shutil.move(away, world.remote)
    assert await move(catalog) == world.remote_head()
    assert world.remote_file(FILE) == MOVED.strip()


async def test_a_remote_that_went_another_way_is_told_and_tried_again(world: World) -> None:
    catalog = await world.catalog()
    mine = commit(world.root / "catalog", {"mine.txt": "mine"})
    theirs = world.someone_pushes({"theirs.txt": "theirs"})
    with pytest.raises(Conflict, match="have each a commit") as told:
        await move(catalog)
    assert "rebase" in str(told.value.hint)
    assert (git(world.root / "catalog", "rev-parse", "HEAD"), world.remote_head()) == (mine, theirs)
    git(world.root / "catalog", "rebase", "-q", "origin/main")
    await move(catalog)
    assert world.remote_file("mine.txt") == "mine"
    assert world.remote_file(FILE) == MOVED.strip()


async def test_an_edit_in_the_work_tree_is_not_written_over(world: World) -> None:
    catalog = await world.catalog()
    (world.root / "catalog" / FILE).write_text(META + "# half an edit\n")
    with pytest.raises(Conflict, match="not committed"):
        await move(catalog)
    assert (world.root / "catalog" / FILE).read_text() == META + "# half an edit\n"


async def test_a_catalog_without_remote_is_committed_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    folder = world.root / "catalog"
    git(world.root, "init", "-q", "-b", "main", str(folder))
    commit(folder, service("app", META))
    catalog = await world.catalog(remote=False)
    assert await move(catalog) == git(folder, "rev-parse", "HEAD")
    assert (folder / FILE).read_text() == MOVED


@pytest.mark.parametrize("gone", [{FILE: "name: other\nnodes: [main]\n"}, None])
async def test_a_service_that_is_not_there_any_more_is_told(
    world: World, gone: dict[str, str] | None
) -> None:
    catalog = await world.catalog()
    if gone is None:
        git(world.root / "ada", "mv", "app", "moved")
    world.someone_pushes(gone or {"x.txt": "x"})
    with pytest.raises(Conflict, match="any more"):
        await move(catalog)
