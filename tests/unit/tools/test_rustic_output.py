"""Reading rustic: recorded output of 0.11.4."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from composia.errors import Damaged
from composia.tools import rustic_output as output

SUMMARY = (
    '{"message_type":"summary","files_new":2,"files_changed":0,"files_unmodified":0,'
    '"data_added":1749,"data_added_packed":1226,"total_files_processed":2,'
    '"total_bytes_processed":5,"total_duration":0.022414553%s}'
)
SAVED = SUMMARY % f',"snapshot_id":"{"4f" * 32}"'
WARNED = """[INFO] using config /config/rustic.toml
[WARN] failed to get system time zone, falling back to `Etc/Unknown`
[WARN] error getting user from uid 0: ENOENT: No such file or directory
[WARN] ignoring error: Error: Failed to open ReadSourceOpen at `/composia/files/a`
[WARN] ignoring error: `rustic_core` experienced an error related to `input/output operations`.

Caused by:
caused by: /composia/volumes/cache/new
line: IO error for operation on /composia/volumes/cache/new
line: Permission denied (os error 13)
[INFO] backup of /composia done.
"""
VANISHED = r"""[WARN] ignoring error: Error: Failed to map Directory entry to ReadSourceEntry. \
(kind: related to internal operations): caused by: Error acquiring metadata for `q"uo
te`: `WithPath { path: "/composia/files/many/q\"uo\nte", err: WithDepth { depth: 3, \
err: Io(Custom { kind: NotFound, error: Error { depth: 3, inner: Io { path: \
Some("/composia/files/many/q\"uo\nte"), err: Os { code: 2, kind: NotFound, message: \
"No such file or directory" } } } }) } }` : (source: /composia/files/many/q"uo
te: IO error for operation on /composia/files/many/q"uo
te: No such file or directory (os error 2))
[INFO] processed 9 files, 76.3 MiB
""".replace("\\\n", "")


def test_the_summary_becomes_a_snapshot() -> None:
    found = output.summary(f"text\n{SAVED}\nmore\n")

    assert found is not None
    assert (found.id, found.size, found.added, found.files) == ("4f" * 32, 5, 1226, 2)


@pytest.mark.parametrize("said", ["", "backup done", SUMMARY % "", '{"message_type":'])
def test_without_an_id_there_is_no_snapshot(said: str) -> None:
    assert output.summary(said) is None


def test_messages_are_found_among_text() -> None:
    line = 'Files: 3 {"message_type":"status","bytes_done":3} rest'

    assert [message["bytes_done"] for message in output.messages(line)] == [3]
    assert list(output.messages('[{"id": 1}]')) == []


def test_only_errors_that_were_passed_over_are_unread() -> None:
    assert output.unread(WARNED) == ("files/a", "volumes/cache/new\nline")


def test_a_path_is_told_from_the_description_of_what_happened_to_it() -> None:
    assert output.unread(VANISHED) == ('files/many/q"uo\nte',)


def test_an_error_without_a_path_is_quoted() -> None:
    said = "[ERROR] error listing Snapshot: something\n\nMessage:\nthe reason\n[INFO] go on\n"

    assert output.unread(said) == ("error listing Snapshot: something the reason",)
    assert output.errors(said) == output.unread(said)


def test_an_error_of_a_restore_is_not_passed_over() -> None:
    said = "[WARN] restore files/a: setting the owner failed.\n[WARN] time zone\n"

    assert output.unrestored(said) == ("restore files/a: setting the owner failed.",)


def test_the_repositorys_id_is_read() -> None:
    assert output.repository_id('{"version":2,"id":"66","chunker_polynomial":"3"}\n') == "66"


def test_the_nodes_of_a_folder_are_read_whatever_their_names() -> None:
    said = r"""{"nodes":[{"name":"\\xff\\xfebad","type":"file","size":7},
        {"name":"new\\nline","type":"file"},{"name":"b\\\\ack","type":"dir","size":3},
        {"name":"\\u00e9\\U0001F600\\101","type":"symlink","size":11}]}"""

    found = [(entry.path, entry.type, entry.size) for entry in output.entries(said, "files")]

    assert found == [
        ("files/\udcff\udcfebad", "file", 7),
        ("files/new\nline", "file", 0),
        ("files/b\\ack", "dir", None),
        ("files/é😀A", "symlink", None),
    ]


def test_a_long_listing_is_read_whatever_its_names() -> None:
    said = r"""-rw-r--r--        0        0         7 24 Nov 2026 04:08 "dir/in\ndir" 
drwxr-xr-x       33       44         0 24 Nov 2026 04:08 "dir" 
lrwxrwxrwx        0        0        11 24 Nov 2026 04:08 "q\"uo'te" -> /etc/passwd
-rwsr-xr-x        0        0 123456789 24 Nov 2026 04:08 "\u{1b}[31m\xFF" 
total 4
"""  # noqa: W291  # as rustic writes it

    found = [(entry.path, entry.type, entry.size) for entry in output.long_entries(said, "")]

    assert found == [
        ("dir/in\ndir", "file", 7),
        ("dir", "dir", None),
        ("q\"uo'te", "symlink", None),
        ("\x1b[31m\udcff", "file", 123456789),
    ]


def test_differences_are_read_and_totals_are_not() -> None:
    said = """+    "added"
-    "dir/in\\ndir"
M    "sp ace"
T    "typ\\xFF"
Files   : 10 =, 1 +, 3 -, 3 M, 0 U
"""

    assert output.differences(said) == ["added", "dir/in\ndir", "sp ace", "typ\udcff"]


def test_the_list_of_snapshots_is_read() -> None:
    said = """[{"time":"2026-11-24T04:07:47+00:00","tree":"da","label":"s/i","paths":["/composia"],
        "hostname":"n1","tags":["item=i"],"id":"4f","summary":{"total_bytes_processed":5}}]"""

    (found,) = output.snapshots(said)

    assert (found.id, found.host, found.label, found.tags) == ("4f", "n1", "s/i", ("item=i",))
    assert (found.size, found.files) == (5, None)


@given(st.binary(min_size=1, max_size=40))
def test_any_name_survives_gos_way_of_writing_it(name: bytes) -> None:
    written = "".join(f"\\x{byte:02x}" if byte > 126 or byte < 32 else _go(byte) for byte in name)

    assert output.go_name(written) == name.decode(errors="surrogateescape")


def _go(byte: int) -> str:
    return f"\\{chr(byte)}" if chr(byte) in '"\\' else chr(byte)


PRUNED = """[INFO] repository local:/repo: password is correct.
[INFO] to repack:          4 packs,         21 blobs,    9.0 MiB
[INFO] this removes:                        16 blobs,    8.0 MiB
[INFO] to delete:          5 packs,         61 blobs,   42.5 MiB
[INFO] total prune:                         77 blobs,   50.6 MiB
[INFO] remaining:                           83 blobs,   52.4 MiB
[INFO] unused size after prune:  879.0 KiB (1.64% of remaining size)
[INFO] packs marked for deletion:          0,        0 B
[INFO]  - complete deletion:               3,      512 B
[INFO]  - keep marked:                     8,    1.5 GiB
[INFO]  - recover:                         0,        0 B
"""


def test_a_prune_says_what_it_freed_and_what_it_marked() -> None:
    found = output.pruned(PRUNED)

    assert found is not None
    assert (found.freed, found.waiting) == (512, 3 * 512 * 1024**2)
    assert found.marked == round(51.5 * 1024**2)
    assert found.remaining == round(52.4 * 1024**2)


def test_a_prune_that_said_nothing_did_nothing_that_counts() -> None:
    assert output.pruned("[INFO] repository local:/repo: password is correct.\n") is None


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "/repo/config", "../../repo/config"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    tree = json.dumps({"nodes": [{"name": name, "type": "file"}]})

    with pytest.raises(Damaged, match="leads out of its folder"):
        output.entries(tree, "files/data")


@pytest.mark.parametrize("path", ["files/../../repo/config", "/repo/config", "files/./a"])
def test_a_path_of_such_names_is_refused(path: str) -> None:
    line = f'-rw-r--r--     0     0    1  1 Jan 2026 00:00:00 "{path}" '

    with pytest.raises(Damaged, match="leads out of its folder"):
        output.long_entries(line, "")
