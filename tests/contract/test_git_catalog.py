"""The catalog on real Git: pulled, committed to, raced for, and nobody's commit lost."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import socket
import tarfile
from pathlib import Path

import pytest

from composia.controller.catalog import Catalog, CatalogStatus
from composia.errors import Conflict, Failure, Invalid, NotFound, Stale
from composia.tools.age import encrypted, new_identity
from composia.tools.git import Git
from composia.tools.shell import LocalShell
from tests.contract.git_world import COMPOSE, World, commit, git, names, service, write


def state(catalog: Catalog) -> str:
    return catalog.status.state.value


@pytest.fixture
def alone(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def world(tmp_path: Path, template: Path) -> World:
    return World(tmp_path).with_remote(template)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git takes as long as it takes: nothing is old by then, and nobody has waited enough."""
    monkeypatch.setattr("composia.controller.catalog.PATIENCE", 60.0)
    monkeypatch.setattr("composia.controller.catalog.YOUNG", 60.0)


async def test_a_catalog_is_made_where_there_is_none(alone: World) -> None:
    catalog = await alone.catalog(remote=False)
    assert (alone.root / "catalog" / ".git").is_dir()
    assert catalog.view().revision == ""
    assert names(catalog.view()) == []


async def test_the_first_file_of_an_empty_catalog_is_committed(alone: World) -> None:
    catalog = await alone.catalog(remote=False)
    revision = await catalog.write("app/composia-meta.yaml", b"name: app\n", if_match="")
    assert catalog.view().revision == revision
    assert (alone.root / "catalog/app/composia-meta.yaml").read_text() == "name: app\n"


async def test_a_work_tree_that_is_there_is_taken_as_it_is(alone: World) -> None:
    folder = alone.root / "catalog"
    git(alone.root, "init", "-q", "-b", "trunk", str(folder))
    revision = commit(folder, service("app"))
    catalog = await alone.catalog(remote=False)
    assert (catalog.view().revision, names(catalog.view())) == (revision, ["app"])
    assert git(folder, "symbolic-ref", "--short", "HEAD") == "trunk"


async def test_a_folder_that_is_no_work_tree_is_left_alone(alone: World) -> None:
    write(alone.root, "catalog/precious.txt", "mine")
    with pytest.raises(Invalid, match="not a Git work tree") as told:
        await alone.catalog(remote=False)
    assert told.value.hint
    assert "git init" in told.value.hint
    assert os.listdir(alone.root / "catalog") == ["precious.txt"]


async def test_edits_that_are_not_committed_are_kept_named_and_not_used(alone: World) -> None:
    folder = alone.root / "catalog"
    git(alone.root, "init", "-q", "-b", "main", str(folder))
    commit(folder, service("app"))
    write(folder, "app/composia-meta.yaml", "name: other\n")
    write(folder, "new/composia-meta.yaml", "name: new\n")
    catalog = await alone.catalog(remote=False)
    assert names(catalog.view()) == ["app"]
    assert catalog.status.uncommitted == ("app/composia-meta.yaml", "new/composia-meta.yaml")
    assert (folder / "app/composia-meta.yaml").read_text() == "name: other\n"


async def test_an_edit_that_is_not_committed_is_never_written_over(alone: World) -> None:
    folder = alone.root / "catalog"
    git(alone.root, "init", "-q", "-b", "main", str(folder))
    revision = commit(folder, service("app"))
    write(folder, "app/composia-meta.yaml", "name: edited\n")
    catalog = await alone.catalog(remote=False)
    with pytest.raises(Conflict, match="not committed"):
        await catalog.write("app/composia-meta.yaml", b"name: api\n", if_match=revision)
    assert (folder / "app/composia-meta.yaml").read_text() == "name: edited\n"


async def test_a_writer_may_take_whatever_revision_there_is(alone: World) -> None:
    catalog = await alone.catalog(remote=False)
    await catalog.write("app/one.txt", b"one", if_match="")
    revision = await catalog.write("app/two.txt", b"two", if_match="*")
    assert git(alone.root / "catalog", "rev-parse", "HEAD") == revision


@pytest.mark.parametrize("content", [b"", b"PASSWORD=planted", b"age-encryption.org/v2\n"])
async def test_what_is_to_be_encrypted_is_never_committed_in_plain(
    alone: World, content: bytes
) -> None:
    catalog = await alone.catalog(remote=False)
    with pytest.raises(Invalid, match="not committed") as told:
        await catalog.write("app/.env.age", content, if_match="*")
    assert "composia catalog encrypt app/.env" in str(told.value.hint)
    assert catalog.view().revision == ""

    sealed = encrypted(b"PASSWORD=planted", [new_identity()[1]])
    await catalog.write("app/.env.age", sealed, if_match="*")
    assert git(alone.root / "catalog", "show", "HEAD:app/.env.age") == sealed.decode().strip()


async def test_a_write_leaves_other_edits_of_the_work_tree_alone(alone: World) -> None:
    folder = alone.root / "catalog"
    git(alone.root, "init", "-q", "-b", "main", str(folder))
    revision = commit(folder, service("app"))
    write(folder, "app/docker-compose.yaml", "# edited\n")
    write(folder, "app/staged.txt", "staged")
    git(folder, "add", "app/staged.txt")
    catalog = await alone.catalog(remote=False)
    await catalog.write("app/readme.txt", b"hello\n", if_match=revision)
    assert (folder / "app/docker-compose.yaml").read_text() == "# edited\n"
    assert git(folder, "diff", "--cached", "--name-only") == "app/staged.txt"
    assert git(folder, "show", "HEAD:app/readme.txt") == "hello"


async def test_a_commit_in_the_work_tree_is_seen_at_once(alone: World) -> None:
    catalog = await alone.catalog(remote=False)
    commit(alone.root / "catalog", service("app"))
    assert names(await catalog.current()) == ["app"]


async def test_a_catalog_is_cloned_from_its_remote(world: World) -> None:
    catalog = await world.catalog()
    assert names(catalog.view()) == ["app"]
    assert (world.root / "catalog/app/docker-compose.yaml").read_text() == COMPOSE
    assert state(catalog) == "fresh"


async def test_a_pull_brings_what_others_pushed_and_tells_it(world: World) -> None:
    seen: list[list[str]] = []
    config = world.config()
    catalog = Catalog(LocalShell(), config, lambda view: seen.append(names(view)))
    await catalog.open()
    world.someone_pushes(service("blog"))
    await catalog.refresh()
    assert seen == [["app"], ["app", "blog"]]


async def test_whoever_asks_for_a_pull_gets_what_was_pushed_before(world: World) -> None:
    catalog = await world.catalog()
    fetched = 0

    class Counting(Git):
        async def fetch(self, branch: str) -> str | None:
            nonlocal fetched
            fetched += 1
            theirs = await super().fetch(branch)
            if fetched == 1:
                # Too late for the pull that is at work.
                world.someone_pushes(service("new"))
                others.extend(asyncio.create_task(catalog.pull()) for _ in range(3))
                await asyncio.sleep(0)
            return theirs

    others: list[asyncio.Task[CatalogStatus]] = []
    catalog._tree.git = Counting(LocalShell(), catalog._tree.folder)
    await catalog.pull()
    stands = await asyncio.gather(*others)

    assert "new" in names(catalog.view())
    assert [one.revision for one in stands] == [catalog.view().revision] * 3
    assert fetched == 2

    shutil.rmtree(world.remote)
    assert (await catalog.pull()).state.value == "unreachable"


@pytest.mark.usefixtures("unhurried")
async def test_a_service_that_was_pushed_just_now_is_found(world: World) -> None:
    catalog = await world.catalog()
    world.someone_pushes(service("new"))
    await catalog.catch_up("new")
    assert "new" in names(catalog.view())


@pytest.mark.usefixtures("unhurried")
async def test_what_was_pulled_a_moment_ago_is_not_pulled_again(world: World) -> None:
    catalog = await world.catalog()
    before = catalog.status.pulled_at
    await catalog.catch_up(names(catalog.view())[0])
    assert catalog.status.pulled_at == before


@pytest.mark.usefixtures("unhurried")
async def test_a_remote_that_is_gone_keeps_nobody_from_what_is_known(world: World) -> None:
    catalog = await world.catalog()
    shutil.rmtree(world.remote)
    await catalog.catch_up("new")
    assert (state(catalog), len(names(catalog.view()))) == ("unreachable", 1)


async def test_an_empty_remote_gets_the_first_commit(alone: World) -> None:
    git(alone.root, "init", "-q", "--bare", "-b", "main", str(alone.remote))
    catalog = await alone.catalog()
    await catalog.write("app/readme.txt", b"hello", if_match="")
    assert alone.remote_file("app/readme.txt") == "hello"
    assert (alone.root / "catalog/app/readme.txt").read_bytes() == b"hello"


async def test_a_remote_that_is_gone_leaves_the_last_view_working(world: World) -> None:
    catalog = await world.catalog()
    before = catalog.view()
    shutil.move(world.remote, world.root / "elsewhere")
    await catalog.refresh()
    assert catalog.view() == before
    assert state(catalog) == "unreachable"
    assert catalog.status.message
    assert catalog.status.hint
    shutil.move(world.root / "elsewhere", world.remote)
    await catalog.refresh()
    assert state(catalog) == "fresh"


async def test_a_remote_that_falls_silent_is_not_waited_for_long(
    alone: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("composia.tools.git.SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        config = alone.config()
        url = f"git://127.0.0.1:{mute.getsockname()[1]}/catalog"
        git_ = config.git.model_copy(update={"remote_url": url})
        catalog = Catalog(LocalShell(), config.model_copy(update={"git": git_}))
        await catalog.open()
    assert state(catalog) == "unreachable"
    assert "has said nothing for" in str(catalog.status.message)
    with pytest.raises(Failure, match="cannot be reached"):
        await catalog.write_back("app", "app", ["edge"], ["main"])


async def test_a_controller_starts_without_its_remote(world: World) -> None:
    shutil.move(world.remote, world.root / "elsewhere")
    catalog = await world.catalog()
    assert state(catalog) == "unreachable"
    shutil.move(world.root / "elsewhere", world.remote)
    assert names(await catalog.refresh()) == ["app"]


async def test_a_write_is_pushed(world: World) -> None:
    catalog = await world.catalog()
    revision = await catalog.write(
        "app/readme.txt", b"hello", if_match=catalog.view().revision, author="token:admin"
    )
    assert world.remote_head() == revision == catalog.view().revision
    assert git(world.remote, "log", "-1", "--format=%an <%ae>") == (
        "token:admin <composia@example.com>"
    )


async def test_a_write_that_the_remote_does_not_take_changes_nothing(world: World) -> None:
    catalog = await world.catalog()
    before = catalog.view().revision
    shutil.move(world.remote, world.root / "elsewhere")
    with pytest.raises(Failure, match="does not take the commit"):
        await catalog.write("app/readme.txt", b"hello", if_match=before)
    assert git(world.root / "catalog", "rev-parse", "HEAD") == before
    assert not (world.root / "catalog/app/readme.txt").exists()


async def test_a_write_on_top_of_an_older_revision_is_stale(world: World) -> None:
    catalog = await world.catalog()
    old = catalog.view().revision
    await catalog.write("app/readme.txt", b"one", if_match=old)
    with pytest.raises(Stale):
        await catalog.write("app/other.txt", b"two", if_match=old)


async def test_a_write_without_if_match_is_refused(world: World) -> None:
    catalog = await world.catalog()
    with pytest.raises(Invalid, match="If-Match"):
        await catalog.write("app/readme.txt", b"one", if_match=None)


async def test_a_write_that_changes_nothing_makes_no_commit(world: World) -> None:
    catalog = await world.catalog()
    before = catalog.view().revision
    same = COMPOSE.encode()
    assert await catalog.write("app/docker-compose.yaml", same, if_match=before) == before


async def test_a_write_goes_on_top_of_what_somebody_pushed_meanwhile(world: World) -> None:
    catalog = await world.catalog()
    seen = catalog.view().revision
    theirs = world.someone_pushes(service("blog"))
    revision = await catalog.write("app/readme.txt", b"hello", if_match=seen)
    assert git(world.remote, "rev-parse", "main~1") == theirs
    assert world.remote_head() == revision == catalog.view().revision
    assert names(catalog.view()) == ["app", "blog"]


async def test_a_write_to_a_file_that_somebody_changed_meanwhile_is_stale(world: World) -> None:
    catalog = await world.catalog()
    seen = catalog.view().revision
    theirs = world.someone_pushes({"app/docker-compose.yaml": "# theirs\n"})
    with pytest.raises(Stale, match="somebody else"):
        await catalog.write("app/docker-compose.yaml", b"# mine\n", if_match=seen)
    assert world.remote_head() == theirs


async def test_two_controllers_that_race_lose_no_commit(world: World) -> None:
    first, second = await world.catalog("one"), await world.catalog("two")
    for number in range(4):
        heads = [(await catalog.refresh()).revision for catalog in (first, second)]
        await asyncio.gather(
            first.write(f"app/one-{number}", b"1", if_match=heads[0]),
            second.write(f"app/two-{number}", b"2", if_match=heads[1]),
        )
    await asyncio.gather(first.refresh(), second.refresh())
    assert first.view().revision == second.view().revision == world.remote_head()
    made = git(world.remote, "ls-tree", "-r", "--name-only", "main").splitlines()
    assert len([path for path in made if "-" in path and path.startswith("app/")]) == 10


async def test_writes_at_once_are_one_commit_each_or_stale(world: World) -> None:
    catalog = await world.catalog()
    seen = catalog.view().revision
    answers = await asyncio.gather(
        *(catalog.write(f"app/{n}.txt", b"x", if_match=seen) for n in range(4)),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Stale"] * 3 + ["str"]


async def test_a_caller_who_goes_away_leaves_no_lock_behind(world: World) -> None:
    written = asyncio.Event()
    catalog = Catalog(LocalShell(), world.config(), lambda _: written.set())
    await catalog.open()
    written.clear()
    seen = catalog.view().revision
    gone = asyncio.create_task(catalog.write("app/a.txt", b"x", if_match=seen))
    await asyncio.sleep(0)
    gone.cancel()
    async with asyncio.timeout(30):
        await written.wait()
    await catalog.aclose()
    assert gone.cancelled()
    assert not (world.root / "catalog/.git/index.lock").exists()


async def test_commits_on_both_sides_are_kept_and_told(world: World) -> None:
    catalog = await world.catalog()
    mine = commit(world.root / "catalog", {"app/mine.txt": "mine"})
    theirs = world.someone_pushes({"app/theirs.txt": "theirs"})
    await catalog.refresh()
    assert state(catalog) == "diverged"
    assert catalog.status.hint
    assert "rebase" in catalog.status.hint
    assert (catalog.view().revision, world.remote_head()) == (mine, theirs)
    with pytest.raises(Conflict, match="have each a commit"):
        await catalog.write("app/x.txt", b"x", if_match=mine)


async def test_a_rewritten_remote_is_not_followed_blindly(world: World) -> None:
    catalog = await world.catalog()
    mine = catalog.view().revision
    git(world.root / "ada", "commit", "-q", "--amend", "-m", "Rewritten")
    git(world.root / "ada", "push", "-qf", "origin", "HEAD:main")
    await catalog.refresh()
    assert state(catalog) == "diverged"
    assert catalog.view().revision == mine


async def test_local_edits_in_the_way_of_a_pull_are_kept(world: World) -> None:
    catalog = await world.catalog()
    write(world.root / "catalog", "app/docker-compose.yaml", "# mine\n")
    world.someone_pushes({"app/docker-compose.yaml": "# theirs\n"})
    await catalog.refresh()
    assert state(catalog) == "blocked"
    assert (world.root / "catalog/app/docker-compose.yaml").read_text() == "# mine\n"


async def test_local_edits_elsewhere_do_not_stop_a_pull(world: World) -> None:
    catalog = await world.catalog()
    write(world.root / "catalog", "app/docker-compose.yaml", "# mine\n")
    world.someone_pushes(service("blog"))
    assert names(await catalog.refresh()) == ["app", "blog"]
    assert (world.root / "catalog/app/docker-compose.yaml").read_text() == "# mine\n"


async def test_another_branch_in_the_work_tree_is_told(world: World) -> None:
    catalog = await world.catalog()
    git(world.root / "catalog", "checkout", "-qb", "experiment")
    await catalog.refresh()
    assert state(catalog) == "blocked"
    assert catalog.status.message
    assert "experiment" in catalog.status.message


async def test_commits_that_are_not_pushed_are_told(world: World) -> None:
    catalog = await world.catalog()
    commit(world.root / "catalog", service("blog"))
    assert names(await catalog.refresh()) == ["app", "blog"]
    assert catalog.status.message == "1 commits of the work tree are not pushed"


async def test_hooks_of_the_work_tree_are_not_run(world: World) -> None:
    catalog = await world.catalog()
    hook = world.root / "catalog/.git/hooks/post-merge"
    write(hook.parent, hook.name, f"#!/bin/sh\ntouch {world.root}/ran\n")
    hook.chmod(0o755)
    world.someone_pushes(service("blog"))
    await catalog.refresh()
    assert names(catalog.view()) == ["app", "blog"]
    assert not (world.root / "ran").exists()


async def test_the_background_pull_keeps_up(world: World) -> None:
    changed = asyncio.Event()
    config = world.config()
    quick = config.model_copy(update={"git": config.git.model_copy(update={"pull_interval": 0.05})})
    catalog = Catalog(LocalShell(), quick)
    await catalog.open()
    catalog._on_change = lambda _: changed.set()
    catalog.start()
    world.someone_pushes(service("blog"))
    async with asyncio.timeout(30):
        await changed.wait()
    await catalog.aclose()
    assert names(catalog.view()) == ["app", "blog"]


@pytest.mark.parametrize(
    "path",
    ["../x", "app/../../x", "/etc/passwd", ".git/config", "app/.GIT/config", "app/.git", "a\nb",
     "a\0b", "", ".", "./", "x" * 300, "~/x", "a/" * 600, "app/git~1/x", "app/.g\u200cit/x",
     "\udcff"],
)  # fmt: skip
async def test_a_hostile_path_is_refused_and_nothing_is_written(world: World, path: str) -> None:
    catalog = await world.catalog()
    before = catalog.view().revision
    with pytest.raises(Invalid):
        await catalog.write(path, b"x", if_match=before)
    assert world.remote_head() == before
    with pytest.raises((Invalid, NotFound)):
        await catalog.read(path)


@pytest.mark.parametrize(
    "path", ["--help", "; rm -rf", "app/ö.txt", 'app/a "b" c', "-", ":(top)x", "app/*", "a/b/c/d"]
)
async def test_an_odd_path_is_just_a_name(world: World, path: str) -> None:
    catalog = await world.catalog()
    revision = await catalog.write(path, b"odd", if_match=catalog.view().revision)
    assert (await catalog.read(path)).content == b"odd"
    assert world.remote_head() == revision
    assert (world.root / "catalog" / path).read_bytes() == b"odd"


async def test_a_file_cannot_take_the_place_of_a_folder(world: World) -> None:
    catalog = await world.catalog()
    before = catalog.view().revision
    for path in ("app", "app/docker-compose.yaml/inside"):
        with pytest.raises(Invalid):
            await catalog.write(path, b"x", if_match=before)
    assert world.remote_head() == before


async def test_a_link_is_neither_read_nor_written(world: World) -> None:
    (world.root / "ada/app/link").symlink_to("/etc/passwd")
    world.someone_pushes({})
    catalog = await world.catalog()
    with pytest.raises(NotFound):
        await catalog.read("app/link")
    with pytest.raises(Invalid):
        await catalog.write("app/link", b"x", if_match=catalog.view().revision)


async def test_an_older_revision_can_be_read(world: World) -> None:
    catalog = await world.catalog()
    old = catalog.view().revision
    await catalog.write("app/docker-compose.yaml", b"new", if_match=old)
    assert (await catalog.read("app/docker-compose.yaml", old)).content == COMPOSE.encode()
    assert (await catalog.read("app/docker-compose.yaml")).content == b"new"


@pytest.mark.parametrize("revision", ["main", "HEAD", "--help", "0" * 40, "abc", ""])
async def test_only_a_whole_revision_of_ours_is_known(world: World, revision: str) -> None:
    catalog = await world.catalog()
    with pytest.raises(NotFound):
        await catalog.bundle("app", revision)


async def test_the_history_names_who_and_what(world: World) -> None:
    catalog = await world.catalog()
    await catalog.write("app/a.txt", b"x", if_match=catalog.view().revision, author="token:me")
    newest, first = await catalog.history()
    assert (newest.author.name, newest.subject) == ("token:me", "Add app/a.txt")
    assert [commit.revision for commit in await catalog.history("app/docker-compose.yaml")] == [
        first.revision
    ]


async def test_a_commit_says_what_its_writer_says(alone: World) -> None:
    catalog = await alone.catalog(remote=False)

    await catalog.write("a/x.txt", b"1", if_match="*", author="eve", message="Say -- it <b>")
    await catalog.write("a/x.txt", b"2", if_match="*", author="eve")

    said = [commit.subject for commit in await catalog.history("a")]
    assert said == ["Change a/x.txt", "Say -- it <b>"]


async def test_a_bundle_holds_the_files_of_the_folder_alone(world: World) -> None:
    ada = world.root / "ada"
    write(ada, "app/run.sh", "#!/bin/sh\n")
    (ada / "app/run.sh").chmod(0o755)
    write(ada, "app/.gitattributes", "* text eol=crlf\nsecret export-ignore\n")
    write(ada, "app/secret", "kept\n")
    (ada / "app/inside").symlink_to("docker-compose.yaml")
    world.someone_pushes(service("app2"))
    catalog = await world.catalog()
    made = await catalog.bundle("app", catalog.view().revision)
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        found = {member.name: member for member in tar.getmembers()}
        assert tar.extractfile("secret").read() == b"kept\n"  # type: ignore[union-attr]  # a file
    assert sorted(found) == [
        ".gitattributes", "composia-meta.yaml", "docker-compose.yaml", "inside", "run.sh", "secret"
    ]  # fmt: skip
    assert (found["run.sh"].mode, found["inside"].linkname) == (0o755, "docker-compose.yaml")


async def test_a_bundle_with_a_link_out_of_the_folder_is_refused(world: World) -> None:
    (world.root / "ada/app/out").symlink_to("../../../etc/passwd")
    world.someone_pushes(service("blog"))
    catalog = await world.catalog()
    with pytest.raises(Invalid, match="app/out"):
        await catalog.bundle("app", catalog.view().revision)
    assert await catalog.bundle("blog", catalog.view().revision)


async def test_a_bundle_of_a_folder_that_is_not_there_is_not_found(world: World) -> None:
    catalog = await world.catalog()
    with pytest.raises(NotFound):
        await catalog.bundle("nothing", catalog.view().revision)


async def test_one_broken_service_never_hides_another(world: World) -> None:
    broken = service("broken", "name: {name}\nnods: [main]\n")
    noyaml = service("noyaml", "name: [\n")
    world.someone_pushes({**broken, **noyaml, **service("fine")})
    catalog = await world.catalog()
    assert names(catalog.view()) == ["app", "fine"]
    with pytest.raises(Invalid, match="did you mean `nodes`") as told:
        catalog.view().service("broken")
    (problem,) = told.value.problems
    assert (problem.file, problem.line, problem.column) == ("broken/composia-meta.yaml", 2, 1)
    with pytest.raises(Invalid, match="not YAML"):
        catalog.view().service("noyaml")


async def test_what_must_hold_across_services_names_the_place(world: World) -> None:
    twin = {k.replace("app/", "twin/"): v for k, v in service("app").items()}
    stray = service("stray", "name: {name}\nnodes: [main, mian]\n")
    world.someone_pushes({**twin, **stray})
    view = (await world.catalog()).view()
    assert names(view) == []
    with pytest.raises(Invalid, match="also in folder"):
        view.service("app")
    with pytest.raises(Invalid, match="there is no node `mian`") as told:
        view.service("stray")
    assert (told.value.problems[0].line, told.value.problems[0].column) == (2, 15)


async def test_a_meta_file_that_is_not_looked_for_is_named(world: World) -> None:
    world.someone_pushes({"group/app/composia-meta.yaml": "name: x\n", "y/composia-meta.yml": ""})
    view = (await world.catalog()).view()
    assert names(view) == ["app"]
    assert len(view.warnings) == 2


async def test_a_hostile_folder_name_breaks_that_service_alone(world: World) -> None:
    odd = {k.replace("x1/", "; rm -rf $HOME/"): v for k, v in service("x1").items()}
    dashed = {k.replace("x2/", "--help/"): v for k, v in service("x2").items()}
    world.someone_pushes({**odd, **dashed})
    view = (await world.catalog()).view()
    assert names(view) == ["app"]
    assert [one.folder for one in view.broken] == ["--help", "; rm -rf $HOME"]


async def test_a_password_for_the_remote_is_in_no_argument(tmp_path: Path) -> None:
    from composia.tools.git import Credentials, Git
    from composia.tools.shell import Command, Finished

    class Recorder(LocalShell):
        def __init__(self) -> None:
            super().__init__()
            self.commands: list[Command] = []

        async def run(self, command: Command, *, check: bool = True) -> Finished:
            self.commands.append(command)
            return Finished(command, 0, b"", b"")

    shell = Recorder()
    git_of = Git(shell, tmp_path, Credentials("https://git.example.com/x.git", "me", "hunter2"))
    await git_of.fetch("main")
    (command,) = shell.commands
    assert "hunter2" not in " ".join(command.argv) + str(command)
    assert command.env["GIT_CONFIG_KEY_1"] == "credential.https://git.example.com.helper"
