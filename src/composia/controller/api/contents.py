"""What is inside a backup, read out by a node that holds the repository."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi.responses import StreamingResponse

from composia.controller.api.desk import Desk
from composia.controller.api.streams import read_all, reading
from composia.errors import Conflict, Invalid, NotFound
from composia.model.backup import Backup
from composia.model.service import RepositoryRef
from composia.model.shown import EntryView
from composia.operations.readings import ListSnapshot, ReadSnapshot
from composia.tools.rustic import Entry
from composia.workflows.choice import others_of
from composia.workflows.known import Known


async def listed(desk: Desk, backup: Backup, path: str) -> list[EntryView]:
    """Raises NotFound, or Conflict where nobody can read the repository now."""
    entries = await _entries(desk, backup, _tidy(path))
    # A name that is no UTF-8 is shown with its odd bytes replaced: JSON cannot carry them.
    return [
        EntryView(path=_printable(entry.path), type=entry.type, size=entry.size)
        for entry in entries
    ]


async def downloaded(desk: Desk, backup: Backup, path: str) -> StreamingResponse:
    """A file as it is, a folder as a tar stream."""
    known, wanted = await desk.known(), _tidy(path)
    kind = await _type_of(desk, backup, wanted)
    repository = known.repository()
    content = ReadSnapshot(
        service=repository.service,
        repository=repository,
        snapshot_id=_snapshot(backup),
        path=wanted,
        type=kind,
    )
    name = PurePosixPath(wanted).name or backup.data_item
    full = name if kind == "file" else f"{name}.tar"
    return await reading(
        desk,
        _reader(desk, known, backup),
        content,
        media_type="application/octet-stream" if kind == "file" else "application/x-tar",
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(full, safe='')}"},
    )


async def _type_of(desk: Desk, backup: Backup, path: str) -> str:
    if not path:
        return "dir"
    parent = str(PurePosixPath(path).parent)
    found = [
        entry
        for entry in await _entries(desk, backup, "" if parent == "." else parent)
        if entry.path.strip("/") == path
    ]
    if not found:
        raise NotFound(
            f"there is no {path} in backup {backup.id}",
            hint=f"`composia backups files {backup.id}` lists what is in it.",
        )
    if found[0].type not in ("file", "dir"):
        raise Conflict(f"{path} is a {found[0].type}: download its folder")
    return found[0].type


async def _entries(desk: Desk, backup: Backup, path: str) -> list[Entry]:
    known = await desk.known()
    repository: RepositoryRef = known.repository()
    listing = ListSnapshot(
        service=repository.service,
        repository=repository,
        snapshot_id=_snapshot(backup),
        path=path,
    )
    lines = await read_all(desk.office, _reader(desk, known, backup), listing)
    # Not pydantic's own parser: it refuses the surrogates of a name that is no text.
    return [Entry.model_validate(json.loads(line)) for line in lines.splitlines() if line.strip()]


def _snapshot(backup: Backup) -> str:
    if backup.snapshot_id is None or backup.missing:
        told = f"backup {backup.id} has no snapshot in the repository"
        raise Conflict(told, hint=others_of(backup))
    return backup.snapshot_id


def _reader(desk: Desk, known: Known, backup: Backup) -> str:
    # The node that made it, when it holds the repository; else any of them that can be asked.
    reaching = known.nodes if known.catalog.remote_repository else known.repository_nodes()
    holders = [node for node in reaching if desk.office.nodes.online(node)]
    if not holders:
        raise Conflict(
            "no node that holds the repository is online",
            hint=f"They are {', '.join(known.repository_nodes())}.",
        )
    return backup.node if backup.node in holders else holders[0]


def _tidy(path: str) -> str:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid("the path must not have `..` in it")
    return "/".join(parts)


def _printable(path: str) -> str:
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
