"""`/catalog/files`: the files that people write."""

from __future__ import annotations

import os
from typing import Annotated
from urllib.parse import quote, unquote_to_bytes

from fastapi import Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from composia import errors
from composia.controller.api import bodies
from composia.controller.api.desk import AtDesk, Desk, Limit
from composia.controller.api.problems import NotJson, TooLarge, responses
from composia.controller.api.queries import api_router
from composia.controller.api.routes import answers
from composia.controller.catalog import CatalogStatus
from composia.model.config import Scope
from composia.model.shown import Committed, Page

router = api_router("catalog", "/catalog")

FilePath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=1024,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="Below the catalog's root: `my-app/composia-meta.yaml`.",
    ),
]
_REVISION = {"ETag": {"description": "The catalog's revision.", "schema": {"type": "string"}}}


class Written(BaseModel):
    """A file's new content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: str = Field(description="The whole file.")


@router.get("", **answers())
async def get_catalog(desk: AtDesk) -> CatalogStatus:
    """How the work tree stands to its remote, and what keeps it from following."""
    return _seen(desk, desk.office.catalog.status)


@router.post("/pull", **answers())
async def pull(desk: AtDesk) -> CatalogStatus:
    """Look at the remote now, and not only when its time comes; a body is not looked at."""
    desk.caller.must(Scope.OPERATE)
    return _seen(desk, await desk.office.catalog.pull())


@router.get("/files", **answers(errors.Failure))
async def list_files(
    desk: AtDesk,
    limit: Limit = 1000,
    cursor: Annotated[
        str | None,
        Query(max_length=16_384, description="`next_cursor` of the page before."),
    ] = None,
) -> Page[str]:
    """The paths of all files; what of a name is no UTF-8 is replaced by U+FFFD."""
    files = await desk.office.catalog.files()
    seen = [os.fsencode(path) for path in files if desk.caller.may_see(desk.service_of(path))]
    last = unquote_to_bytes(cursor or "")
    rest = [path for path in sorted(seen) if path > last]
    # Quoted: one that is no UTF-8 would not find its place again.
    page = Page[bytes].cut(rest, limit, quote)
    return Page(
        items=[path.decode(errors="replace") for path in page.items], next_cursor=page.next_cursor
    )


@router.get(
    "/files/{path:path}",
    response_model=None,
    responses={
        200: {
            "description": "The file.",
            "content": {"application/octet-stream": {"schema": {"type": "string"}}},
            "headers": _REVISION,
        },
        **responses(errors.NotFound, errors.Failure),
    },
)
async def get_file(desk: AtDesk, path: FilePath) -> Response:
    """A file as it is at the catalog's revision, which is its `ETag`."""
    desk.caller.must_see(desk.service_of(path))
    file = await desk.office.catalog.read(path)
    return Response(
        file.content,
        media_type="application/octet-stream",
        headers={"ETag": f'"{file.revision}"'},
    )


@router.put(
    "/files/{path:path}",
    responses={
        200: {"description": "The commit.", "headers": _REVISION},
        **responses(
            errors.NotFound, errors.Conflict, errors.Stale, errors.Failure, NotJson, TooLarge
        ),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": Written.model_json_schema()},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def put_file(
    desk: AtDesk,
    path: FilePath,
    request: Request,
    response: Response,
    if_match: Annotated[
        str,
        Header(
            min_length=1,
            max_length=200,
            description="The revision that was read, or `*` for whatever there is.",
        ),
    ],
) -> Committed:
    """Commit a file's new content; 412 when the catalog has moved on since it was read."""
    desk.caller.must(Scope.ADMIN, desk.service_of(path))
    written = await _written(request)
    await desk.must_write(path, written.content.encode())
    revision = await desk.office.catalog.write(
        path,
        written.content.encode(),
        if_match=if_match.strip('"'),
        author=desk.caller.name,
    )
    response.headers["ETag"] = f'"{revision}"'
    return Committed(path=path, revision=revision)


def _seen(desk: Desk, status: CatalogStatus) -> CatalogStatus:
    """Of the paths those that the token is for."""
    seen = [path for path in status.uncommitted if desk.caller.may_see(desk.service_of(path))]
    return status.model_copy(update={"uncommitted": tuple(seen)})


async def _written(request: Request) -> Written:
    text = await bodies.raw(request, bodies.FILE_LIMIT)
    if not text:
        raise errors.Invalid("no content was sent", hint='An empty file is `{"content": ""}`.')
    if request.headers.get("content-type", "").startswith("application/json"):
        return bodies.parse_json(Written, text or b"{}")
    try:
        return Written(content=text.decode())
    except UnicodeDecodeError as error:
        raise errors.Invalid(f"the file is no UTF-8 text: {error.reason}") from None
