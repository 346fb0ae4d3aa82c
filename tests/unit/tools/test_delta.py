"""A copy becomes like its tree, whatever the two look like."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from composia.errors import Failure
from composia.tools import delta, delta_apply, manifest
from composia.tools import delta_frames as frames
from composia.tools.delta import BLOCK
from composia.tools.delta_apply import Copy
from composia.tools.delta_remove import remove
from composia.tools.delta_send import Original
from composia.tools.manifest import Identity, Manifest

NAMES = (b"a", b"b", b"new\nline", b"not \xff utf-8", "ö".encode(), b"-rf", b" ", b"\\x41", b'"')


#: The start of a round before which all that is there had its last change.
LATER = 1 << 62


def carry(
    source: Path,
    copy: Path,
    since: int | None = None,
    known: Mapping[bytes, Identity] | None = None,
) -> int:
    """Bytes that it took; by default every folder is where it was known to be."""
    seen = manifest.take(source, ours=b".composia")
    there = manifest.take(copy) if os.path.lexists(copy) else Manifest(entries={})
    plan = delta.plan(seen, there, since, seen.identities if known is None else known)
    original = Original(source, seen, plan, live=False)
    with Copy(copy, there) as target:
        target.sweep()
        for frame in _pieces(original, copy):
            target.do(frame)
    original.close()
    return original.sent


def _pieces(original: Original, copy: Path) -> Iterator[bytes]:
    yield from original.begin()
    yield from original.whole()
    for path in original.plan.compared:
        file = original.compared(path)
        assert file
        yield file.opening()
        for digests, _ in list(delta_apply.digests(copy, path)):
            yield from file.pieces(digests)
        yield from file.rest()
        yield file.closing()
        file.close()
    yield from original.end()


def is_like(source: Path, copy: Path) -> bool:
    found = manifest.differences(manifest.take(source), manifest.take(copy))
    assert found == ()
    for path, entry in manifest.take(source).entries.items():
        if entry.type == "file":
            name = os.fsdecode(path)
            assert (source / name).read_bytes() == (copy / name).read_bytes()
    return True


contents = some.one_of(
    some.binary(max_size=20),
    some.builds(
        lambda seed, blocks, end: seed * (blocks * BLOCK // 4) + end,
        some.binary(min_size=4, max_size=4),
        some.integers(1, 3),
        some.binary(max_size=9),
    ),
)
things = some.one_of(
    some.tuples(some.just("file"), contents, some.sampled_from((0o600, 0o4755, 0o000))),
    some.tuples(some.just("link"), some.binary(min_size=1, max_size=9), some.just(0)),
    some.tuples(some.just("name"), some.integers(0, 9), some.just(0)),
    some.tuples(some.just("fifo"), some.just(b""), some.sampled_from((0o600, 0o644))),
    some.tuples(some.just("dir"), some.just(b""), some.sampled_from((0o700, 0o2755, 0o1777))),
)
paths = some.lists(some.sampled_from(NAMES), min_size=1, max_size=3).map(b"/".join)
trees = some.lists(some.tuples(paths, things, some.integers(0, 3)), max_size=12)


def grow(root: bytes, tree: list[tuple[bytes, tuple[str, object, int], int]]) -> None:
    """Make it as far as it can be made: what is in the way stays."""
    os.makedirs(root, exist_ok=True)
    files: list[bytes] = []
    for path, (kind, what, mode), odd in tree:
        full = root + b"/" + path
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
            if os.path.lexists(full):
                continue
            _make(full, kind, what, mode, files)
        except OSError:
            continue
        if os.path.lexists(full):
            os.chown(full, odd, odd * 1000, follow_symlinks=False)
            if kind in ("file", "dir") and odd:
                os.setxattr(full, "user.odd", bytes([odd, 255, 0]))
            os.utime(full, ns=(odd, odd * 10**9 + 123), follow_symlinks=False)


def _make(full: bytes, kind: str, what: object, mode: int, files: list[bytes]) -> None:
    if kind == "file":
        Path(os.fsdecode(full)).write_bytes(what)  # type: ignore[arg-type]
        files.append(full)
    elif kind == "link":
        os.symlink(b"nowhere/" + what.replace(b"\0", b"0"), full)  # type: ignore[attr-defined]
    elif kind == "fifo":
        os.mkfifo(full)
    elif kind == "dir":
        os.mkdir(full)
    elif files:
        os.link(files[what % len(files)], full)  # type: ignore[operator]
    if kind in ("file", "fifo", "dir"):
        os.chmod(full, mode)


@settings(max_examples=60, deadline=None)
@given(first=trees, second=trees)
def test_any_tree_becomes_any_other(
    first: list[tuple[bytes, tuple[str, object, int], int]],
    second: list[tuple[bytes, tuple[str, object, int], int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, tree in (("first", first), ("second", second)):
            grow(os.fsencode(root / name), tree)

        carry(root / "first", root / "copy")
        assert is_like(root / "first", root / "copy")
        carry(root / "second", root / "copy")
        assert is_like(root / "second", root / "copy")
        assert carry(root / "second", root / "copy", since=1 << 62) == 0


def test_nothing_is_done_to_a_copy_that_is_like_its_tree(tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "file").write_bytes(b"content")
    carry(tmp_path / "tree", tmp_path / "copy")
    seen = manifest.take(tmp_path / "tree")

    plan = delta.plan(seen, manifest.take(tmp_path / "copy"), LATER, seen.identities)

    assert not any((plan.gone, plan.folders, plan.whole, plan.compared, plan.links, plan.looks))


def test_files_stamped_after_the_start_of_their_round_are_doubted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    seen = manifest.take(tmp_path)
    stamped = seen.entries[b"file"].ctime

    for since, doubted in ((stamped + 2_000_000_001, ()), (stamped + 2_000_000_000, (b"file",))):
        assert delta.plan(seen, seen, since, seen.identities).whole == doubted


def two_releases(root: Path) -> None:
    """As reproducible builds and `cp -a` make them: of the same size and time."""
    for folder, version in (("html", b"1.2.3"), ("html.new", b"1.2.4")):
        (root / folder / "js").mkdir(parents=True)
        for name, content in (("version", version), ("js/large", version * BLOCK)):
            (root / folder / name).write_bytes(content)
            os.utime(root / folder / name, ns=(1, 1))


@pytest.mark.parametrize("name", ["", "html"])
def test_what_is_below_a_folder_that_was_renamed_is_doubted(tmp_path: Path, name: str) -> None:
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    two_releases(tree)
    root = tree / name
    carry(root, copy)
    known = manifest.take(root).identities

    (tree / "html").rename(tree / "html.old")
    (tree / "html.new").rename(tree / "html")
    carry(root, copy, LATER, known)

    assert is_like(root, copy)


def test_what_a_folder_lies_in_says_nothing_about_its_files(tmp_path: Path) -> None:
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    two_releases(tree)
    carry(tree, copy)
    known = manifest.take(tree).identities

    (tree / "html" / "session").write_bytes(b"new")
    (tree / "html.new").rename(tree / "next")
    sent = carry(tree, copy, LATER, known)

    # The new file, and what lies in the folder of a new name: that is not there at all.
    assert sent == len(b"new") + len(b"1.2.4") * (BLOCK + 1)
    assert is_like(tree, copy)


def test_a_file_that_took_another_one_s_place_with_its_folder_is_doubted(tmp_path: Path) -> None:
    """A tree that is a file: what lies above it was renamed."""
    tree, copy = tmp_path / "tree", tmp_path / "copy"
    two_releases(tree)
    carry(tree / "html" / "version", copy)
    known = manifest.take(tree / "html" / "version").identities

    (tree / "html").rename(tree / "html.old")
    (tree / "html.new").rename(tree / "html")
    carry(tree / "html" / "version", copy, LATER, known)

    assert copy.read_bytes() == b"1.2.4"


def test_only_blocks_that_differ_are_sent_of_a_large_file(tmp_path: Path) -> None:
    (tmp_path / "tree").write_bytes(os.urandom(200 * BLOCK))
    carry(tmp_path / "tree", tmp_path / "copy")
    with (tmp_path / "tree").open("r+b") as file:
        for block in (3, 77, 199):
            file.seek(block * BLOCK + 5)
            file.write(b"changed")
        file.truncate(201 * BLOCK)
        file.seek(0, os.SEEK_END)
        file.write(b"longer")

    assert carry(tmp_path / "tree", tmp_path / "copy") == 3 * BLOCK + len(b"longer")
    assert (tmp_path / "tree").read_bytes() == (tmp_path / "copy").read_bytes()


def test_a_file_with_a_name_elsewhere_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(os.urandom(4 * BLOCK))
    before = (tmp_path / "kept").read_bytes()
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(before[:-1] + b"x")
    os.link(tmp_path / "tree" / "file", tmp_path / "tree" / "second")
    (tmp_path / "copy").mkdir()
    os.link(tmp_path / "kept", tmp_path / "copy" / "file")
    os.link(tmp_path / "kept", tmp_path / "copy" / "second")

    carry(tmp_path / "tree", tmp_path / "copy")

    assert (tmp_path / "kept").read_bytes() == before
    assert is_like(tmp_path / "tree", tmp_path / "copy")


@pytest.mark.parametrize("breaks", ["copy_file_range", "rename", "link", "unlink"])
def test_a_disk_that_fails_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    (tmp_path / "copy/folder").mkdir(parents=True)
    for name in ("copy/file", "copy/folder/file"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("copy/second", "kept"):
        os.link(tmp_path / "copy/file", tmp_path / name)
    known, before = manifest.take(tmp_path / "copy"), set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, breaks, fails)

    with Copy(tmp_path / "copy", known) as copy:
        with pytest.raises(Failure, match="cannot be written: No space left"):
            copy.do(frames.steps([["open", "file", "kept"]]))
        if breaks == "unlink":
            with pytest.raises(Failure, match="cannot be written: No space left"):
                copy.do(frames.steps([["gone", "folder"]]))

    assert set(os.listdir("/proc/self/fd")) <= before


def fails(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_tree_deeper_than_python_moves_and_is_removed(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "tree")
    folder = os.open(tmp_path / "tree", os.O_RDONLY)
    for _ in range(400):
        os.mkdir("x" * 20, dir_fd=folder)
        folder, above = os.open("x" * 20, os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)

    carry(tmp_path / "tree", tmp_path / "copy")

    taken = manifest.take(tmp_path / "copy")
    assert manifest.differences(manifest.take(tmp_path / "tree"), taken) == ()
    assert any(path.endswith(b"/bottom") for path in taken.entries)
    above = os.open(tmp_path, os.O_RDONLY)
    for name in (b"tree", b"copy"):
        remove(name, above)
    os.close(above)
    assert os.listdir(tmp_path) == []


def a_file(path: str) -> frames.Row:
    return [path, "file", 0o644, 0, 0, 0, 0, None, 0, []]


HOSTILE = [
    ["gone", ".."],
    ["gone", "a/../../b"],
    ["gone", "/etc"],
    ["gone", "a//b"],
    ["gone", ".composia-x"],
    ["gone", 7],
    ["folder", a_file("../x")],
    ["file", a_file("../x"), 0, ""],
    ["file", a_file("n\0ul"), 0, ""],
    ["other", a_file("file")],
    ["link", "x", "../../etc/passwd"],
    ["open", "../x", "new"],
    ["close", a_file("x"), ""],
    ["look", a_file("link")],
    ["look", ["x", "dir", "0o777", 0, 0, 0, 0, None, 0, []]],
    ["look", []],
    ["nonsense"],
    [],
    "text",
]


@pytest.mark.parametrize("row", HOSTILE, ids=str)
def test_a_hostile_step_is_refused_and_does_nothing(tmp_path: Path, row: frames.Row) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "link").symlink_to(tmp_path)
    before = manifest.take(tmp_path)

    with Copy(tmp_path / "copy", manifest.take(tmp_path / "copy")) as copy, pytest.raises(Failure):
        copy.do(frames.steps([row]))

    assert manifest.differences(before, manifest.take(tmp_path)) == ()


@pytest.mark.parametrize("path", ["link/x", "link"])
def test_no_link_in_the_copy_is_followed(tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "link").symlink_to(tmp_path / "outside")

    with Copy(tmp_path / "copy", manifest.take(tmp_path / "copy")) as copy:
        for row in (
            ["file", a_file("link/x"), 0, frames.digest(b"").hex()],
            ["open", path, "kept"],
            ["gone", "link/x"],
            ["folder", a_file("link/x")],
            ["link", "link/x", "link"],
        ):
            with pytest.raises(Failure):
                copy.do(frames.steps([row]))

    assert os.listdir(tmp_path / "outside") == []


@pytest.mark.parametrize(
    "frame", [b"S", b"S\0\0\0\xff[]", b"D1234", b"D" + bytes(9), b"S\0\0\0\x01{"]
)
def test_an_absurd_frame_is_refused(tmp_path: Path, frame: bytes) -> None:
    with Copy(tmp_path / "copy", Manifest(entries={})) as copy, pytest.raises(Failure):
        copy.do(frame)


def test_no_more_digests_are_read_at_once_than_are_told_at_once() -> None:
    most = bytes(frames.TOLD * frames.DIGEST)
    assert frames.read_digests(frames.digests(7, most, last=True)) == (7, True, most)
    with pytest.raises(ValueError):  # noqa: PT011  # all that is not understood is one
        frames.read_digests(frames.digests(7, most + bytes(frames.DIGEST), last=True))


def test_content_that_is_not_what_was_read_is_refused(tmp_path: Path) -> None:
    row = ["file", a_file("x"), 4, frames.digest(b"this").hex()]
    (tmp_path / "copy").mkdir()

    with (
        Copy(tmp_path / "copy", Manifest(entries={})) as copy,
        pytest.raises(Failure, match="x did"),
    ):
        copy.do(frames.steps([row], [b"that"]))


def test_devices_and_sockets_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mknod(tmp_path / "tree" / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(tmp_path / "tree" / "socket", stat.S_IFSOCK | 0o700)
    os.mknod(tmp_path / "tree" / "removed", stat.S_IFCHR, os.makedev(0, 0))

    carry(tmp_path / "tree", tmp_path / "copy")

    assert is_like(tmp_path / "tree", tmp_path / "copy")


@pytest.mark.parametrize(
    ("kind", "number"), [("block", (7, 99)), ("char", (1, 1)), ("block", (0, 0))]
)
def test_a_device_of_the_machine_is_not_made(
    tmp_path: Path, kind: str, number: tuple[int, int]
) -> None:
    (tmp_path / "copy").mkdir()
    row = ["disk", kind, 0o600, 0, 0, 0, 0, None, os.makedev(*number), []]

    with (
        Copy(tmp_path / "copy", Manifest(entries={})) as copy,
        pytest.raises(Failure, match=f"disk is a device .* {number[0]}:{number[1]}"),
    ):
        copy.do(frames.steps([["other", row]]))

    assert os.listdir(tmp_path / "copy") == []


@pytest.mark.parametrize("node", [stat.S_IFIFO, stat.S_IFCHR], ids=["fifo", "endless device"])
def test_only_a_file_is_written_or_read_as_one(tmp_path: Path, node: int) -> None:
    (tmp_path / "copy").mkdir()
    os.mknod(tmp_path / "copy" / "x", node | 0o600, os.makedev(1, 5))

    with Copy(tmp_path / "copy", manifest.take(tmp_path / "copy")) as copy:
        for how in ("kept", "apart"):
            with pytest.raises(Failure, match="x cannot be written: it is no file"):
                copy.do(frames.steps([["open", "x", how]]))
    with pytest.raises(Failure, match="x cannot be written: it is no file"):
        next(delta_apply.digests(tmp_path / "copy", b"x"))


def test_a_copy_that_was_cut_off_has_not_the_time_of_what_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(os.urandom(9 * BLOCK))
    seen = manifest.take(tmp_path / "tree")
    original = Original(
        tmp_path / "tree", seen, delta.plan(seen, Manifest(entries={}), None, {}), live=False
    )
    pieces = [*original.begin(), *original.whole()]
    original.close()
    with Copy(tmp_path / "copy", Manifest(entries={})) as copy:
        for frame in pieces[:4]:
            copy.do(frame)

    assert (tmp_path / "copy" / "large").stat().st_size > 0
    sent = carry(tmp_path / "tree", tmp_path / "copy", since=1 << 62)

    assert sent < 9 * BLOCK
    assert is_like(tmp_path / "tree", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy")
