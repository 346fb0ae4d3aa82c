"""What a tree of files looks like, down to owners, times, links and xattrs; and how two differ.

Paths are bytes: a name on a disk need not be text. Everything here blocks, so callers on an event
loop use `asyncio.to_thread`.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import stat
import sys
import zlib
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from composia.tools import plain_file

VERSION = 1
#: Quick, and still a tenth of the size.
_LEVEL = 3
#: Bytes of one as it is written, and of what is in it: some 20 million files.
LARGEST = 2 * 1024**3
LARGEST_CONTENT = 4 * 1024**3
#: What zlib calls a stream with the header of gzip.
_GZIP = 16 + zlib.MAX_WBITS
_ENCODING = sys.getfilesystemencoding()
_new = tuple.__new__
#: Entries on a line.
_ROWS = 500
_TYPES = {
    stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket", stat.S_IFCHR: "char", stat.S_IFBLK: "block",
}  # fmt: skip


class Entry(NamedTuple):
    """One file, folder or whatever else has a name. Sizes in bytes, times in nanoseconds."""

    #: file, dir, symlink, fifo, socket, char, block
    type: str
    #: Permissions with setuid, setgid and sticky.
    mode: int
    uid: int
    gid: int
    #: 0 for a folder: file systems disagree about theirs.
    size: int
    mtime: int
    #: Where a symbolic link points.
    target: bytes | None
    #: The first path, in order, that names the same file; None for a file with one name here.
    same_as: bytes | None
    #: The device number of a char or block device, else 0.
    device: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    #: Only says whether something changed on this disk; no copy has the same.
    ctime: int


#: Of what stands at a path now: device and inode.
Identity = tuple[int, int]


class Difference(NamedTuple):
    """A path that is not the same on both sides, and in what."""

    path: bytes
    #: ("missing",), ("new",), or names of Entry's fields.
    what: tuple[str, ...]

    @property
    def is_new(self) -> bool:
        """Whether only the second side has it."""
        return self.what == ("new",)

    def __str__(self) -> str:
        return f"{as_text(self.path)} ({', '.join(self.what)})"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All entries of a tree by path. The root of what was taken is the empty path."""

    entries: Mapping[bytes, Entry]
    #: Folders that could not be listed and files that could not be looked at.
    unread: tuple[bytes, ...] = ()
    #: What was left out, with everything below it.
    left_out: tuple[bytes, ...] = ()
    #: What changed while it was copied: the copy need not look like this.
    changed: frozenset[bytes] = field(default=frozenset())
    #: Whether somebody could write meanwhile: the copy may have what was there at neither look.
    live: bool = True
    #: Device and inode of each folder, and of the root whatever it is. Known of what was looked at
    #: on this machine, and never written: what is in a folder that was renamed has its old ctime.
    identities: Mapping[bytes, Identity] = field(default_factory=dict, compare=False)

    def within(self, folder: str) -> Manifest:
        """The part below a folder (a source's key, of an item's manifest), as a tree of its own."""
        root = os.fsencode(folder)
        return Manifest(
            entries={
                cut: entry if entry.same_as is None else _inside(entry, root)
                for path, entry in self.entries.items()
                if (cut := _below(path, root)) is not None
            },
            unread=tuple(_all_below(self.unread, root)),
            left_out=tuple(_all_below(self.left_out, root)),
            changed=frozenset(_all_below(self.changed, root)),
            live=self.live,
        )

    def write(self) -> bytes:
        """The manifest as gzip-compressed JSON lines, which `read` reads."""
        paths = {
            name: [_told(path) for path in getattr(self, name)] for name in ("unread", "left_out")
        }
        changed = [_told(path) for path in sorted(self.changed)]
        head = {"manifest": VERSION, "live": self.live, **paths, "changed": changed}
        rows = [_row(path, entry) for path, entry in self.entries.items()]
        some = (rows[at : at + _ROWS] for at in range(0, len(rows), _ROWS))
        lines = [json.dumps(head), *map(json.dumps, some)]
        return gzip.compress("\n".join(lines).encode(), _LEVEL, mtime=0)


def read(written: bytes) -> Manifest:
    """A manifest again. Raises ValueError for anything that `write` did not write."""
    try:
        lines = _decompressed(written).splitlines() or [b"{}"]
        head, *found = [json.loads(line) for line in lines]
        version = head.get("manifest")
        # An older Composia wrote a line for each.
        rows = [row for some in found for row in (some if type(some[0]) is list else [some])]
    except (zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no manifest: {error}") from error
    if version != VERSION:
        raise ValueError(f"a manifest of version {version}, where {VERSION} is known")
    return Manifest(
        entries=dict(_unrow(row) for row in rows),
        unread=tuple(_heard(path) for path in head["unread"]),
        left_out=tuple(_heard(path) for path in head["left_out"]),
        changed=frozenset(_heard(path) for path in head["changed"]),
        # An older Composia did not say it.
        live=head.get("live", True),
    )


def _decompressed(written: bytes) -> bytes:
    """What is in it, if that is no more than any tree takes: it may come from a hostile node."""
    stream = zlib.decompressobj(_GZIP)
    content = stream.decompress(written, LARGEST_CONTENT)
    if not stream.eof or stream.unused_data:
        raise ValueError("it is cut off, goes on behind its end, or is too large")
    return content


def take(root: Path, *, leave_out: Collection[bytes] = (), ours: bytes | None = None) -> Manifest:
    """Look at everything at and below a path, which is not followed where it is a symbolic link.

    `leave_out` are paths below the root; names that are `ours`, or begin with it and a hyphen, are
    left out everywhere. Raises OSError where the root itself cannot be looked at.
    """
    walk = _Walk(frozenset(leave_out), ours)
    walk.root(os.fsencode(root))
    return Manifest(
        entries=dict(_with_hard_links(walk.entries, walk.names)),
        unread=tuple(sorted(walk.unread)),
        left_out=tuple(sorted(walk.left_out)),
        identities=walk.identities,
    )


def join(parts: Mapping[str, Manifest]) -> Manifest:
    """Several trees as one, each under its key."""
    under = {os.fsencode(key): part for key, part in parts.items()}
    return Manifest(
        entries={
            _join(key, path): entry
            if entry.same_as is None
            else entry._replace(same_as=_join(key, entry.same_as))
            for key, part in under.items()
            for path, entry in part.entries.items()
        },
        unread=tuple(_join(key, path) for key, part in under.items() for path in part.unread),
        left_out=tuple(_join(key, path) for key, part in under.items() for path in part.left_out),
        changed=frozenset(_join(key, path) for key, part in under.items() for path in part.changed),
    )


def differences(
    before: Manifest, after: Manifest, *, ignoring: Collection[str] = ("ctime",)
) -> tuple[Difference, ...]:
    """Every path that is not the same on both sides, in order; `ignoring` names Entry's fields."""
    compared = [
        (at, name) for at, name in enumerate(Entry._fields) if name not in frozenset(ignoring)
    ]
    found = []
    for path, entry in before.entries.items():
        other = after.entries.get(path)
        if other is None:
            found.append(Difference(path, ("missing",)))
        elif what := tuple(name for at, name in compared if entry[at] != other[at]):
            found.append(Difference(path, what))
    new = after.entries.keys() - before.entries.keys()
    return tuple(sorted([*found, *(Difference(path, ("new",)) for path in new)]))


def hides(some: AbstractSet[bytes], path: bytes) -> bool:
    """Whether a path is among some, or below one of them."""
    if not some or path in some:
        return bool(some)
    at = path.rfind(b"/")
    while at > 0:
        if path[:at] in some:
            return True
        at = path.rfind(b"/", 0, at)
    return False


def with_changes(before: Manifest, after: Manifest) -> Manifest:
    """The first, with all that changed until the second marked."""
    changed = frozenset(difference.path for difference in differences(before, after, ignoring=()))
    return replace(before, changed=changed)


_ODD = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2}|u[0-9a-f]{4})")


def as_text(path: bytes) -> str:
    r"""A path for people and for JSON, on one line; what is no text becomes `\x..`."""
    text = os.fsdecode(path)
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _ODD.sub(_escaped, text)


def as_path(text: str) -> bytes:
    """The path of which `as_text` is the text."""
    return _encoded(_ESCAPE.sub(_unescaped, text) if "\\" in text else text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}"


def _unescaped(found: re.Match[str]) -> str:
    if found[1] == "\\":
        return "\\"
    code = int(found[1][1:], 16)
    return chr(code + 0xDC00) if found[1][0] == "x" else chr(code)


class _Folder(NamedTuple):
    descriptor: int
    prefix: bytes
    #: How a call that takes no folder reaches what is in it.
    reach: bytes
    found: Iterator[tuple[bytes, os.DirEntry[str]]]


class _Walk:
    """One look at a tree. Folders are opened below their parents: a swapped link leads nowhere."""

    def __init__(self, leave_out: frozenset[bytes], ours: bytes | None) -> None:
        self._leave_out = leave_out
        self._ours: tuple[bytes, ...] = () if ours is None else (ours, b"%s-" % ours)
        self.entries: list[tuple[bytes, Entry]] = []
        self.names: dict[tuple[int, int], list[bytes]] = defaultdict(list)
        self.identities: dict[bytes, Identity] = {}
        self.unread: list[bytes] = []
        self.left_out: list[bytes] = []

    def root(self, path: bytes) -> None:
        self._look(os.lstat(path), path, b"")
        if self.entries[0][1].type == "dir":
            self._descend(path)

    def _descend(self, root: bytes) -> None:
        # A stack of our own: a tree may be deeper than Python's.
        with ExitStack() as every:
            open_ = [folder for folder in [self._open(root, None, b"")] if folder]
            every.callback(_close, open_)
            while open_:
                here = open_[-1]
                if (name := self._next_folder(here)) is None:
                    _close([open_.pop()])
                elif below := self._open(name, here.descriptor, here.prefix + name):
                    open_.append(below)

    def _open(self, name: bytes, parent: int | None, path: bytes) -> _Folder | None:
        try:
            descriptor = os.open(name, plain_file.FOLDER, dir_fd=parent)
        except OSError:
            self.unread.append(path)
            return None
        prefix, reach = b"%s/" % path if path else b"", b"/proc/self/fd/%d/" % descriptor
        return _Folder(descriptor, prefix, reach, self._list(descriptor, path))

    def _list(self, descriptor: int, path: bytes) -> Iterator[tuple[bytes, os.DirEntry[str]]]:
        try:
            with os.scandir(descriptor) as listing:
                return iter(sorted((_encoded(entry.name), entry) for entry in listing))
        except OSError:
            self.unread.append(path)
            return iter(())

    def _next_folder(self, here: _Folder) -> bytes | None:
        """Look at the next children, up to a folder that is to be entered; answers its name."""
        for name, found in here.found:
            path = here.prefix + name
            if path in self._leave_out or self._is_ours(name):
                self.left_out.append(path)
                continue
            try:
                status = found.stat(follow_symlinks=False)
                self._look(status, here.reach + name, path)
            except FileNotFoundError:
                # Removed since it was listed: it is no part of the tree any more.
                continue
            except OSError:
                self.unread.append(path)
                continue
            if stat.S_ISDIR(status.st_mode):
                return name
        return None

    def _look(self, status: os.stat_result, reach: bytes, path: bytes) -> None:
        mode = status.st_mode
        kind = _TYPES[stat.S_IFMT(mode)]
        if status.st_nlink > 1 and kind != "dir":
            self.names[status.st_dev, status.st_ino].append(path)
        if kind == "dir" or not path:
            self.identities[path] = (status.st_dev, status.st_ino)
        # In the order of Entry's fields, and as a tuple: its own way in costs twice the time.
        entry = _new(
            Entry,
            (
                kind,
                mode & 0o7777,
                status.st_uid,
                status.st_gid,
                0 if kind == "dir" else status.st_size,
                status.st_mtime_ns,
                os.readlink(reach) if kind == "symlink" else None,
                None,
                status.st_rdev if kind in ("char", "block") else 0,
                _xattrs(reach),
                status.st_ctime_ns,
            ),
        )
        self.entries.append((path, entry))

    def _is_ours(self, name: bytes) -> bool:
        # Nearly no name begins with a dot of ours: the first question ends it.
        return name.startswith(self._ours) and (
            name == self._ours[0] or name.startswith(self._ours[1])
        )


def _close(folders: Iterable[_Folder]) -> None:
    for folder in folders:
        os.close(folder.descriptor)


def _encoded(name: str) -> bytes:
    # What os.fsencode does, without its questions.
    return name.encode(_ENCODING, "surrogateescape")


def _xattrs(reach: bytes) -> tuple[tuple[bytes, bytes], ...]:
    try:
        names = os.listxattr(reach, follow_symlinks=False)
    except OSError as error:
        return _none_for(error)
    if not names:
        return ()
    return tuple(
        (os.fsencode(name), os.getxattr(reach, name, follow_symlinks=False))
        for name in sorted(names)
    )


def _none_for(error: OSError) -> tuple[()]:
    # Not every file system has them.
    if error.errno == errno.ENOTSUP:
        return ()
    raise error


def _with_hard_links(
    entries: Iterable[tuple[bytes, Entry]], names: Mapping[tuple[int, int], list[bytes]]
) -> Iterator[tuple[bytes, Entry]]:
    first = {path: min(group) for group in names.values() if len(group) > 1 for path in group}
    for path, entry in entries:
        yield path, entry if path not in first else entry._replace(same_as=first[path])


def _inside(entry: Entry, root: bytes) -> Entry:
    return entry._replace(same_as=_below(entry.same_as or b"", root))


def _below(path: bytes, root: bytes) -> bytes | None:
    if path == root:
        return b""
    return path[len(root) + 1 :] if path.startswith(b"%s/" % root) else None


def _all_below(paths: Iterable[bytes], root: bytes) -> Iterator[bytes]:
    return (cut for path in paths if (cut := _below(path, root)) is not None)


def _join(key: bytes, path: bytes) -> bytes:
    return b"%s/%s" % (key, path) if path else key


def _row(path: bytes, entry: Entry) -> list[Any]:
    if entry.target is None and entry.same_as is None and not entry.xattrs:
        return [as_text(path), *entry]
    xattrs = [[_told(name), b64encode(value).decode()] for name, value in entry.xattrs]
    told = entry._replace(
        target=_told(entry.target),  # type: ignore[arg-type]  # as it is written
        same_as=_told(entry.same_as),  # type: ignore[arg-type]
        xattrs=xattrs,  # type: ignore[arg-type]
    )
    return [_told(path), *told]


def _unrow(row: list[Any]) -> tuple[bytes, Entry]:
    path, *fields = row
    told = Entry(*fields)
    if told.target is None and told.same_as is None and not told.xattrs:
        fields[9] = ()
        return as_path(path), _new(Entry, fields)
    entry = told._replace(
        target=_heard(told.target),
        same_as=_heard(told.same_as),
        xattrs=tuple((_heard(name), b64decode(value)) for name, value in told.xattrs),
    )
    return _heard(path), entry


def _told(path: bytes | None) -> str | None:
    return None if path is None else as_text(path)


def _heard(text: Any) -> Any:
    return None if text is None else as_path(text)
