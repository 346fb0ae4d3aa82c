"""The rules for driving rustic, each held by the real program on a real engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from contextlib import aclosing
from pathlib import Path

import pytest

from composia.errors import Failure, Invalid
from composia.strategies import lacking
from composia.tools import manifest
from composia.tools.rustic import NoSuchPath, SavedTree
from composia.tools.rustic_engine import RusticEngine
from composia.tools.shell import Command
from tests.contract.repository import LABELS, PASSWORD, PROFILE, Place, nothing, small_disk

KEY = "files/data/uploads"
NOBODY = 65534


async def save(engine: RusticEngine, root: Path, *exclude: str, key: str = KEY) -> SavedTree:
    return await engine.save({key: root}, LABELS, exclude=exclude, on_progress=nothing)


async def paths(engine: RusticEngine, saved: SavedTree) -> set[str]:
    """What a snapshot holds below the key."""
    listed = await engine.list_files(saved.snapshot.id, "", deep=True)
    return {entry.path.removeprefix(f"{KEY}/") for entry in listed if f"{KEY}/" in entry.path}


# Calling it.


async def test_what_only_reads_cannot_write_to_the_repository(
    place: Place, engine: RusticEngine
) -> None:
    place.service["volumes"] += ["./cache:/root/.cache/rustic", "logs:/logs"]
    place.volumes["logs"] = {}
    place.write_profile(PROFILE + '[global]\nlog-file = "/logs/rustic.log"\n')
    engine = place.engine()
    saved = await save(engine, place.tree({"a": b"1"}))
    place.seen.clear()

    await engine.list_files(saved.snapshot.id, "", deep=True)
    await engine.check()
    assert place.read_only() == {"/config", "/repo", "/logs"}
    assert any((place.folder / "cache").iterdir())
    await engine.restore(saved.snapshot.id, {KEY: place.new_folder()}, on_progress=nothing)
    assert place.read_only() == {"/config", "/repo", "/logs", "/root/.cache/rustic"}
    # By the engine's word, and not only by what it was told.
    tried = await place.container().run("forget", saved.snapshot.id)
    assert b"Read-only file system" in tried.stderr
    assert [one.id for one in await engine.snapshots()] == [saved.snapshot.id]
    await engine.forget([saved.snapshot.id])
    assert place.read_only() == set()


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "rustic:latest"},
        {"image": "rustic:entrypoint", "command": ["-c", "/config/rustic.toml"]},
        {"image": "rustic:entrypoint", "entrypoint": []},
        {"entrypoint": ["/usr/local/bin/rustic"], "command": None},
    ],
    ids=["none", "the image's", "the image's, taken away", "the service's"],
)
async def test_it_runs_with_and_without_an_entry_point(
    place: Place, changes: dict[str, object]
) -> None:
    place.service |= changes

    assert await place.engine().repository_id() is None


async def test_an_image_without_rustic_is_named(place: Place) -> None:
    place.service |= {"image": "busybox:lab"}

    with pytest.raises(Failure, match="compose service rustic does not run rustic") as caught:
        await place.engine().repository_id()

    assert caught.value.hint


async def test_a_profile_that_is_not_there_is_an_error_that_names_the_places(place: Place) -> None:
    place.service["command"] = "rustic"

    with pytest.raises(Invalid, match=r"/config/elsewhere\.toml, /etc/rustic/elsewhere\.toml"):
        await place.engine("elsewhere").repository_id()


async def test_a_repository_in_the_environment_does_not_redirect_the_profile(place: Place) -> None:
    place.service["environment"] = {"RUSTIC_REPOSITORY": "/tmp/other", "RUSTIC_DRY_RUN": "true"}

    await place.engine().init()

    assert (place.repo / "config").exists()


async def test_the_environment_counts_where_the_profile_leaves_it_open(place: Place) -> None:
    place.write_profile('[repository]\nrepository = "/repo"\n')
    place.service["environment"] = {"RUSTIC_PASSWORD": PASSWORD}

    assert await place.engine().init() == await place.engine().repository_id()


async def test_no_secret_is_in_a_command_or_in_a_snapshot(
    place: Place, engine: RusticEngine
) -> None:
    await save(engine, place.tree({"a": b"1"}))

    assert PASSWORD not in "".join(place.seen)


async def test_a_containers_name_is_noted_before_it_starts(
    place: Place, engine: RusticEngine
) -> None:
    for number, line in enumerate(place.seen):
        if " run " in line:
            name = line.partition("--name ")[2].split()[0]
            assert place.seen[number - 1] == f"note container {name}"
            assert name.startswith("composia-01TASK-")


async def test_a_mount_at_our_own_place_is_refused(place: Place) -> None:
    place.service["volumes"].append("./data:/composia/files/x")

    with pytest.raises(Invalid, match="mounts something at /composia/files/x"):
        await place.engine().repository_id()


async def test_a_container_of_ours_never_restarts(place: Place, engine: RusticEngine) -> None:
    place.service["restart"] = "always"
    engine = place.engine()

    async with engine.save_stream("dump.sql", LABELS) as stream:
        await stream.write(b"1")
        await until_running(place)
        (found,) = await ours(place)
        await stream.finish()

    assert found == "no"


@pytest.mark.parametrize(
    ("more", "alone"), [("", True), ('[global.env]\nPROXY = "x"\n', False)], ids=["plain", "odd"]
)
async def test_rustic_has_no_network_where_it_needs_none(
    place: Place, engine: RusticEngine, more: str, alone: bool
) -> None:
    del place.service["network_mode"]
    place.write_profile(PROFILE + more)
    async with place.engine().save_stream("dump.sql", LABELS) as stream:
        await stream.write(b"1")
        await until_running(place)
        (name,) = await place.containers()
        words = ("docker", "inspect", "-f", "{{.HostConfig.NetworkMode}}", name)
        network = (await place.shell.run(Command(words))).stdout.decode().strip()
        await stream.finish()
    project = network.removesuffix("_default")
    if not alone:
        await place.shell.run(Command(("docker", "network", "rm", network)))

    assert (network == "none") is alone
    assert alone or project.startswith("contract-")


async def ours(place: Place) -> list[str]:
    """Restart policies of our running containers."""
    names = await place.containers()
    found = await place.docker.containers()
    return [one.restart_policy for one in found if one.name in names and one.state == "running"]


async def until_running(place: Place) -> None:
    """Wait for the engine's word that a container of ours has started."""
    async with asyncio.timeout(60), aclosing(place.docker.events()) as events:
        if await ours(place):
            return
        async for _ in events:
            if await ours(place):
                return


# Saving files.


async def test_everything_comes_back_as_it_was(place: Place, engine: RusticEngine) -> None:
    root = odd_tree(place)
    restored = place.new_folder()

    saved = await save(engine, root)
    await engine.restore(saved.snapshot.id, {KEY: restored}, on_progress=nothing)

    assert saved.unread == ()
    assert looks(restored) == looks(root)
    assert await engine.differences(saved.snapshot.id, {KEY: restored}) == ()


def odd_tree(place: Place) -> Path:
    root = place.tree({"plain": b"1", "sub/deep/file": b"22", "set": b"x", "empty": b""})
    bytes_root = os.fsencode(root)
    for name in (
        b"new\nline",
        b"sp ace ",
        b"q\"uo'te",
        b"\xff\xfe",
        b"back\\xff",
        b"*?[a]{b}",
        b"-rf",
    ):
        Path(os.fsdecode(bytes_root + b"/" + name)).write_bytes(b"odd")
    os.link(root / "plain", root / "sub" / "hard")
    (root / "link").symlink_to("/nowhere")
    os.mkfifo(root / "fifo")
    (root / "hollow").mkdir(mode=0o711)
    os.setxattr(root / "plain", "user.note", b"kept")
    os.chown(root / "sub", 33, 44)
    (root / "set").chmod(0o4755)
    os.chown(root, 12, 34)
    root.chmod(0o750)
    os.utime(root / "sub", ns=(1, 1_000_000_007))
    os.utime(root, ns=(1, 2_000_000_007))
    return root


def looks(root: Path) -> dict[str, tuple[object, ...]]:
    """Type, mode, owner, time, content, and what is the same file, by path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *sorted(root.rglob("*"))):
        seen = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
        if path.is_symlink():
            content = os.fsencode(os.readlink(path))
        xattrs = [] if path.is_symlink() else os.listxattr(path)
        found[str(path.relative_to(root))] = (
            seen.st_mode, seen.st_uid, seen.st_gid, seen.st_mtime_ns, content, xattrs,
            seen.st_nlink if not path.is_dir() else 0,
        )  # fmt: skip
    return found


async def test_the_snapshot_says_whose_it_is(place: Place, engine: RusticEngine) -> None:
    saved = await save(engine, place.tree({"a": b"12345"}))

    (found,) = await engine.snapshots()
    assert (found.id, found.host, found.label) == (saved.snapshot.id, "main", "my-app/uploads")
    assert {"service=my-app", "item=uploads", "task=01TASK", "kind=manual"} <= set(found.tags)
    assert found.paths == ("/composia",)
    assert (saved.snapshot.size, saved.snapshot.files, found.size) == (5, 1, 5)
    assert saved.snapshot.added > 0


async def test_what_is_excluded_is_left_out_and_nothing_else(
    place: Place, engine: RusticEngine
) -> None:
    root = place.tree({"temp/a": b"", "temp2/a": b"", "[x]*/a": b"", "xa/a": b"", "end /a": b""})

    saved = await save(engine, root, f"{KEY}/temp", f"{KEY}/[x]*", f"{KEY}/end ")

    assert await paths(engine, saved) == {"temp2", "temp2/a", "xa", "xa/a"}


async def test_the_users_own_excludes_stay_in_force(place: Place, engine: RusticEngine) -> None:
    place.write_profile(
        f'{PROFILE}[backup]\nglobs = ["!*.log"]\nexclude-if-present = [".nobackup"]\n'
    )
    root = place.tree({"a.log": b"", "b": b"", "temp/c": b"", "no/.nobackup": b"", "no/d": b""})

    saved = await save(place.engine(), root, f"{KEY}/temp")

    assert await paths(engine, saved) == {"b"}
    assert saved.filtered


@pytest.mark.parametrize(
    "left_out", ["", "gone/", "sub/gone", "gone/a/b"], ids=["nothing", "a folder", "a file", "more"]
)
async def test_the_numbers_of_a_snapshot_tell_whether_the_filters_left_anything_out(
    place: Place, engine: RusticEngine, left_out: str
) -> None:
    place.write_profile(f'{PROFILE}[backup]\nglobs = ["!**/gone"]\n')
    root = place.tree({"a": b"1", "sub/b": b"", "sub/deep/c": b"", "öd/d": b""})
    (root / "sub/empty").mkdir()
    (root / "link").symlink_to("a")
    os.link(root / "a", root / "again")
    if left_out.endswith("/"):
        (root / left_out).mkdir()
    elif left_out:
        (root / left_out).parent.mkdir(exist_ok=True, parents=True)
        (root / left_out).write_bytes(b"")
    single = place.folder / "single"
    single.write_bytes(b"s")
    sources = {KEY: root, "files/one/file": single}
    seen = manifest.join({key: manifest.take(path) for key, path in sources.items()})

    saved = await place.engine().save(sources, LABELS, exclude=(), on_progress=nothing)

    assert saved.filtered
    assert lacking.has_all(saved, seen, set()) is not bool(left_out)


async def test_sources_of_the_profile_add_nothing(place: Place, engine: RusticEngine) -> None:
    place.write_profile(
        f'{PROFILE}[backup]\nlabel = "theirs"\nhost = "theirs"\nsources = ["/config"]\n'
        '[[backup.snapshots]]\nsources = ["/config"]\n'
        '[[backup.snapshots]]\nsources = ["/repo"]\nlabel = "other"\n'
    )

    saved = await save(place.engine(), place.tree({"a": b""}))

    (found,) = await engine.snapshots()
    assert (found.label, found.host, found.paths) == ("my-app/uploads", "main", ("/composia",))
    assert await paths(engine, saved) == {"a"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[global]\ndry-run = true\n", r"\[global\] dry-run"),
        ("[backup]\nskip-if-unchanged = true\n", r"\[backup\] skip-if-unchanged"),
        ("[backup]\none-file-system = true\n", r"\[backup\] one-file-system"),
        ('[snapshot-filter]\nfilter-hosts = ["x"]\n', r"\[snapshot-filter\]"),
    ],
)
async def test_settings_that_would_make_a_backup_a_lie_are_refused(
    place: Place, text: str, named: str
) -> None:
    place.write_profile(PROFILE + text)

    with pytest.raises(Invalid, match=named) as caught:
        await place.engine().repository_id()

    assert PASSWORD not in str(caught.value)


async def test_unreadable_files_and_folders_make_the_backup_partial_and_are_named(
    place: Place,
) -> None:
    place.service["user"] = str(NOBODY)
    os.chown(place.repo, NOBODY, NOBODY)
    root = place.tree({"open": b"1", "closed": b"2", "new\nline": b"3", "shut/below/a": b"4"})
    for name in ("closed", "new\nline"):
        (root / name).chmod(0o600)
    (root / "shut").chmod(0o700)
    engine = place.engine()
    await engine.init()

    saved = await save(engine, root)
    root.chmod(0o700)
    nothing_of_it = await save(engine, root)

    assert set(saved.unread) == {f"{KEY}/closed", f"{KEY}/new\nline", f"{KEY}/shut"}
    assert await paths(engine, saved) == {"open", "shut"}
    assert (nothing_of_it.unread, nothing_of_it.snapshot.files) == ((KEY,), 0)


async def test_a_single_file_and_an_empty_folder_can_be_saved(
    place: Place, engine: RusticEngine
) -> None:
    file = place.tree({"one.txt": b"1"}) / "one.txt"
    sources = {"files/one.txt": file, "volumes/cache": place.new_folder("cache")}

    saved = await engine.save(sources, LABELS, exclude=(), on_progress=nothing)

    listed = await engine.list_files(saved.snapshot.id, "", deep=True)
    assert [(entry.path, entry.type) for entry in listed] == [
        ("files", "dir"), ("files/one.txt", "file"), ("volumes", "dir"), ("volumes/cache", "dir"),
    ]  # fmt: skip


async def test_a_path_with_a_colon_or_a_dollar_is_saved(place: Place, engine: RusticEngine) -> None:
    root = place.tree({"a": b"1"}, name="a:b $HOME ${X}")

    saved = await save(engine, root, key="files/a:b $HOME ${X}")

    listed = await engine.list_files(saved.snapshot.id, "files/a:b $HOME ${X}")
    assert [entry.path for entry in listed] == ["files/a:b $HOME ${X}/a"]


async def test_a_missing_source_is_an_error_and_is_not_made(
    place: Place, engine: RusticEngine
) -> None:
    with pytest.raises(Failure):
        await save(engine, place.folder / "gone")

    assert not (place.folder / "gone").exists()
    assert await engine.snapshots() == []


async def test_progress_is_told_in_bytes(place: Place, engine: RusticEngine) -> None:
    told: list[tuple[int, int | None]] = []
    root = place.tree({"a": os.urandom(100_000)})

    await engine.save({KEY: root}, LABELS, exclude=(), on_progress=lambda *at: told.append(at))

    assert told[-1] == (100_000, 100_000)


async def test_a_cancelled_backup_ends_its_container_and_leaves_no_snapshot(
    place: Place, engine: RusticEngine
) -> None:
    root = place.tree({"big": os.urandom(1 << 27)})
    began = asyncio.Event()

    saving = asyncio.create_task(
        engine.save({KEY: root}, LABELS, exclude=(), on_progress=lambda *_: began.set())
    )
    await began.wait()
    saving.cancel()
    await asyncio.gather(saving, return_exceptions=True)

    assert saving.cancelled()
    assert await place.containers() == []
    assert await engine.snapshots() == []


async def test_a_container_that_somebody_stops_is_no_success(
    place: Place, engine: RusticEngine
) -> None:
    async def stopped_in_the_middle() -> None:
        async with engine.save_stream("dump.sql", LABELS) as stream:
            await stream.write(b"half")
            await until_running(place)
            await place.docker.stop(await place.containers())
            await stream.finish()

    with pytest.raises(Failure, match="ended without a snapshot"):
        await stopped_in_the_middle()

    assert await engine.snapshots() == []


# Streams.


async def test_a_stream_comes_back_byte_for_byte(place: Place, engine: RusticEngine) -> None:
    content = os.urandom(3_000_000)

    async with engine.save_stream("dump.sql", LABELS) as stream:
        await stream.write(content[:10])
        await stream.write(content[10:])
        snapshot = await stream.finish()

    async with engine.read_file(snapshot.id, "dump.sql") as chunks:
        assert b"".join([chunk async for chunk in chunks]) == content
    assert snapshot.size == len(content)
    assert [entry.path for entry in await engine.list_files(snapshot.id, "")] == ["dump.sql"]


async def test_the_second_stream_is_not_the_first_again(place: Place, engine: RusticEngine) -> None:
    kept = []
    for content in (b"first", b"other"):
        async with engine.save_stream("dump.sql", LABELS) as stream:
            await stream.write(content)
            kept.append((await stream.finish()).id)

    async with engine.read_file(kept[1], "dump.sql") as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"other"


async def test_a_failed_dump_leaves_no_snapshot(place: Place, engine: RusticEngine) -> None:
    async def failed_dump() -> None:
        async with engine.save_stream("dump.sql", LABELS) as stream:
            await stream.write(b"half of it")
            raise RuntimeError("the dump failed")

    with pytest.raises(RuntimeError, match="the dump failed"):
        await failed_dump()

    assert await engine.snapshots() == []


async def test_a_stream_that_nobody_finished_leaves_no_snapshot(
    place: Place, engine: RusticEngine
) -> None:
    with pytest.raises(Failure, match="its end was never seen"):
        async with engine.save_stream("dump.sql", LABELS) as stream:
            await stream.write(b"half of it")

    assert await engine.snapshots() == []


async def test_a_truncated_dump_of_a_killed_agent_is_forgotten(
    place: Place, engine: RusticEngine
) -> None:
    kept = await save(engine, place.tree({"a": b"1"}))
    other = await engine.save(
        {KEY: place.tree({"b": b""})}, LABELS, exclude=(), on_progress=nothing
    )
    names = [line.removeprefix("note container ") for line in place.seen if "note" in line]

    await engine.put_right(names[-1:])

    assert [found.id for found in await engine.snapshots()] == [kept.snapshot.id]
    assert other.snapshot.id != kept.snapshot.id


# Restoring and reading.


async def test_a_changed_file_is_a_difference(place: Place, engine: RusticEngine) -> None:
    root = place.tree({"a": b"1", "sub/new\nline": b"2"})
    saved = await save(engine, root)
    seen = (root / "a").stat()
    (root / "a").write_bytes(b"x")
    os.utime(root / "a", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    (root / "sub/new\nline").unlink()
    (root / "more").touch()

    found = await engine.differences(saved.snapshot.id, {KEY: root})

    assert set(found) == {f"{KEY}/a", f"{KEY}/sub/new\nline", f"{KEY}/more"}


async def test_a_flipped_byte_is_found_when_data_is_read_and_never_restored(
    place: Place, engine: RusticEngine
) -> None:
    saved = await save(engine, place.tree({"big": os.urandom(1_000_000)}))
    packs = [path for path in (place.repo / "data").rglob("*") if path.is_file()]
    pack = max(packs, key=lambda path: path.stat().st_size)
    content = bytearray(pack.read_bytes())
    content[1000] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(content)

    await engine.check()
    with pytest.raises(Failure, match="damaged"):
        await engine.check(read_data=True)
    with pytest.raises(Failure, match="damaged"):
        await engine.restore(saved.snapshot.id, {KEY: place.new_folder()}, on_progress=nothing)


async def test_a_snapshot_that_is_gone_is_told(place: Place, engine: RusticEngine) -> None:
    with pytest.raises(Failure, match="no such snapshot"):
        await engine.restore("0" * 64, {KEY: place.new_folder()}, on_progress=nothing)


async def test_names_that_are_not_utf8_are_listed(place: Place, engine: RusticEngine) -> None:
    saved = await save(engine, odd_tree(place))

    shallow = await engine.list_files(saved.snapshot.id, KEY)
    deep = await engine.list_files(saved.snapshot.id, "", deep=True)

    here = {entry.path for entry in shallow}
    assert {f"{KEY}/\udcff\udcfe", f"{KEY}/new\nline", f"{KEY}/back\\xff", f"{KEY}/sub"} <= here
    assert here == {entry.path for entry in deep if entry.path.count("/") == KEY.count("/") + 1}
    types = {entry.path: (entry.type, entry.size) for entry in shallow}
    assert types == {entry.path: (entry.type, entry.size) for entry in deep if entry.path in here}


async def test_a_path_that_is_not_there_is_told_before_the_first_byte(
    place: Place, engine: RusticEngine
) -> None:
    saved = await save(engine, place.tree({"a": b"1"}))

    with pytest.raises(Failure, match="no such path"):
        async with engine.read_file(saved.snapshot.id, f"{KEY}/gone"):
            pytest.fail("there is nothing to read")
    for path in ("gone", f"{KEY}/gone", f"{KEY}/a"):
        with pytest.raises(NoSuchPath):
            await engine.list_files(saved.snapshot.id, path)


async def test_an_empty_file_reads_as_nothing(place: Place, engine: RusticEngine) -> None:
    saved = await save(engine, place.tree({"empty": b""}))

    async with engine.read_file(saved.snapshot.id, f"{KEY}/empty") as chunks:
        assert [chunk async for chunk in chunks] == []


async def test_a_full_disk_ends_a_restore_with_a_reason(place: Place, engine: RusticEngine) -> None:
    saved = await save(engine, place.tree({"big": os.urandom(4_000_000)}))

    with small_disk(place.new_folder()) as target, pytest.raises(Failure, match="disk is full"):
        await engine.restore(saved.snapshot.id, {KEY: target}, on_progress=nothing)


# The repository.


async def test_a_new_place_has_no_id_and_gets_one_once(place: Place) -> None:
    engine = place.engine()
    assert await engine.repository_id() is None

    made = await engine.init()

    assert await engine.repository_id() == made
    assert len(made) == 64
    keys = [path.stat().st_mode & 0o077 for path in (place.repo / "keys").iterdir()]
    assert keys == [0]


async def test_a_folder_that_is_missing_is_made_by_the_engine_as_for_any_service(
    place: Place,
) -> None:
    assert await place.engine().repository_id() is None
    shutil.rmtree(place.repo)
    # How the image runs rustic is known by now: the first call is one that only reads.
    assert await place.engine().repository_id() is None
    assert place.repo.is_dir()


async def test_a_place_with_other_things_in_it_is_not_taken_for_empty(place: Place) -> None:
    (place.repo / "keys").mkdir()

    with pytest.raises(Failure, match="is not empty: keys"):
        await place.engine().repository_id()


async def test_a_wrong_password_is_told_and_is_not_an_empty_place(
    place: Place, engine: RusticEngine
) -> None:
    place.write_profile(PROFILE.replace(PASSWORD, "wrong"))

    with pytest.raises(Failure, match="does not open with this password") as caught:
        await place.engine().repository_id()

    assert "password" in (caught.value.hint or "")


async def test_one_that_was_opened_is_known_until_something_changes(
    place: Place, engine: RusticEngine
) -> None:
    known = await engine.repository_id()
    runs = started(place)

    assert await place.engine().repository_id() == known
    assert started(place) == runs

    place.write_profile(PROFILE + "\n# another way to open it")
    assert await place.engine().repository_id() == known
    assert started(place) == runs + 1

    shutil.rmtree(place.repo)
    place.repo.mkdir()
    assert await place.engine().repository_id() is None


async def test_another_repository_at_the_same_place_is_seen(
    place: Place, engine: RusticEngine
) -> None:
    before = await engine.repository_id()
    shutil.rmtree(place.repo)
    place.repo.mkdir()

    made = await place.engine().init()

    assert made != before
    assert await engine.repository_id() == made


def started(place: Place) -> int:
    """How often rustic was run."""
    return sum(" run " in line for line in place.seen)


async def test_a_damaged_config_is_told(place: Place, engine: RusticEngine) -> None:
    config = place.repo / "config"
    config.chmod(0o600)
    config.write_bytes(os.urandom(179))

    with pytest.raises(Failure, match="damaged"):
        await place.engine().repository_id()


async def test_snapshots_that_cannot_be_listed_are_never_an_empty_list(place: Place) -> None:
    place.service["user"] = str(NOBODY)
    os.chown(place.repo, NOBODY, NOBODY)
    engine = place.engine()
    await engine.init()
    os.chown(place.repo / "snapshots", 0, 0)
    (place.repo / "snapshots").chmod(0o700)

    with pytest.raises(Failure):
        await engine.snapshots()


async def test_a_read_only_repository_is_told(place: Place, engine: RusticEngine) -> None:
    place.service["volumes"] = ["./config:/config", "./repo:/repo:ro"]

    with pytest.raises(Failure, match="read-only"):
        await save(place.engine(), place.tree({"a": b"1"}))


async def test_a_full_repository_is_told_and_keeps_nothing(place: Place) -> None:
    with small_disk(place.repo):
        engine = place.engine()
        await engine.init()

        with pytest.raises(Failure, match="disk is full"):
            await save(engine, place.tree({"big": os.urandom(16_000_000)}))

        assert await engine.snapshots() == []


async def test_too_little_memory_is_told(place: Place) -> None:
    # With rustic's own key: to open it takes 128 MB.
    await place.engine().init()
    place.service["mem_limit"] = "6m"
    starved = place.engine()

    with pytest.raises(Failure, match="memory ran out"):
        await starved.snapshots()


async def test_one_unknown_id_and_none_is_forgotten(place: Place, engine: RusticEngine) -> None:
    saved = await save(engine, place.tree({"a": b"1"}))

    with pytest.raises(Failure):
        await engine.forget([saved.snapshot.id, "0" * 64])
    assert len(await engine.snapshots()) == 1

    await engine.forget([saved.snapshot.id])
    assert await engine.snapshots() == []


async def test_a_repository_in_a_folder_is_found_on_the_node(place: Place) -> None:
    assert await place.engine().repository_folder() == place.repo
