"""`/backups/ID/restore`: where to, what that replaces, and then the task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from composia.controller.api.desk import Id
from composia.errors import ComposiaError, Told
from composia.model.backup import Backup
from composia.model.config import Scope
from composia.model.node import NodeState
from composia.operations.kept import KEPT, SCRATCH_KEPT
from composia.operations.restore import ItemToRestore
from composia.strategies import dump
from composia.strategies.pgimport import PgImport
from composia.web.forms import asked, parsed
from composia.web.visit import AtVisit, Visit
from composia.workflows.known import containers_of
from composia.workflows.restore import BackupRestoreRequest, RestorePlan, plan_restore_backup

router = APIRouter(prefix="/backups")


class Kind(StrEnum):
    """What is replaced; templates/restore_plan.html has the words."""

    PATH = "path"
    VOLUME = "volume"
    DATABASE = "database"
    DUMP_FILE = "dump_file"


class Replacement(BaseModel):
    """One place that a restore changes: a path or volume, or a database's compose service."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    name: str


class Outlook(BaseModel):
    """What a restore will do, for people."""

    model_config = ConfigDict(frozen=True)

    in_place: bool
    node: str
    copy_name: str | None
    path: str | None
    replaces: tuple[Replacement, ...]
    #: What the backup left out on purpose, and so stays as it is.
    stays: tuple[str, ...]
    #: Containers that mount it, as far as is known now.
    stops: tuple[str, ...]
    remarks: tuple[str, ...]
    #: Whether what cannot be exchanged at once is saved first.
    saves_first: bool
    kept_hours: float = KEPT.total_seconds() / 3600
    scratch_days: int = SCRATCH_KEPT.days


@router.get("/{id}/restore")
async def ask_restore(visit: AtVisit, id: Id, request: Request) -> Response:  # noqa: A002  # as api.md names it
    """Where to? And what is replaced there."""
    backup = await visit.backup(id)
    visit.caller.must(Scope.OPERATE, backup.service)
    wanted = asked(request, BackupRestoreRequest)
    known = await visit.known()
    return visit.dialog(
        "restore_dialog.html",
        back=f"/backups/{id}",
        backup=backup,
        wanted=wanted,
        nodes=list(known.nodes),
        sources=[one.name for one in known.offsite if one.name in backup.copies],
        **await _outlook(visit, backup, wanted),
    )


@router.get("/{id}/restore/plan")
async def show_plan(visit: AtVisit, id: Id, request: Request) -> Response:  # noqa: A002  # see above
    """What it would replace, as things stand."""
    backup = await visit.backup(id)
    visit.caller.must(Scope.OPERATE, backup.service)
    wanted = asked(request, BackupRestoreRequest)
    return visit.page("restore_plan.html", backup=backup, **await _outlook(visit, backup, wanted))


@router.post("/{id}/restore")
async def restore(visit: AtVisit, id: Id, request: Request) -> Response:  # noqa: A002  # see above
    """Do it."""
    backup = await visit.backup(id)
    visit.caller.must(Scope.OPERATE, backup.service)
    wanted = await parsed(request, BackupRestoreRequest)
    return await visit.submit(plan_restore_backup(await visit.known(), wanted, backup))


async def _outlook(
    visit: Visit, backup: Backup, wanted: BackupRestoreRequest
) -> dict[str, Outlook | Told | None]:
    """`outlook`, or the `refusal` with all that stands in the way."""
    known = await visit.known()
    try:
        plan = plan_restore_backup(known, wanted, backup)
    except ComposiaError as error:
        return {"outlook": None, "refusal": error.as_told()}
    return {"outlook": outlook(plan, known.nodes), "refusal": None}


def outlook(plan: RestorePlan, nodes: Mapping[str, NodeState | None]) -> Outlook:
    """The plan in the terms of those who wrote the service's files."""
    in_place = plan.to == "in_place"
    replaces = tuple(_replaced(plan)) if in_place else ()
    stays = () if plan.path else _left_out(plan.items)
    return Outlook(
        in_place=in_place,
        node=plan.node,
        copy_name=plan.repository.copy_name,
        path=_as_named(plan.path) if plan.path else None,
        replaces=replaces,
        stays=stays if in_place else (),
        stops=_users(plan, replaces, nodes.get(plan.node)),
        remarks=plan.remarks,
        saves_first=plan.before is not None,
    )


def _replaced(plan: RestorePlan) -> Iterator[Replacement]:
    for item in plan.items:
        if isinstance(item.strategy, PgImport):
            yield Replacement(kind=Kind.DATABASE, name=item.strategy.service)
        elif item.wanted.saved_by in dump.SAVED_BY:
            yield Replacement(kind=Kind.DUMP_FILE, name=item.strategy.include[0])
        elif plan.path:
            yield _place(_as_named(plan.path))
        else:
            yield from (_place(one) for one in item.strategy.include)


def _place(name: str) -> Replacement:
    return Replacement(kind=Kind.PATH if name.startswith("./") else Kind.VOLUME, name=name)


def _as_named(path: str) -> str:
    """A path of a snapshot as the meta file names it: `files/data` is `./data`."""
    kind, _, rest = path.partition("/")
    return {"files": f"./{rest}", "volumes": rest}.get(kind, path)


def _left_out(items: tuple[ItemToRestore, ...]) -> tuple[str, ...]:
    return tuple(one for item in items for one in item.wanted.exclude)


def _users(
    plan: RestorePlan, replaces: tuple[Replacement, ...], state: NodeState | None
) -> tuple[str, ...]:
    """Running containers of the service that mount what is replaced."""
    of = [one for one in (state.instances if state else ()) if one.service == plan.service.name]
    mounts = [mount for one in of for mount in one.mounts]
    using = {one.name for one in replaces if one.kind is Kind.DATABASE}
    for place in replaces:
        for mount in mounts:
            if _touch(mount.source, place.name):
                using |= set(mount.used_by)
    running = {
        one.compose_service for one in containers_of(state, plan.service) if one.state == "running"
    }
    return tuple(sorted(using & running))


def _touch(one: str, other: str) -> bool:
    mine, theirs = f"{one.rstrip('/')}/", f"{other.rstrip('/')}/"
    return mine.startswith(theirs) or theirs.startswith(mine)
