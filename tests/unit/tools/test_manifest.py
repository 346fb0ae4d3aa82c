"""A manifest holds everything that a copy must have, and says in what two trees differ."""

from __future__ import annotations

import gzip
import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from composia.tools import manifest
from composia.tools.manifest import Difference

HOSTILE = (b"new\nline", b'quo"te', b"back\\slash", b"not \xff utf-8", "ö".encode(), b"\\xff", b" ")


def a_tree(root: Path) -> Path:
    (root / "empty").mkdir()
    (root / "full").mkdir()
    (root / "full/file").write_bytes(b"content")
    os.link(root / "full/file", root / "also")
    (root / "link").symlink_to("full/file")
    os.mkfifo(root / "fifo")
    return root


def test_every_kind_of_entry_is_there_and_the_root_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(a_tree(tmp_path) / "socket"))
        taken = manifest.take(tmp_path)
    assert {path: entry.type for path, entry in taken.entries.items()} == {
        b"": "dir", b"also": "file", b"empty": "dir", b"fifo": "fifo", b"full": "dir",
        b"full/file": "file", b"link": "symlink", b"socket": "socket",
    }  # fmt: skip


def test_a_single_file_is_its_own_root(tmp_path: Path) -> None:
    (tmp_path / "alone").write_bytes(b"12345")
    (entry,) = manifest.take(tmp_path / "alone").entries.values()
    assert (entry.type, entry.size) == ("file", 5)


def test_a_root_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to("/etc")
    (entry,) = manifest.take(tmp_path / "away").entries.values()
    assert (entry.type, entry.target) == ("symlink", b"/etc")


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        manifest.take(tmp_path / "nothing")


def test_names_of_one_file_are_known_as_such(tmp_path: Path) -> None:
    entries = manifest.take(a_tree(tmp_path)).entries
    assert entries[b"also"].same_as == entries[b"full/file"].same_as == b"also"
    assert entries[b"fifo"].same_as is None


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_survives_being_written(tmp_path: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
    (tmp_path / "link").symlink_to(os.fsdecode(name))
    taken = manifest.take(tmp_path)
    assert manifest.read(taken.write()) == taken
    assert name in taken.entries


@given(some.binary(max_size=40))
def test_any_path_has_a_text_on_one_line_and_comes_back(path: bytes) -> None:
    text = manifest.as_text(path)
    assert len(text.splitlines()) <= 1
    assert text.encode().decode() == text
    assert manifest.as_path(text) == path


def test_xattrs_and_special_modes_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "special"
    path.write_bytes(b"")
    path.chmod(0o4755)
    os.setxattr(path, "user.note", b"\x00\xff")
    entry = manifest.read(manifest.take(tmp_path).write()).entries[b"special"]
    assert (entry.mode, entry.xattrs) == (0o4755, ((b"user.note", b"\x00\xff"),))


def test_a_difference_names_the_path_and_what_is_not_the_same(tmp_path: Path) -> None:
    before = manifest.take(a_tree(tmp_path))
    (tmp_path / "fifo").unlink()
    (tmp_path / "new").mkdir()
    (tmp_path / "empty").chmod(0o700)
    found = manifest.differences(before, manifest.take(tmp_path), ignoring=("ctime", "mtime"))
    assert found == (
        Difference(b"empty", ("mode",)),
        Difference(b"fifo", ("missing",)),
        Difference(b"new", ("new",)),
    )


def test_a_difference_reads_well() -> None:
    assert str(Difference(b"a\nb", ("mode", "uid"))) == "a\\u000ab (mode, uid)"


def test_a_write_that_keeps_size_and_time_is_seen_by_its_ctime(tmp_path: Path) -> None:
    path = tmp_path / "sly"
    path.write_bytes(b"one")
    os.utime(path, ns=(0, 0))
    before = manifest.take(tmp_path)
    changed = frozenset[bytes]()
    while not changed:  # The kernel's clock is coarse.
        path.write_bytes(b"two")
        os.utime(path, ns=(0, 0))
        after = manifest.take(tmp_path)
        changed = manifest.with_changes(before, after).changed
    assert changed == {b"sly"}
    assert manifest.differences(before, after) == ()


def test_what_is_left_out_is_left_out_with_everything_below_it(tmp_path: Path) -> None:
    taken = manifest.take(a_tree(tmp_path), leave_out=[b"full"])
    assert taken.left_out == (b"full",)
    assert not [path for path in taken.entries if path.startswith(b"full")]
    assert taken.entries[b"also"].same_as is None


def test_what_we_put_there_ourselves_is_left_out_at_any_depth(tmp_path: Path) -> None:
    for name in (".ours", "deep/.ours-01-x", "deep/.oursnot"):
        (tmp_path / name).mkdir(parents=True)
    taken = manifest.take(tmp_path, ours=b".ours")
    assert taken.left_out == (b".ours", b"deep/.ours-01-x")
    assert b"deep/.oursnot" in taken.entries


def test_a_folder_that_cannot_be_listed_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder, as_nobody(Path(folder)):
        locked = Path(folder, "locked")
        locked.mkdir()
        locked.chmod(0)
        taken = manifest.take(Path(folder))
        locked.chmod(0o700)
    assert taken.unread == (b"locked",)
    assert taken.entries[b"locked"].mode == 0


def test_a_tree_deeper_than_pythons_stack_is_walked(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(400):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert len(manifest.take(tmp_path).entries) == 401


def test_parts_are_joined_under_their_keys_and_taken_apart_again(tmp_path: Path) -> None:
    part = manifest.take(a_tree(tmp_path), leave_out=[b"empty"])
    whole = manifest.join({"files/a": part, "files/ab": part, "volumes/c": part})
    assert b"files/a/full/file" in whole.entries
    assert whole.entries[b"volumes/c/also"].same_as == b"volumes/c/also"
    assert whole.left_out[0] == b"files/a/empty"
    assert whole.within("files/a") == part


@pytest.mark.parametrize("written", [b"", b"nonsense", b'{"manifest": 1}'])
def test_what_is_no_manifest_is_not_read(written: bytes) -> None:
    with pytest.raises(ValueError, match="manifest"):
        manifest.read(written)


def test_no_more_is_unpacked_than_any_tree_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = manifest.take(tmp_path).write()
    size = len(gzip.decompress(written))
    for most, is_read in ((size, True), (size - 1, False)):
        monkeypatch.setattr(manifest, "LARGEST_CONTENT", most)
        with nullcontext() if is_read else pytest.raises(ValueError, match="too large"):
            assert manifest.read(written).entries


def test_a_manifest_of_a_later_version_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="version 2"):
        manifest.read(gzip.compress(b'{"manifest": 2}'))


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Root may read everything, so it steps down."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    assert stat.S_ISDIR(folder.stat().st_mode)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_manifest_that_does_not_say_it_is_of_a_running_service(tmp_path: Path) -> None:
    taken = replace(manifest.take(a_tree(tmp_path)), live=False)
    assert not manifest.read(taken.write()).live
    head, *rows = gzip.decompress(taken.write()).splitlines()
    older = {name: value for name, value in json.loads(head).items() if name != "live"}
    written = gzip.compress(b"\n".join([json.dumps(older).encode(), *rows]))
    assert manifest.read(written) == replace(taken, live=True)


def test_a_manifest_with_a_line_for_each_entry_is_read_too(tmp_path: Path) -> None:
    taken = manifest.take(a_tree(tmp_path))
    head, *some = gzip.decompress(taken.write()).splitlines()
    rows = [json.dumps(row).encode() for line in some for row in json.loads(line)]

    assert manifest.read(gzip.compress(b"\n".join([head, *rows]))) == taken
