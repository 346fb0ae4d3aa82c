"""A service's files in the catalog: read, checked while somebody types, compared and committed."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from composia.controller import services as catalog
from composia.controller.api.desk import ServiceName
from composia.controller.api.views import broken_view
from composia.errors import Invalid, NotFound, Problem, Stale
from composia.model import compose
from composia.model.catalog import COMPOSE_FILES, META_FILE
from composia.model.config import Scope
from composia.model.shown import ServiceView
from composia.tools import yaml
from composia.tools.paths import is_utf8, relative_path
from composia.web.comparison import compared
from composia.web.forms import parsed
from composia.web.services import service_of
from composia.web.templating import render
from composia.web.visit import AtVisit, Visit, to

router = APIRouter(prefix="/services")

#: Bytes of a file that is edited here.
LARGEST = 512 * 1024
YAML = (".yaml", ".yml")
FilePath = Annotated[str, Query(max_length=1024)]


class Draft(BaseModel):
    """A file as somebody would have it; `revision`: of the catalog, as it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=1, max_length=1024)
    content: str = Field(default="", max_length=LARGEST)
    revision: str = Field(default="", max_length=40)
    message: str | None = Field(default=None, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")


class Opened(BaseModel):
    """A file of the catalog; content None where it is none that can be edited."""

    model_config = ConfigDict(frozen=True)

    path: str
    name: str
    revision: str
    content: str | None
    is_new: bool = False

    @property
    def is_yaml(self) -> bool:
        """Whether it is checked while it is typed."""
        return PurePosixPath(self.path).suffix in YAML


@router.get("/{service}/files")
async def show_files(visit: AtVisit, service: ServiceName, path: FilePath = "") -> Response:
    """The files of its folder, and one of them open."""
    found = await service_or_broken(visit, service)
    files = await _files(visit, found)
    wanted = path or next((one for one in (META_FILE, *files) if one in files), META_FILE)
    # Of the commit that all pages show; what is written is compared with the newest one.
    seen = visit.office.catalog.view().revision
    opened = await _opened(visit, found, wanted, seen)
    return visit.page(
        "service_files.html",
        service=found,
        tab="files",
        files=[one for one in files if is_utf8(one)],
        # Addresses and forms are text: these cannot be asked for.
        others=[one for one in files if not is_utf8(one)],
        opened=opened,
        problems=await _faults(visit, found, opened.path, opened.content or ""),
        changed=await visit.office.catalog.history(opened.name, 1, seen),
    )


@router.post("/{service}/files/check")
async def check_file(
    visit: AtVisit, service: ServiceName, request: Request
) -> list[dict[str, Any]]:
    """What is wrong with it as it is now: `line` and `column` from 1, and the words."""
    found = await service_or_broken(visit, service)
    draft = await parsed(request, Draft)
    return [
        {"line": one.line or 1, "column": one.column or 1, "text": one.msg}
        for one in await _faults(visit, found, draft.path, draft.content)
    ]


@router.post("/{service}/files/compare")
async def compare_file(visit: AtVisit, service: ServiceName, request: Request) -> Response:
    """What a commit would change; and what others have changed since it was read."""
    found = await service_or_broken(visit, service)
    visit.caller.must(Scope.ADMIN, visit.service_of(f"{found.folder}/"))
    draft = await parsed(request, Draft)
    before, now = await _versions(visit, found, draft)
    after = _as_before(draft.content, now)
    return visit.page(
        "commit_dialog.html",
        service=found,
        draft=draft,
        current=now,
        theirs=await _compared(before.content or "", now.content or ""),
        ours=await _compared(now.content or "", after),
        problems=await _faults(visit, found, draft.path, draft.content),
    )


@router.post("/{service}/files")
async def commit_file(visit: AtVisit, service: ServiceName, request: Request) -> Response:
    """Commit it, unless somebody else has changed it since: 412."""
    found = await service_or_broken(visit, service)
    visit.caller.must(Scope.ADMIN, visit.service_of(f"{found.folder}/"))
    draft = await parsed(request, Draft)
    before, now = await _versions(visit, found, draft)
    try:
        if before.content != now.content:
            raise Stale(f"{draft.path} was changed by somebody else since you opened it")
        content = _as_before(draft.content, now).encode()
        await visit.must_write(now.name, content)
        await visit.office.catalog.write(
            now.name,
            content,
            # Whatever else was committed since then leaves this file as it was read.
            if_match=now.revision,
            author=visit.caller.name,
            message=draft.message,
        )
    except Stale as error:
        shown = {"request": visit.request, "visit": visit, "told": error.as_told()}
        return HTMLResponse(render("stale_lines.html", **shown), HTTPStatus.PRECONDITION_FAILED)
    return to(f"/services/{service}/files?path={quote(draft.path)}")


async def service_or_broken(visit: Visit, service: str) -> ServiceView:
    """A service that the visitor may see, also one that cannot be worked with."""
    for broken in visit.office.catalog.view().broken:
        if service in (broken.name, broken.folder):
            visit.caller.must_see(visit.service_of(f"{broken.folder}/"))
            return broken_view(broken)
    return await service_of(visit, service)


async def _opened(
    visit: Visit, service: ServiceView, path: str, revision: str | None = None
) -> Opened:
    try:
        name = f"{service.folder}/{relative_path(path)}"
    except ValueError as error:
        raise Invalid(f"the path is refused: {error}") from error
    try:
        file = await visit.office.catalog.read(name, revision)
    except NotFound:
        at = revision or visit.office.catalog.view().revision
        return Opened(path=path, name=name, revision=at, content="", is_new=True)
    return Opened(path=path, name=name, revision=file.revision, content=_text(file.content))


def _text(content: bytes) -> str | None:
    if len(content) > LARGEST or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None


async def _versions(visit: Visit, service: ServiceView, draft: Draft) -> tuple[Opened, Opened]:
    """As it was read, and as it is now."""
    now = await _opened(visit, service, draft.path)
    if draft.revision in ("", now.revision):
        return now, now
    return await _opened(visit, service, draft.path, draft.revision), now


def _as_before(content: str, now: Opened) -> str:
    # A browser's text has one kind of line end, whatever the file has.
    plain = content.replace("\r\n", "\n")
    return plain.replace("\n", "\r\n") if "\r\n" in (now.content or "") else plain


async def _compared(before: str, after: str) -> Any:
    return await asyncio.to_thread(compared, before, after)


async def _files(visit: Visit, service: ServiceView) -> list[str]:
    below, office = f"{service.folder}/", visit.office
    found = await office.catalog.files(service.folder, office.catalog.view().revision)
    return [path.removeprefix(below) for path in found if path.startswith(below)]


async def _faults(
    visit: Visit, service: ServiceView, path: str, content: str
) -> tuple[Problem, ...]:
    """As the catalog would find them."""
    view = visit.office.catalog.view()
    if path == META_FILE:
        files = await _files(visit, service)
        nodes = [node.id for node in visit.office.config.nodes]
        return catalog.faults(view, service.folder, files, content.encode(), nodes)
    if PurePosixPath(path).suffix not in YAML:
        return ()
    try:
        document = yaml.load(content, f"{service.folder}/{path}", tags=True)
    except Invalid as error:
        return error.problems
    known = view.services.get(service.name)
    own = known.ref.compose_files if known else ()
    return compose.faults(document) if path in {*COMPOSE_FILES, *own} else ()
