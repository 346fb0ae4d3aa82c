"""Reading what rustic prints: progress and summaries as JSON, complaints and names as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from composia.errors import Damaged
from composia.tools.rustic import Entry, Pruned, Snapshot, SnapshotInfo

#: One message on stderr, up to the next: names in it may hold anything, line ends too.
MESSAGE = re.compile(
    r"^\[(?P<level>INFO|WARN|ERROR)\] (?P<text>.*?)(?=^\[(?:INFO|WARN|ERROR)\] |\Z)",
    re.DOTALL | re.MULTILINE,
)
IGNORED = "ignoring error: "
#: Where such a message names the path: between backticks, or before the reason.
PLACES = (
    re.compile(r"`(/composia/.*?)`(?=\n|\Z)", re.DOTALL),
    re.compile(r"(/composia(?:/.*?)?): IO error for operation on \1: ", re.DOTALL),
    re.compile(r"(/composia/[^\n]*)"),
)
NOT_RESTORED = re.compile(r"restore .* failed", re.DOTALL)
#: `M    "path"`, the path written as Rust shows one.
DIFFERENCE = re.compile(r'^[-+MTU]    "(?P<path>.*)"$')
LONG_LINE = re.compile(
    r'(?P<kind>[-dlpscb])[-rwxsStT]{9} +\d+ +\d+ +(?P<size>\d+) [^"]*'
    r'"(?P<path>(?:[^"\\]|\\.)*)" (?:-> .*)?$'
)
KINDS = {
    "-": "file", "d": "dir", "l": "symlink", "p": "fifo", "s": "socket", "c": "chardev", "b": "dev",
}  # fmt: skip
GO_ESCAPE = re.compile(
    r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([abfnrtv"\'\\]))'
)
RUST_ESCAPE = re.compile(r'\\(?:x([0-9A-Fa-f]{2})|u\{([0-9a-f]+)\}|([nrt0"\'\\]))')
#: A line of what a prune has planned: `[INFO] to delete:          8 packs, …,   45.8 MiB`.
PLANNED = re.compile(
    r"^\[INFO\] +(?P<what>to repack|this removes|to delete|remaining| - complete deletion"
    r"| - keep marked): .*?, +(?P<number>[\d.]+) (?P<unit>[KMGTPE]?i?B)$",
    re.MULTILINE,
)
UNITS = {unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB", "PiB"))}
LETTERS = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "0": 0}


def text(said: bytes) -> str:
    """Output as text; bytes that are not UTF-8 as surrogates."""
    return said.decode(errors="surrogateescape")


def messages(line: str) -> Iterator[Mapping[str, Any]]:
    """The JSON messages of a line of output; whatever else stands there is passed over."""
    start = line.find('{"message_type"')
    if start < 0:
        return
    try:
        message, _ = json.JSONDecoder().raw_decode(line, start)
    except ValueError:
        return
    yield message


def summary(stdout: str) -> Snapshot | None:
    """The snapshot that a backup tells of at its end; None where it made none."""
    found = [message for line in stdout.splitlines() for message in messages(line)]
    told = [message for message in found if message["message_type"] == "summary"]
    if not told or not told[-1].get("snapshot_id"):
        return None
    last = told[-1]
    return Snapshot(
        id=last["snapshot_id"],
        size=last["total_bytes_processed"],
        added=last["data_added_packed"],
        files=last["total_files_processed"],
        duration=last["total_duration"],
        dirs=sum(last.get(f"dirs_{how}", 0) for how in ("new", "changed", "unmodified")),
    )


def unread(stderr: str) -> tuple[str, ...]:
    """What a backup could not read: paths below `/composia`, or else the complaint itself."""
    found = [
        _place(text)
        for level, text in complaints(stderr)
        if level == "ERROR" or text.startswith(IGNORED)
    ]
    return tuple(dict.fromkeys(found))


def unrestored(stderr: str) -> tuple[str, ...]:
    """What a restore complained about, so that it does not count."""
    return tuple(
        _short(text)
        for level, text in complaints(stderr)
        if level == "ERROR" or NOT_RESTORED.search(text)
    )


def errors(stderr: str) -> tuple[str, ...]:
    """The `[ERROR]` messages: with one of them nothing counts, whatever the exit code."""
    return tuple(_short(text) for level, text in complaints(stderr) if level == "ERROR")


def complaints(stderr: str) -> Iterator[tuple[str, str]]:
    """Warnings and errors with their whole text."""
    for message in MESSAGE.finditer(stderr):
        if message["level"] != "INFO":
            yield message["level"], message["text"].rstrip("\n")


def repository_id(stdout: str) -> str:
    """The id in what `cat config` printed. Raises ValueError."""
    return str(_json(stdout)["id"])


def entries(stdout: str, folder: str) -> Sequence[Entry]:
    """The nodes that `cat tree` printed of a folder. Raises ValueError."""
    prefix = f"{folder}/" if folder else ""
    return [
        Entry(path=prefix + _proper(name, [name]), type=node["type"], size=_size(node))
        for node in _json(stdout)["nodes"]
        for name in [go_name(node["name"])]
    ]


def long_entries(stdout: str, folder: str) -> Sequence[Entry]:
    """The lines that `ls --long` printed of a folder and of all below it."""
    prefix = f"{folder}/" if folder else ""
    found = (LONG_LINE.match(line) for line in stdout.split("\n"))
    return [
        Entry(
            path=prefix + _proper(path, path.split("/")),
            type=KINDS[line["kind"]],
            size=int(line["size"]) if line["kind"] == "-" else None,
        )
        for line in found
        if line
        for path in [rust_name(line["path"])]
    ]


def snapshots(stdout: str) -> Sequence[SnapshotInfo]:
    """What `snapshots --json -g ''` printed. Raises ValueError."""
    return [_snapshot(read) for read in _json(stdout)]


def pruned(stderr: str) -> Pruned | None:
    """What a prune told of its plan; None where it told none."""
    told = {
        line["what"].strip(" -"): round(float(line["number"]) * UNITS.get(line["unit"], 0))
        for line in PLANNED.finditer(stderr)
    }
    if "to delete" not in told:
        return None
    return Pruned(
        freed=told.get("complete deletion", 0),
        marked=told["to delete"] + told.get("to repack", 0),
        waiting=told.get("keep marked", 0),
        remaining=told.get("remaining", 0),
    )


def differences(stdout: str) -> Sequence[str]:
    """The paths that `diff` found to differ, as bytes that are not UTF-8 with surrogates."""
    found = (DIFFERENCE.match(line) for line in stdout.split("\n"))
    return [rust_name(line["path"]) for line in found if line]


def go_name(written: str) -> str:
    """A file name as the repository stores it, in Go's way of writing strings."""
    return _unescaped(GO_ESCAPE, _go_bytes, written)


def rust_name(written: str) -> str:
    """A path as Rust's debug output shows it."""
    return _unescaped(RUST_ESCAPE, _rust_bytes, written)


def _proper(path: str, names: Sequence[str]) -> str:
    """The path. Raises Damaged where a name of it would lead to somewhere else.

    rustic itself never saves such a one, and follows it at a restore.
    """
    if wrong := [name for name in names if name in ("", ".", "..") or "/" in name]:
        raise Damaged(
            f"the snapshot names {path!r}, which leads out of its folder: {wrong[0]!r} is no name",
            hint="Nobody who saves files makes such a snapshot: who has the repository's password?",
        )
    return path


def _unescaped(pattern: re.Pattern[str], meant: Any, written: str) -> str:
    parts, end = [], 0
    for escape in pattern.finditer(written):
        parts += [written[end : escape.start()].encode(), meant(escape)]
        end = escape.end()
    return b"".join([*parts, written[end:].encode()]).decode(errors="surrogateescape")


def _go_bytes(escape: re.Match[str]) -> bytes:
    byte, short, long, octal, letter = escape.groups()
    if letter:
        return bytes([LETTERS.get(letter, ord(letter))])
    if short or long:
        return chr(int(short or long, 16)).encode()
    return bytes([int(byte, 16) if byte else int(octal, 8)])


def _rust_bytes(escape: re.Match[str]) -> bytes:
    byte, point, letter = escape.groups()
    if letter:
        return bytes([LETTERS.get(letter, ord(letter))])
    return bytes([int(byte, 16)]) if byte else chr(int(point, 16)).encode()


def _json(stdout: str) -> Any:
    """The first JSON value of an output that may begin with text."""
    start = min((at for at in (stdout.find("{"), stdout.find("[")) if at >= 0), default=0)
    value, _ = json.JSONDecoder(strict=False).raw_decode(stdout, start)
    return value


def _snapshot(read: Mapping[str, Any]) -> SnapshotInfo:
    told = read.get("summary") or {}
    return SnapshotInfo(
        id=read["id"],
        time=read["time"],
        host=read.get("hostname", ""),
        label=read.get("label", ""),
        tags=tuple(read.get("tags") or ()),
        paths=tuple(read.get("paths") or ()),
        original=read.get("original"),
        size=told.get("total_bytes_processed"),
        files=told.get("total_files_processed"),
        added=told.get("data_added_packed"),
        duration=told.get("total_duration"),
    )


def _size(node: Mapping[str, Any]) -> int | None:
    # rustic leaves out a size of 0.
    return node.get("size", 0) if node["type"] == "file" else None


def _place(text: str) -> str:
    for place in PLACES:
        if found := place.search(text):
            return found[1].removeprefix("/composia/")
    return _short(text)


def _short(text: str) -> str:
    """A message's first line, and its reason where one follows."""
    first = text.partition("\n")[0]
    reason = re.search(r"^Message:\n(.+)$", text, re.MULTILINE)
    return f"{first} {reason[1]}" if reason else first
