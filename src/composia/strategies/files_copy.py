"""files.copy: paths saved while the service runs, and put back by exchange."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from composia.errors import Failure
from composia.strategies import lacking, live_databases, put_back, sources
from composia.strategies.base import (
    BackupStrategy,
    Needs,
    RestoreStrategy,
    Saved,
    Site,
    Staged,
    Wanted,
)
from composia.strategies.sources import Source
from composia.tools import manifest
from composia.tools.manifest import Manifest
from composia.tools.paths import IncludePath
from composia.tools.rustic import SavedTree
from composia.tools.wording import few

#: So many paths of a kind are told one by one: a record holds them, and so does the outcome.
NAMED = 1000


class FilesCopy(BackupStrategy):
    """Save paths and volumes while the service runs."""

    needs: ClassVar[Needs] = Needs.NOTHING

    strategy: Literal["files.copy"] = "files.copy"
    include: tuple[IncludePath, ...] = Field(
        min_length=1,
        description="Paths inside the service's folder (`./data`), and volumes by their names "
        "under `volumes:` of the compose file.",
        examples=[["./data/uploads"], ["pgdata"]],
    )
    exclude: tuple[IncludePath, ...] = Field(
        (), description="What of them is left out.", examples=[["./data/uploads/temp"]]
    )

    async def check(self, site: Site) -> None:
        found = await self._sources(site)
        sources.refuse_empty(found, await sources.look(found), site)

    async def save(self, item: str, site: Site) -> Saved:
        found = await self._sources(site)
        before = await sources.look(found)
        sources.refuse_empty(found, before, site)
        tree = await site.engine.save(
            {source.key: source.path for source in found},
            site.labels(item),
            exclude=sources.excluded(found, before),
            on_progress=site.notes.progress,
        )
        after = await sources.look(found)
        await _refuse_vanished(found, after, tree, site)
        told = await _unread(tree, before, site)
        gone = {path for path in told if self._is_gone(path, after)}
        seen = manifest.with_changes(before, after)
        missing = await self._missing(tree, seen, after, told, site)
        left_out, lost = (missing, set()) if tree.filtered else (set(), missing)
        seen = lacking.without(seen, left_out)
        await _refuse_left_out(found, left_out, seen, tree, site)
        unread = tuple(dict.fromkeys([*sorted(told - gone | lost), *seen.unread]))
        await _refuse_unread(unread, tree, site)
        # So that a restore of the rest does not miss them.
        kept = replace(
            seen,
            unread=tuple(path for path in unread if path.startswith(sources.KEYS)),
            live=self.needs is not Needs.STOPPED,
        )
        changed = sorted(seen.changed | gone)
        return Saved(
            snapshot=tree.snapshot,
            manifest=await asyncio.to_thread(kept.write),
            unread=tuple(map(_known_as, unread[:NAMED])),
            more_unread=len(unread[NAMED:]),
            changed=tuple(map(_known_as, changed[:NAMED])),
            more_changed=len(changed[NAMED:]),
            empty=sources.empty_ones(found, seen),
            warnings=(*_remark(left_out), *await self._warnings(site, found, before)),
        )

    async def _missing(
        self, tree: SavedTree, seen: Manifest, after: Manifest, told: set[bytes], site: Site
    ) -> set[bytes]:
        """What should be in the snapshot and is not, the topmost paths of it."""
        missing = await lacking.of(tree, seen, told.union(seen.unread), site)
        if self.needs is Needs.STOPPED:
            return missing
        if tree.filtered:
            return {path for path in missing if not self._is_gone(path, after)}
        return missing - seen.changed

    def _is_gone(self, path: bytes, after: Manifest) -> bool:
        """Whether the running service has removed meanwhile what was about to be read."""
        # While it is stopped nobody should: then that is no change but a loss.
        if self.needs is Needs.STOPPED or not path.startswith(sources.KEYS):
            return False
        return path not in after.entries and not manifest.hides(frozenset(after.unread), path)

    async def _sources(self, site: Site) -> tuple[Source, ...]:
        return await sources.resolve(site, self.include, self.exclude)

    async def _warnings(
        self, site: Site, found: Iterable[Source], seen: Manifest
    ) -> tuple[str, ...]:
        if self.needs is Needs.STOPPED:
            return ()
        return await live_databases.warnings(site, found, seen)


async def _refuse_vanished(
    found: Iterable[Source], after: Manifest, tree: SavedTree, site: Site
) -> None:
    gone = [source.known_as for source in found if source.key.encode() not in after.entries]
    if gone:
        await site.engine.forget([tree.snapshot.id])
        raise Failure(
            f"{', '.join(gone)} of {site.service} vanished while it was read",
            hint="Something on the node moved it away. Once it is back, back up again.",
        )


async def _refuse_left_out(
    found: Iterable[Source], left_out: Set[bytes], seen: Manifest, tree: SavedTree, site: Site
) -> None:
    """Raise Failure for a source of which the user's own filters have left nothing."""
    if not left_out or site.empty_is_fine:
        return
    for source in found:
        key = {os.fsencode(source.key)}
        if not any(manifest.hides(key, path) for path in left_out):
            continue
        part = seen.within(source.key)
        if not any(path or entry.type != "dir" for path, entry in part.entries.items()):
            await site.engine.forget([tree.snapshot.id])
            raise Failure(
                f"the rustic profile leaves out all of `{source.known_as}` of {site.service}",
                hint="Correct the filters in its [backup], or take it out of `include`.",
            )


def _remark(left_out: Set[bytes]) -> tuple[str, ...]:
    if not left_out:
        return ()
    named = few([_known_as(path) for path in sorted(left_out)])
    return (f"not in the backup, as the filters of the rustic profile have it: {named}",)


async def _refuse_unread(unread: Sequence[bytes], tree: SavedTree, site: Site) -> None:
    """Raise Failure where there is nothing in the snapshot but what holds the unread."""
    if not unread or tree.snapshot.files:
        return
    await site.engine.forget([tree.snapshot.id])
    raise Failure(
        f"nothing could be read of {few([_known_as(path) for path in unread])}"
        f" of {site.service} on {site.node}",
        hint="Look there on the node: who may read it (rustic reads as the `user` of its compose"
        " service), and is the disk sound? Then back up again.",
    )


async def _unread(tree: SavedTree, seen: Manifest, site: Site) -> set[bytes]:
    """What could not be read; rustic names only the folder of a file whose content cannot be."""
    found: set[bytes] = set()
    for path in map(os.fsencode, tree.unread):
        entry = seen.entries.get(path)
        is_folder = entry is not None and entry.type == "dir"
        found |= (is_folder and await _missing_in(path, tree, seen, site)) or {path}
    return found


async def _missing_in(folder: bytes, tree: SavedTree, seen: Manifest, site: Site) -> set[bytes]:
    """The files of a folder that the snapshot does not have; none where it has nothing of it."""
    try:
        listed = await site.engine.list_files(tree.snapshot.id, os.fsdecode(folder))
    except Failure:
        return set()
    saved = {os.fsencode(entry.path) for entry in listed}
    here = [path for path in seen.entries if path.rpartition(b"/")[0] == folder]
    if not saved and len(here) > 1:
        # It is the folder that could not be listed.
        return set()
    return {path for path in here if seen.entries[path].type == "file"} - saved


def _known_as(path: bytes) -> str:
    return sources.known_as(manifest.as_text(path))


class FilesCopyBack(RestoreStrategy):
    """Put paths and volumes back; a dump is put into the folder as a file."""

    strategy: Literal["files.copy"] = "files.copy"
    include: tuple[IncludePath, ...] = Field(
        min_length=1,
        description="The paths and volumes to put back, or the folder that a dump goes into.",
        examples=[["./data/uploads"], ["./restore/"]],
    )

    async def check(self, wanted: Wanted, site: Site) -> None:
        await put_back.refuse_mounts(self.include, wanted, site)

    async def fetch(self, wanted: Wanted, site: Site) -> Staged:
        return await put_back.put_back(self.include, wanted, site)
