"""What a snapshot lacks of what was there when it was begun: by the user's own filters, or unread.

rustic says nothing of what the filters of its profile leave out, so the snapshot is asked.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import replace

from composia.errors import Failure
from composia.strategies.base import Site
from composia.tools.manifest import Entry, Manifest, hides
from composia.tools.rustic import SavedTree
from composia.tools.rustic_paths import ROOT

#: The folders of a snapshot above all that is saved.
ABOVE = ("/", ROOT)


async def of(tree: SavedTree, seen: Manifest, unread: AbstractSet[bytes], site: Site) -> set[bytes]:
    """The topmost paths that are not in the snapshot, nor known to be unread.

    The snapshot is listed only where something may be missing. Raises Failure, and leaves no
    snapshot, where it cannot be listed.
    """
    if await asyncio.to_thread(has_all, tree, seen, unread):
        return set()
    try:
        listed = await site.engine.list_files(tree.snapshot.id, "", deep=True)
    except Failure:
        with suppress(Failure):
            await site.engine.forget([tree.snapshot.id])
        raise
    saved = {os.fsencode(entry.path) for entry in listed}
    return await asyncio.to_thread(_topmost, seen, saved, unread)


def has_all(tree: SavedTree, seen: Manifest, unread: AbstractSet[bytes]) -> bool:
    """Whether nothing can be missing, by the numbers alone: to list a large snapshot takes long."""
    if not tree.filtered:
        return not _is_short(tree, seen, unread)
    # Else what was made meanwhile might stand for what was left out.
    is_still = not (unread or seen.changed)
    return is_still and (tree.snapshot.files, tree.snapshot.dirs) == _numbers(seen)


def _numbers(seen: Manifest) -> tuple[int, int]:
    """How many files and folders a snapshot of all of it has."""
    folders = {path for path, entry in seen.entries.items() if entry.type == "dir"}
    files = len(seen.entries) - len(folders)
    for path in seen.entries:
        above = path.rpartition(b"/")[0]
        while above and above not in folders:
            folders.add(above)
            above = above.rpartition(b"/")[0]
    return files, len(folders) + len(ABOVE)


def _is_short(tree: SavedTree, seen: Manifest, unread: AbstractSet[bytes]) -> bool:
    """Whether it has fewer files than did not change."""
    sure = (
        path
        for path, entry in seen.entries.items()
        if entry.type != "dir" and path not in seen.changed and not hides(unread, path)
    )
    return sum(1 for _ in sure) > tree.snapshot.files


def _topmost(seen: Manifest, saved: AbstractSet[bytes], unread: AbstractSet[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    # A folder comes before what is in it.
    for path in seen.entries:
        if path not in saved and not hides(found, path) and not hides(unread, path):
            found.add(path)
    return found


def without(seen: Manifest, paths: AbstractSet[bytes]) -> Manifest:
    """The same, with the paths and all below them left out."""
    kept = {path: entry for path, entry in seen.entries.items() if not hides(paths, path)}
    left_out = {path for path in seen.left_out if not hides(paths, path)}
    return replace(
        seen,
        entries=dict(_with_links_anew(kept)),
        unread=tuple(path for path in seen.unread if not hides(paths, path)),
        left_out=tuple(sorted(left_out | paths)),
        changed=frozenset(path for path in seen.changed if not hides(paths, path)),
    )


def _with_links_anew(entries: Mapping[bytes, Entry]) -> Iterator[tuple[bytes, Entry]]:
    """The names of one file, of which some may be gone."""
    names: dict[bytes, list[bytes]] = defaultdict(list)
    for path, entry in entries.items():
        if entry.same_as is not None:
            names[entry.same_as].append(path)
    for path, entry in entries.items():
        if entry.same_as is None:
            yield path, entry
        else:
            group = names[entry.same_as]
            yield path, entry._replace(same_as=min(group) if len(group) > 1 else None)
