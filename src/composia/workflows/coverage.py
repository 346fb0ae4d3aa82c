"""Which of a service's data no backup would bring back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from composia.model.catalog import Service
from composia.model.node import Mount, NodeState
from composia.strategies import AnyBackupStrategy
from composia.strategies.files_copy import FilesCopy
from composia.strategies.pgdumpall import PgDumpAll
from composia.tools.paths import parse_include


def unprotected(service: Service, nodes: Mapping[str, NodeState | None]) -> dict[str, Mount]:
    """The volumes and writable binds that no data item covers and `unprotected` does not name."""
    if service.meta.infra.rustic is not None:
        # Its data is the backups.
        return {}
    covered = _saved(service)
    return {
        mount.source: mount
        for state in nodes.values()
        for instance in (state.instances if state else ())
        if instance.service == service.name
        for mount in instance.mounts
        if not covered.covers(mount)
    }


class Covered:
    """What some ways of saving keep between them."""

    def __init__(self, ways: Iterable[AnyBackupStrategy | None], excused: Iterable[str]) -> None:
        kept = list(ways)
        self._files = [_Files(way) for way in kept if isinstance(way, FilesCopy)]
        self._dumped = {way.service for way in kept if isinstance(way, PgDumpAll)}
        self._excused = {_tidy(source) for source in excused}

    def covers(self, mount: Mount) -> bool:
        """Whether a mount's data is among it, or excused."""
        source = _tidy(mount.source)
        if any(files.keep(source) for files in self._files) or _within(source, self._excused):
            return True
        # A dump stands for all that only the dumped database keeps.
        return bool(mount.used_by) and set(mount.used_by) <= self._dumped

    def excludes(self, mount: Mount) -> bool:
        """Whether all of a mount lies in an `include`, and is left out by `exclude`."""
        source = _tidy(mount.source)
        return any(files.leave_out(source) for files in self._files)


class _Files:
    """What one item saves as files, and what of it it leaves out."""

    def __init__(self, way: FilesCopy) -> None:
        self._included = {_tidy(include) for include in way.include}
        self._excluded = {_tidy(exclude) for exclude in way.exclude}

    def keep(self, source: str) -> bool:
        return _within(source, self._included) and not _within(source, self._excluded)

    def leave_out(self, source: str) -> bool:
        return _within(source, self._included) and _within(source, self._excluded)


def _saved(service: Service) -> Covered:
    saved = {entry.name for entry in service.meta.backup.data}
    protected = service.meta.data_protect
    ways = [item.backup for item in protected.data if item.name in saved]
    return Covered(ways, [one.source for one in protected.unprotected])


def same_source(one: str, other: str) -> bool:
    """Whether two ways of writing a mount's source mean the same."""
    return _tidy(one) == _tidy(other)


def _tidy(source: str) -> str:
    try:
        return str(parse_include(source))
    except ValueError:
        return source.rstrip("/")


def _within(source: str, places: Iterable[str]) -> bool:
    return any(source == place or source.startswith(f"{place}/") for place in places)
