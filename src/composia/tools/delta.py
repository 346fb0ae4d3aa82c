"""What has to be done to a copy of a tree so that it is the tree again: from two manifests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from composia.tools.manifest import Entry, Identity, Manifest

#: Bytes that are compared at once. A file that is no larger is sent whole.
BLOCK = 128 * 1024
#: Nanoseconds by which a kernel's clock may be behind when it stamps a file.
COARSE = 2_000_000_000

Members = Mapping[bytes, frozenset[bytes]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, in the order in which they are done; every path stands in the source's tree."""

    #: The topmost of what is not in the source, or is of another type there.
    gone: tuple[bytes, ...]
    #: Folders to make, parents first.
    folders: tuple[bytes, ...]
    #: Links, devices and the like to make anew.
    others: tuple[bytes, ...]
    #: Files that are sent whole, and files of which both sides have a version.
    whole: tuple[bytes, ...]
    compared: tuple[bytes, ...]
    #: Compared files that share an inode with a name they must not share it with.
    apart: frozenset[bytes]
    #: Further names of what stands under another one.
    links: tuple[bytes, ...]
    #: Folders that get their owner, mode and times at the end, deepest first.
    looks: tuple[bytes, ...]


def plan(
    source: Manifest, target: Manifest, since: int | None, known: Mapping[bytes, Identity]
) -> Plan:
    """How the target becomes like the source.

    Files whose ctime is not well before `since` (nanoseconds) may have changed after they were
    copied, whatever they look like; None: that holds for all of them. So may files below a folder
    that is not the one that was `known` at its path when they were copied: a rename of a folder
    leaves no trace at what is in it.
    """
    moved = _moved(source, known)
    return _Planner(source.entries, target.entries, since, moved).plan()


def size(source: Manifest, paths: tuple[bytes, ...]) -> int:
    """Bytes of the files."""
    return sum(source.entries[path].size for path in paths)


def parent(path: bytes) -> bytes:
    """The folder above a path; that of the root is the root."""
    return path.rpartition(b"/")[0]


class _Planner:
    def __init__(
        self,
        source: Mapping[bytes, Entry],
        target: Mapping[bytes, Entry],
        since: int | None,
        moved: Set[bytes],
    ) -> None:
        self._source = source
        self._moved = moved
        self._target = target
        self._doubted = -1 if since is None else since - COARSE
        self._members, self._copied = _members(source), _members(target)
        self._replaced = {
            path
            for path, entry in source.items()
            if path in target and target[path].type != entry.type
        }

    def plan(self) -> Plan:
        anew = [path for path in self._source if self._is_to_be_sent(path)]
        files = [path for path in anew if self._source[path].type == "file"]
        compared = tuple(path for path in files if self._is_comparable(path))
        whole = tuple(path for path in files if not self._is_comparable(path))
        others = tuple(path for path in anew if self._source[path].type != "file")
        folders = tuple(path for path in self._source if self._is_new_folder(path))
        links = tuple(self._links({*whole, *others}))
        gone = tuple(self._gone())
        touched = {parent(path) for path in (*gone, *folders, *anew, *links)}
        return Plan(
            gone=gone,
            folders=folders,
            others=others,
            whole=whole,
            compared=compared,
            apart=frozenset(path for path in compared if self._must_part(path)),
            links=links,
            looks=tuple(sorted(self._looks(touched), reverse=True)),
        )

    def _gone(self) -> Iterator[bytes]:
        yield from self._replaced
        for path in self._target.keys() - self._source.keys():
            above = self._source.get(parent(path))
            if above is not None and above.type == "dir" and parent(path) not in self._replaced:
                yield path

    def _there(self, path: bytes) -> Entry | None:
        return None if path in self._replaced else self._target.get(path)

    def _is_to_be_sent(self, path: bytes) -> bool:
        """Whether it is no folder and no further name, and not known to be there as it is."""
        entry = self._source[path]
        if entry.type == "dir" or entry.same_as not in (None, path):
            return False
        there = self._there(path)
        if there is None or not _same(entry, there):
            return True
        return (entry.type == "file" and self._is_doubted(path, entry)) or self._must_part(path)

    def _is_doubted(self, path: bytes, entry: Entry) -> bool:
        """Whether it may have other content than its copy, though both look the same."""
        return entry.ctime >= self._doubted or parent(path) in self._moved

    def _is_comparable(self, path: bytes) -> bool:
        return self._source[path].size > BLOCK and self._there(path) is not None

    def _must_part(self, path: bytes) -> bool:
        """Whether the copy has names that are no names of the source's file."""
        there = self._there(path)
        if there is None or there.same_as is None:
            return False
        return not self._copied[there.same_as] <= self._members.get(path, frozenset([path]))

    def _is_new_folder(self, path: bytes) -> bool:
        return self._source[path].type == "dir" and self._there(path) is None

    def _links(self, new_inodes: set[bytes]) -> Iterator[bytes]:
        for path, entry in self._source.items():
            first = entry.same_as
            if first is None or first == path:
                continue
            there = self._there(path)
            joined = there is not None and there.same_as == first
            if not joined or first in new_inodes or self._must_part(first):
                yield path

    def _looks(self, touched: set[bytes]) -> Iterator[bytes]:
        for path, entry in self._source.items():
            if entry.type == "dir":
                there = self._there(path)
                if path in touched or there is None or not _same(entry, there):
                    yield path


def _moved(source: Manifest, known: Mapping[bytes, Identity]) -> Set[bytes]:
    """The folders that are not what they were, with all below them; a root that is a file too."""
    found: set[bytes] = set()
    # Parents come before their children.
    for path, identity in source.identities.items():
        if parent(path) in found or known.get(path) != identity:
            found.add(path)
    return found


def _members(entries: Mapping[bytes, Entry]) -> Members:
    found: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for path, entry in entries.items():
        if entry.same_as is not None:
            found[entry.same_as].add(path)
    return {first: frozenset(paths) for first, paths in found.items()}


def _same(one: Entry, other: Entry) -> bool:
    # Everything but same_as, which is looked at by itself, and ctime.
    return one[:7] == other[:7] and one[8:10] == other[8:10]
