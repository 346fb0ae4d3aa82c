"""`/backups`: the records, what is in them, and how they come back."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Response
from fastapi.responses import StreamingResponse

from composia import errors
from composia.controller.api import contents
from composia.controller.api.bodies import parsed
from composia.controller.api.desk import AtDesk, Cursor, Id, Limit, Submit
from composia.controller.api.queries import api_router
from composia.controller.api.routes import FROM_A_NODE, answers, hands_in, reads
from composia.model.backup import Backup, BackupStatus
from composia.model.config import Scope
from composia.model.shown import EntryView, Page
from composia.workflows.repository import plan_forget_backup
from composia.workflows.restore import BackupRestoreRequest, plan_restore_backup
from composia.workflows.verify import plan_verify_backup

router = api_router("backups", "/backups")

SnapshotPath = Annotated[
    str,
    Query(
        max_length=4096,
        pattern=r"^[^\x00]*$",
        description="In the snapshot, as the listing names it; empty: all of it.",
    ),
]


@router.get("", **answers())
async def list_backups(
    desk: AtDesk,
    service: Annotated[str | None, Query(max_length=128)] = None,
    data_item: Annotated[str | None, Query(max_length=128)] = None,
    node: Annotated[str | None, Query(max_length=128)] = None,
    status: BackupStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[Backup]:
    """All records, the newest first."""
    found = await desk.office.store.backups(
        services=desk.services(service),
        data_item=data_item,
        node=node,
        status=status,
        before=cursor,
        limit=limit + 1,
    )
    return Page[Backup].cut(found, limit, lambda one: one.id)


@router.get("/{id}", **answers(errors.NotFound))
async def get_backup(desk: AtDesk, id: Id) -> Backup:  # noqa: A002  # as api.md names it
    """One record."""
    return await desk.backup(id)


@router.delete("/{id}", **hands_in())
async def forget(desk: AtDesk, id: Id, submit: Submit) -> Response:  # noqa: A002  # see above
    """Take its snapshot out of the repository, and the record with it."""
    backup = await desk.backup(id)
    desk.caller.must(Scope.ADMIN, backup.service)
    others = await desk.backups_of(backup.service)
    return await submit.hand_in(plan_forget_backup(await desk.known(), backup, others))


@router.post("/{id}/restore", **hands_in(BackupRestoreRequest))
async def restore(
    desk: AtDesk,
    id: Id,  # noqa: A002  # as api.md names it
    wanted: Annotated[BackupRestoreRequest, Depends(parsed(BackupRestoreRequest))],
    submit: Submit,
) -> Response:
    """Bring this one back."""
    backup = await desk.backup(id)
    desk.caller.must(Scope.OPERATE, backup.service)
    return await submit.hand_in(plan_restore_backup(await desk.known(), wanted, backup))


@router.post("/{id}/verify", **hands_in())
async def verify(desk: AtDesk, id: Id, submit: Submit) -> Response:  # noqa: A002  # see above
    """Restore it for real to a place of its own, and compare it with what was saved."""
    backup = await desk.backup(id)
    desk.caller.must(Scope.OPERATE, backup.service)
    return await submit.hand_in(plan_verify_backup(await desk.known(), backup))


@router.get("/{id}/files", **answers(errors.NotFound, *FROM_A_NODE))
async def list_files(
    desk: AtDesk,
    id: Id,  # noqa: A002  # as api.md names it
    path: SnapshotPath = "",
    limit: Annotated[int, Query(ge=1, le=10_000, description="At most so many.")] = 1000,
    cursor: Annotated[
        str | None, Query(pattern=r"^[0-9]{1,9}$", description="`next_cursor` of the page before.")
    ] = None,
) -> Page[EntryView]:
    """What is in a folder of the backup."""
    backup = await desk.backup(id)
    entries = await contents.listed(desk, backup, path)
    start = int(cursor or 0)
    more = len(entries) > start + limit
    return Page(
        items=entries[start : start + limit], next_cursor=str(start + limit) if more else None
    )


@router.get(
    "/{id}/download",
    **reads("application/octet-stream", *FROM_A_NODE, folder="application/x-tar"),
)
async def download(
    desk: AtDesk,
    id: Id,  # noqa: A002  # as api.md names it
    path: SnapshotPath = "",
) -> StreamingResponse:
    """A file's content, or a folder as tar."""
    backup = await desk.backup(id)
    return await contents.downloaded(desk, backup, path)
