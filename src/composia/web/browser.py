"""`/backups/ID/files`: what is in a backup, folder by folder, and downloads of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from composia.controller.api import contents
from composia.controller.api.backups import SnapshotPath
from composia.controller.api.desk import Id
from composia.model.shown import EntryView
from composia.web.listings import Listings
from composia.web.visit import AtVisit

router = APIRouter(prefix="/backups")

#: Entries on one page: a folder may have tens of thousands.
LIMIT = 300

Start = Annotated[int, Query(ge=0, le=100_000_000)]
Letters = Annotated[str, Query(max_length=200)]


class Crumb(BaseModel):
    """A folder above, by its name and its path."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: str


class Shown(BaseModel):
    """A part of a folder: `start` entries come before it, `found` have the letters asked for."""

    model_config = ConfigDict(frozen=True)

    entries: Sequence[EntryView]
    start: int
    found: int
    total: int
    size: int

    @classmethod
    def of(cls, every: Sequence[EntryView], letters: str, start: int) -> Shown:
        """The entries whose names have these letters, from `start` on."""
        wanted = letters.strip().casefold()
        found = [one for one in every if wanted in _name(one.path).casefold()]
        return cls(
            entries=found[start : start + LIMIT],
            start=start,
            found=len(found),
            total=len(every),
            size=sum(one.size or 0 for one in found),
        )


@router.get("/{id}/files")
async def show_files(
    visit: AtVisit,
    id: Id,  # noqa: A002  # as api.md names it
    path: SnapshotPath = "",
    q: Letters = "",
    start: Start = 0,
) -> Response:
    """The folder's page at once; what is in it comes when the node has told it."""
    backup = await visit.backup(id)
    return visit.page(
        "backup_files.html",
        backup=backup,
        tab="files",
        path=path,
        crumbs=[*crumbs(path)],
        q=q,
        start=start,
    )


@router.get("/{id}/files/entries")
async def list_entries(
    visit: AtVisit,
    id: Id,  # noqa: A002  # see above
    path: SnapshotPath = "",
    q: Letters = "",
    start: Start = 0,
) -> Response:
    """What is in the folder."""
    backup = await visit.backup(id)
    listings: Listings = visit.request.app.state.listings
    shown = Shown.of(await listings.of(visit, backup, path), q, start)
    return visit.page(
        "backup_entries.html", backup=backup, path=path, shown=shown, q=q, limit=LIMIT
    )


@router.get("/{id}/download")
async def download(
    visit: AtVisit,
    id: Id,  # noqa: A002  # see above
    path: SnapshotPath = "",
) -> Response:
    """A file's content, or a folder as tar."""
    answer = await contents.downloaded(visit, await visit.backup(id), path)
    # Most of it is compressed already, and the pages' own compression would only cost time.
    answer.headers["Content-Encoding"] = "identity"
    return answer


def crumbs(path: str) -> Iterator[Crumb]:
    """Every folder on the way, itself last."""
    parts = [part for part in path.split("/") if part]
    for place, part in enumerate(parts, 1):
        yield Crumb(name=part, path="/".join(parts[:place]))


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
