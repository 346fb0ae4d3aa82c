"""Databases among files: copied while they are written to, they may not start again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from composia.strategies.base import Site
from composia.strategies.sources import Source
from composia.strategies.volumes import meet
from composia.tools import plain_file
from composia.tools.manifest import Manifest, as_text

SQLITE = b"SQLite format 3\x00"
SQLITE_NAMES = (b".sqlite", b".sqlite3", b".db", b".db3", b".s3db", b".sl3")
#: What SQLite puts beside a database that is in use.
BESIDE = (b"-wal", b"-journal", b"-shm")
STOPPED = "files.tar_after_stop"


async def warnings(site: Site, sources: Iterable[Source], seen: Manifest) -> tuple[str, ...]:
    """A remark for each database that some running container may write to."""
    found = [(source, list(_databases(source, seen.within(source.key)))) for source in sources]
    if not any(remarks for _, remarks in found):
        return ()
    used = await _in_use(site)
    return tuple(
        remark
        for source, remarks in found
        if any(meet(source.path, place) for place in used)
        for remark in remarks
    )


def _databases(source: Source, seen: Manifest) -> Iterator[str]:
    for path, entry in seen.entries.items():
        folder, _, name = (path or os.fsencode(source.path.name)).rpartition(b"/")
        if entry.type != "file":
            continue
        if name == b"PG_VERSION" and not _inside_of_one(folder, seen):
            yield _remark(source, folder, "PostgreSQL", f"database.pgdumpall or {STOPPED}")
        elif name == b"ibdata1":
            yield _remark(source, folder, "MySQL or MariaDB", STOPPED)
        elif _may_be_sqlite(name, path, seen) and _is_sqlite(source.path, path):
            yield _remark(source, path, "SQLite", STOPPED)


def _remark(source: Source, path: bytes, kind: str, instead: str) -> str:
    where = f"{source.known_as}/{as_text(path)}" if path else source.known_as
    return (
        f"{where} is a {kind} database that may be in use: a copy made while it is written to may"
        f" be broken; use {instead} instead"
    )


def _inside_of_one(folder: bytes, seen: Manifest) -> bool:
    # base/5/PG_VERSION belongs to the PG_VERSION two folders above.
    parts = folder.split(b"/") if folder else []
    return any(b"/".join([*parts[:at], b"PG_VERSION"]) in seen.entries for at in range(len(parts)))


def _may_be_sqlite(name: bytes, path: bytes, seen: Manifest) -> bool:
    return name.lower().endswith(SQLITE_NAMES) or any(path + end in seen.entries for end in BESIDE)


def _is_sqlite(root: Path, path: bytes) -> bool:
    whole = os.path.join(os.fsencode(root), path) if path else os.fsencode(root)
    try:
        with os.fdopen(plain_file.opened(whole), "rb", buffering=0) as file:
            return file.read(len(SQLITE)) == SQLITE
    except OSError:
        return False


async def _in_use(site: Site) -> list[Path]:
    return [
        place
        for container in await site.docker.containers()
        if container.at_work
        for mount in container.mounts
        if mount.writable and (place := mount.place())
    ]
