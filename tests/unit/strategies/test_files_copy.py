"""files.copy: what was saved, and what was wrong with it (promise 8)."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from composia.errors import Failure
from composia.operations.leaving import CLOCK_OF_CTIMES
from composia.strategies import files_copy
from composia.strategies.base import Saved
from composia.strategies.files_copy import FilesCopy
from composia.strategies.files_tar_after_stop import FilesTarAfterStop
from composia.tools import manifest
from composia.tools.rustic import Entry
from tests.twins.site import Twins

SQLITE = b"SQLite format 3\0" + bytes(84)


@pytest.fixture
def twins(tmp_path: Path) -> Twins:
    folder = tmp_path / "my-app"
    (folder / "data/uploads").mkdir(parents=True)
    (folder / "data/uploads/file").write_text("x")
    made = Twins(folder)
    made.docker.add("web", folder=folder, mounts=[folder / "data/uploads"])
    return made


@pytest.fixture
def uploads(twins: Twins) -> Path:
    return twins.folder / "data/uploads"


async def save(twins: Twins, *include: str, exclude: tuple[str, ...] = ()) -> Saved:
    # No service writes within one tick of the kernel's clock.
    began = time.clock_gettime_ns(CLOCK_OF_CTIMES)
    while time.clock_gettime_ns(CLOCK_OF_CTIMES) == began:
        pass
    strategy = FilesCopy(include=include or ("./data/uploads",), exclude=exclude)
    return await strategy.save("uploads", twins.site)


async def test_sources_go_under_their_keys_without_what_is_excluded(
    twins: Twins, uploads: Path
) -> None:
    await save(twins, exclude=("./data/uploads/temp",))
    assert twins.engine.saved == [
        ({"files/data/uploads": uploads}, ("files/data/uploads/temp",)),
    ]


async def test_the_snapshot_says_whose_it_is(twins: Twins) -> None:
    await save(twins)
    (labels,) = twins.engine.kept.values()
    assert (labels.node, labels.service, labels.item, labels.task) == (
        "main", "my-app", "uploads", "01TASK",
    )  # fmt: skip


async def test_the_manifest_is_what_it_looked_like_before(twins: Twins, uploads: Path) -> None:
    twins.engine.meanwhile = (uploads / "file").unlink
    saved = await save(twins)
    assert saved.manifest
    seen = manifest.read(saved.manifest)
    assert b"files/data/uploads/file" in seen.entries
    assert seen.changed == {b"files/data/uploads", b"files/data/uploads/file"}


async def test_nothing_is_said_where_nothing_changed(twins: Twins) -> None:
    saved = await save(twins)
    assert (saved.unread, saved.changed, saved.warnings) == ((), (), ())


async def test_files_that_change_or_come_and_go_are_named(twins: Twins, uploads: Path) -> None:
    (uploads / "bad\nname").write_text("")

    def meanwhile() -> None:
        (uploads / "file").write_text("longer")
        (uploads / "new").write_text("new")
        (uploads / "bad\nname").unlink()

    twins.engine.meanwhile = meanwhile
    saved = await save(twins)
    assert saved.changed == (
        "./data/uploads",
        "./data/uploads/bad\\u000aname",
        "./data/uploads/file",
        "./data/uploads/new",
    )


async def test_of_very_many_that_changed_the_first_are_named_and_the_others_counted(
    twins: Twins, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_copy, "NAMED", 2)
    for number in range(5):
        (uploads / f"{number}").write_text("")

    def meanwhile() -> None:
        for number in range(5):
            (uploads / f"{number}").chmod(0o600)

    twins.engine.meanwhile = meanwhile
    saved = await save(twins)
    assert (saved.changed, saved.more_changed) == (("./data/uploads/0", "./data/uploads/1"), 3)
    assert saved.manifest
    assert len(manifest.read(saved.manifest).changed) == 5


async def test_of_very_many_that_could_not_be_read_the_first_are_named_and_the_others_counted(
    twins: Twins, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_copy, "NAMED", 2)
    for number in range(5):
        (uploads / f"{number}").write_text("")
    twins.engine.unread = tuple(f"files/data/uploads/{n}" for n in range(5))
    saved = await save(twins)
    assert (len(saved.unread), saved.more_unread) == (2, 3)
    assert saved.manifest
    assert len(manifest.read(saved.manifest).unread) == 5


async def test_an_empty_source_fails_and_is_named(twins: Twins, uploads: Path) -> None:
    (uploads / "file").unlink()
    with pytest.raises(Failure, match=r"`./data/uploads` of my-app is empty"):
        await save(twins)
    assert twins.engine.saved == []


async def test_where_an_empty_source_is_fine_it_is_told(twins: Twins) -> None:
    (twins.folder / "data/empty").mkdir()
    strategy = FilesCopy(include=("./data/uploads", "./data/empty"))
    saved = await strategy.save("uploads", replace(twins.site, empty_is_fine=True))
    assert saved.empty == ("./data/empty",)


async def test_a_source_of_which_everything_is_excluded_is_empty(twins: Twins) -> None:
    with pytest.raises(Failure, match="is empty"):
        await save(twins, exclude=("./data/uploads/file",))


async def test_one_empty_source_among_others_fails_the_item(twins: Twins) -> None:
    (twins.folder / "void").mkdir()
    with pytest.raises(Failure, match=r"`./void`"):
        await save(twins, "./data/uploads", "./void")


async def test_empty_folders_and_empty_files_are_something(twins: Twins, uploads: Path) -> None:
    (uploads / "file").unlink()
    (uploads / "folder").mkdir()
    (twins.folder / "empty-file").touch()
    await save(twins, "./data/uploads", "./empty-file")
    assert len(twins.engine.kept) == 1


async def test_a_source_that_vanishes_meanwhile_leaves_no_snapshot(
    twins: Twins, uploads: Path
) -> None:
    twins.engine.meanwhile = lambda: shutil.rmtree(uploads)
    with pytest.raises(Failure, match=r"./data/uploads of my-app vanished"):
        await save(twins)
    assert twins.engine.kept == {}


async def test_what_rustic_could_not_read_is_named(twins: Twins, uploads: Path) -> None:
    name = "lock\nm\udcff"
    (uploads / name).write_text("")
    twins.engine.unread = ("a complaint", f"files/data/uploads/{name}")
    saved = await save(twins)
    assert saved.unread == ("a complaint", "./data/uploads/lock\\u000am\\xff")


async def test_of_a_folder_with_a_file_that_cannot_be_read_the_file_is_named(
    twins: Twins, uploads: Path
) -> None:
    (uploads / "torn").write_text("x")
    twins.engine.unread = ("files/data/uploads",)
    twins.engine.listings = {
        "files/data/uploads": [Entry(path="files/data/uploads/file", type="file")]
    }
    saved = await save(twins)
    assert saved.unread == ("./data/uploads/torn",)


def in_the_snapshot(twins: Twins, *paths: str) -> None:
    """All that it holds below the uploads, which are a folder."""
    listed = ("", *(f"/{path}" for path in paths))
    twins.engine.listings[""] = [
        Entry(path=f"files/data/uploads{path}", type="file") for path in listed
    ]


async def test_what_the_users_own_filters_leave_out_is_named_and_not_missed_by_a_restore(
    twins: Twins, uploads: Path
) -> None:
    for name in ("cache/.nobackup", "cache/below/a", "b.log"):
        (uploads / name).parent.mkdir(parents=True, exist_ok=True)
        (uploads / name).write_text("x")
    os.link(uploads / "file", uploads / "cache/link")
    twins.engine.filtered = True
    twins.engine.meanwhile = (uploads / "cache/new").touch
    in_the_snapshot(twins, "file")

    saved = await save(twins)

    (warning,) = saved.warnings
    assert "filters of the rustic profile" in warning
    assert warning.endswith("./data/uploads/b.log, ./data/uploads/cache")
    assert (saved.unread, saved.changed) == ((), ())
    assert saved.manifest
    seen = manifest.read(saved.manifest).within("files/data/uploads")
    assert seen.entries.keys() == {b"", b"file"}
    assert seen.left_out == (b"b.log", b"cache")
    assert seen.entries[b"file"].same_as is None


@pytest.mark.parametrize(
    ("dirs", "changes", "is_listed"),
    [(6, False, False), (5, False, True), (6, True, True), (None, False, True)],
    ids=["all is there", "a folder is not", "something changed", "no numbers"],
)
async def test_a_snapshot_is_listed_only_where_its_numbers_leave_a_doubt(
    twins: Twins, uploads: Path, dirs: int | None, *, changes: bool, is_listed: bool
) -> None:
    # `/`, `/composia`, `files`, `files/data`, the uploads, and this one.
    (uploads / "folder").mkdir()
    twins.engine.filtered, twins.engine.dirs = True, dirs
    if changes:
        twins.engine.meanwhile = (uploads / "new").touch
    # There is no listing: whoever asks for it fails.
    if is_listed:
        with pytest.raises(Failure, match="no  in it"):
            await save(twins)
    else:
        assert (await save(twins)).warnings == ()


async def test_what_goes_while_it_is_saved_is_not_taken_for_filtered(
    twins: Twins, uploads: Path
) -> None:
    twins.engine.filtered = True
    (uploads / "other").write_text("x")
    twins.engine.meanwhile = (uploads / "other").unlink
    in_the_snapshot(twins, "file")
    saved = await save(twins)
    assert (saved.warnings, saved.unread) == ((), ())
    assert "./data/uploads/other" in saved.changed


async def test_a_source_of_which_the_filters_leave_nothing_fails_and_is_named(twins: Twins) -> None:
    twins.engine.filtered = True
    in_the_snapshot(twins)
    with pytest.raises(Failure, match=r"profile leaves out all of `\./data/uploads` of my-app"):
        await save(twins)
    assert twins.engine.kept == {}


async def test_fewer_files_than_there_were_make_it_partial(twins: Twins, uploads: Path) -> None:
    (uploads / "lost").write_text("x")
    twins.engine.files = 1
    in_the_snapshot(twins, "file")
    saved = await save(twins)
    assert (saved.unread, saved.warnings) == (("./data/uploads/lost",), ())
    assert saved.manifest
    assert manifest.read(saved.manifest).unread == (b"files/data/uploads/lost",)


async def test_a_snapshot_that_cannot_be_looked_into_is_forgotten(twins: Twins) -> None:
    twins.engine.files = 0
    with pytest.raises(Failure, match="no  in it"):
        await save(twins)
    assert twins.engine.kept == {}


async def test_a_folder_of_which_nothing_is_known_is_named_itself(twins: Twins) -> None:
    twins.engine.unread = ("files/data/uploads",)
    saved = await save(twins)
    assert saved.unread == ("./data/uploads",)


async def test_a_folder_that_could_not_be_listed_is_named_and_not_what_is_in_it(
    twins: Twins, uploads: Path
) -> None:
    for name in ("shut/a", "shut/below/b"):
        (uploads / name).parent.mkdir(parents=True, exist_ok=True)
        (uploads / name).write_text("x")
    twins.engine.unread = ("files/data/uploads/shut",)
    twins.engine.listings = {"files/data/uploads/shut": []}
    saved = await save(twins)
    assert saved.unread == ("./data/uploads/shut",)
    assert saved.manifest
    assert manifest.read(saved.manifest).unread == (b"files/data/uploads/shut",)


async def test_a_snapshot_in_which_nothing_could_be_read_is_a_failure_and_forgotten(
    twins: Twins,
) -> None:
    twins.engine.files = 0
    twins.engine.unread = ("files/data/uploads",)
    with pytest.raises(Failure, match=r"nothing could be read of \./data/uploads of my") as caught:
        await save(twins)
    assert "`user`" in (caught.value.hint or "")
    assert twins.engine.kept == {}


async def test_what_a_running_service_removed_meanwhile_is_a_change(twins: Twins) -> None:
    twins.engine.unread = ("files/data/uploads/tmp_obj_1",)
    saved = await save(twins)
    assert (saved.unread, saved.changed) == ((), ("./data/uploads/tmp_obj_1",))


async def test_the_manifest_says_whether_the_service_could_write_meanwhile(twins: Twins) -> None:
    live = await save(twins)
    stopped = FilesTarAfterStop(strategy="files.tar_after_stop", include=("./data/uploads",))
    cold = await stopped.save("uploads", twins.site)
    assert live.manifest
    assert cold.manifest
    assert [manifest.read(one).live for one in (live.manifest, cold.manifest)] == [True, False]


async def test_what_vanishes_from_a_stopped_service_could_not_be_read(twins: Twins) -> None:
    twins.engine.unread = ("files/data/uploads/tmp_obj_1",)
    stopped = FilesTarAfterStop(strategy="files.tar_after_stop", include=("./data/uploads",))
    saved = await stopped.save("uploads", twins.site)
    assert saved.unread == ("./data/uploads/tmp_obj_1",)


@pytest.mark.parametrize("name", ["app.sqlite", "app.db", "APP.SQLITE3", "noname"])
async def test_a_sqlite_database_of_a_running_service_is_named(
    twins: Twins, uploads: Path, name: str
) -> None:
    (uploads / name).write_bytes(SQLITE)
    (uploads / f"{name}-wal").touch()
    (warning,) = (await save(twins)).warnings
    assert f"./data/uploads/{name} is a SQLite database" in warning
    assert "files.tar_after_stop" in warning


async def test_a_single_sqlite_file_is_named(twins: Twins, uploads: Path) -> None:
    (uploads / "app.db").write_bytes(SQLITE)
    (warning,) = (await save(twins, "./data/uploads/app.db")).warnings
    assert warning.startswith("./data/uploads/app.db is a SQLite database")


async def test_a_file_that_only_has_such_a_name_is_no_database(twins: Twins, uploads: Path) -> None:
    (uploads / "thumbs.db").write_bytes(b"something else")
    assert (await save(twins)).warnings == ()


async def test_postgresqls_files_are_named_once_with_the_strategy_to_use(
    twins: Twins, uploads: Path
) -> None:
    for name in ("pg/PG_VERSION", "pg/base/5/PG_VERSION"):
        (uploads / name).parent.mkdir(parents=True)
        (uploads / name).write_text("15")
    (warning,) = (await save(twins)).warnings
    assert warning.startswith("./data/uploads/pg is a PostgreSQL database")
    assert "database.pgdumpall" in warning


async def test_a_whole_source_may_be_a_database(twins: Twins, uploads: Path) -> None:
    (uploads / "PG_VERSION").write_text("15")
    (uploads / "ibdata1").write_text("")
    postgres, mysql = (await save(twins)).warnings
    assert postgres.startswith("./data/uploads is a PostgreSQL database")
    assert mysql.startswith("./data/uploads is a MySQL or MariaDB database")


async def test_a_database_that_nothing_running_mounts_is_not_live(
    twins: Twins, uploads: Path
) -> None:
    (uploads / "app.sqlite").write_bytes(SQLITE)
    twins.docker.change("web", state="exited")
    assert (await save(twins)).warnings == ()


async def test_a_stopped_services_database_is_not_live(twins: Twins, uploads: Path) -> None:
    (uploads / "app.sqlite").write_bytes(SQLITE)
    strategy = FilesTarAfterStop(strategy="files.copy_after_stop", include=("./data/uploads",))
    assert (await strategy.save("uploads", twins.site)).warnings == ()


async def test_a_pipe_with_a_databases_name_is_not_opened(twins: Twins, uploads: Path) -> None:
    os.mkfifo(uploads / "app.sqlite")
    assert (await save(twins)).warnings == ()
