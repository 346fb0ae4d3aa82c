"""What a handler has at hand: the controller, and who is calling."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from composia.controller.api.office import Office
from composia.controller.auth import Caller
from composia.controller.knowing import known
from composia.errors import ComposiaError, Conflict, Denied, Invalid, NotFound, Unauthenticated
from composia.model.backup import Backup
from composia.model.catalog import META_FILE
from composia.model.config import Scope
from composia.model.names import FOLDER_PATTERN, NAME_PATTERN
from composia.model.service import ServiceRef
from composia.model.task import Key, Status, Task
from composia.tools import yaml
from composia.workflows.again import FROM_CATALOG, outdated, refuse_outdated
from composia.workflows.known import Known, containers_of
from composia.workflows.objections import not_found
from composia.workflows.plan import Plan
from composia.workflows.restore import RollbackPlan

_bearer = HTTPBearer(auto_error=False, description="An access token of config.yaml.")
_ID = r"^[0-9A-Za-z][0-9A-Za-z_-]{0,63}$"

ServiceName = Annotated[str, Path(pattern=FOLDER_PATTERN, description="A service's name.")]
NodeId = Annotated[str, Path(pattern=NAME_PATTERN, description="A node's id.")]
Id = Annotated[str, Path(pattern=_ID, description="An id.")]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many.")]
Cursor = Annotated[str | None, Query(pattern=_ID, description="`next_cursor` of the page before.")]


#: Keys of a meta file that there can be only one of each in the catalog.
CLAIMED = ("name", "project_name", "infra")


class Desk:
    """One call: its caller, and the controller it is about. Raises Unauthenticated."""

    def __init__(
        self,
        request: Request,
        _shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    ) -> None:
        self.office: Office = request.app.state.controller
        self._shown = request.headers.get("authorization")
        self.caller: Caller = self.office.gate.caller(self._shown)
        request.state.caller = self.caller.name

    async def is_still_allowed(self) -> bool:
        """Whether the same caller would be let in now: a token can be revoked."""
        try:
            return self.office.gate.caller(self._shown) == self.caller
        except Unauthenticated:
            return False

    async def known(self) -> Known:
        """What plans are made from."""
        office = self.office
        return await known(office.config, office.catalog.view(), office.nodes, office.store)

    async def known_now(self, service: str) -> Known:
        """The same, with what somebody may have pushed of the service just before."""
        await self.office.catalog.catch_up(service)
        return await self.known()

    def services(self, wanted: str | None) -> tuple[str, ...] | None:
        """The services to list: the one that is asked for, or all that the token is for."""
        if wanted is not None:
            self.caller.must_see(wanted)
            return (wanted,)
        return None if self.caller.services == "all" else self.caller.services

    def service_of(self, path: str) -> str | None:
        """The service in whose folder of the catalog a file is."""
        view, folder = self.office.catalog.view(), path.partition("/")[0]
        found = {one.ref.folder: one.name for one in view.services.values()}
        return found.get(folder)

    async def must_write(self, path: str, content: bytes) -> None:
        """Raises Denied where the token may not write this file into the catalog.

        What a meta file claims for itself it takes from others: both sides of a clash are broken.
        """
        self.caller.must(Scope.ADMIN, self.service_of(path))
        if self.caller.services == "all" or PurePosixPath(path).name != META_FILE:
            return
        before = _claims((await self.office.catalog.read(path)).content, path)
        after = _claims(content, path)
        if changed := [key for key in CLAIMED if before.get(key) != after.get(key)]:
            raise Denied(
                f"token {self.caller.name} may not change `{changed[0]}`, which concerns all",
                hint="Use a token that is for all services.",
            )

    async def container(self, service: str, node: str, container: str | None) -> ServiceRef:
        """The service, where it has such a container on the node. Raises NotFound."""
        known = await self.known()
        ref, state = known.service(service).ref, known.node(node)
        containers = containers_of(state, ref)
        names = [one.name for one in containers] + [one.compose_service for one in containers]
        if not containers:
            raise NotFound(
                f"{service} has no containers on node {node}",
                hint=f"`composia service show {service}` says where it runs.",
            )
        if container is not None and container not in names:
            raise not_found("container", container, names)
        return ref

    async def task(self, task: str) -> Task:
        """Raises NotFound, or Denied for another's."""
        found = await self.office.store.task(task)
        if found is None:
            raise not_found("task", task, ())
        self.caller.must_see(found.service)
        return found

    async def plan(self, task: str) -> Plan:
        """A task's plan as it was stored. Raises NotFound, or Conflict for an unreadable one."""
        found = await self.office.store.plan(task)
        if found is None:
            raise not_found("task", task, ())
        return found

    async def retry(self, task: Task, key: Key | None = None) -> Task:
        """One attempt more of a task. Raises Conflict where that cannot be, or is outdated."""
        # One that is open still holds the service: it goes on, or takes back what it has begun.
        if "retry" in task.actions and "abandon" not in task.actions:
            await self._refuse_outdated(task)
        return await self.office.runner.retry(task.id, key)

    async def _refuse_outdated(self, task: Task) -> None:
        plan = await self.plan(task.id)
        if plan.service_name is None:
            return
        await self.office.catalog.catch_up(plan.service_name)
        if isinstance(plan, FROM_CATALOG) and not await self._is_as_it_was(plan.service):
            raise outdated(plan, task.id, f"the files of {plan.service} have changed since")
        # What runs where is looked at last: it changes by itself.
        refuse_outdated(await self.known(), plan, task.id)

    async def _is_as_it_was(self, service: ServiceRef) -> bool:
        """Whether no commit since its revision has changed the service."""
        catalog, folder = self.office.catalog, service.folder
        try:
            then = await catalog.history(folder, 1, service.revision)
        except ComposiaError:
            # Somebody has written the past anew.
            return False
        now = await catalog.history(folder, 1)
        return [one.revision for one in then] == [one.revision for one in now]

    async def brought_back_by(self, task: Task) -> Task | None:
        """The rollback that has brought back what this task replaced."""
        store = self.office.store
        services = (task.service,) if task.service else ()
        done = await store.tasks(services=services, type="rollback", status=Status.SUCCEEDED)
        for rollback in done:
            with suppress(Conflict):
                plan = await store.plan(rollback.id)
                if isinstance(plan, RollbackPlan) and plan.of_task == task.id:
                    return rollback
        return None

    async def backup(self, backup: str) -> Backup:
        """Raises NotFound, or Denied for another's."""
        found = await self.office.store.backup(backup)
        if found is None:
            raise not_found("backup", backup, ())
        self.caller.must_see(found.service)
        return found

    async def backups_of(self, service: str) -> list[Backup]:
        """All records of a service."""
        return list(await self.office.store.backups(services=(service,)))


AtDesk = Annotated[Desk, Depends()]


class Repeated(Exception):
    """A call whose Idempotency-Key was seen before: the answer is its task, as it is now."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.id)
        self.task = task


IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key again answers with the first task; 409 when anything else"
        " is asked for.",
    ),
]


class Call:
    """A call that makes a task, or asks something of one: once for each Idempotency-Key."""

    def __init__(
        self, request: Request, desk: AtDesk, *, idempotency_key: IdempotencyKey = None
    ) -> None:
        self._request = request
        self._desk = desk
        self._key = idempotency_key

    @property
    def key(self) -> Key | None:
        """None without one, and for a call that does nothing."""
        return Key.of(self._desk.caller.created_by, self._key, self._asked())

    async def unless_repeated(self) -> None:
        """Raises Repeated where the key has a task already, and Conflict for another's."""
        if first := await self._desk.office.admit.first_of(self.key):
            self._desk.caller.must_see(first.service)
            raise Repeated(first)

    async def ask(self, asked: Awaitable[Task]) -> Response:
        """202 with the task that something was asked of. Raises Conflict."""
        try:
            return accepted(await asked)
        except Conflict:
            # The first call may have come so far only meanwhile.
            await self.unless_repeated()
            raise

    def _asked(self) -> str:
        request = self._request
        return f"{request.method} {request.url.path}\n{getattr(request.state, 'body', '')}"


class Submission(Call):
    """How a plan is handed in: to be carried out, or only shown."""

    def __init__(
        self,
        request: Request,
        desk: AtDesk,
        *,
        dry_run: Annotated[
            bool, Query(description="Answer 200 with the plan, and do nothing.")
        ] = False,
        idempotency_key: IdempotencyKey = None,
    ) -> None:
        super().__init__(request, desk, idempotency_key=None if dry_run else idempotency_key)
        self._dry_run = dry_run

    async def hand_in(self, plan: Plan) -> Response:
        """202 with the task and its place, or 200 with the plan. Raises Conflict."""
        if self._dry_run:
            return JSONResponse({"title": str(plan), "plan": plan.model_dump(mode="json")})
        task = await self._desk.office.admit.submit(
            plan,
            created_by=self._desk.caller.created_by,
            source="api",
            idempotency_key=self._key,
            asked=self._asked(),
        )
        return accepted(task)


async def once(found: Annotated[Call, Depends()]) -> Call:
    """A call that asks something of a task. Raises Repeated where that was done already."""
    await found.unless_repeated()
    return found


#: Comes last among a handler's parameters, as `Submit` does.
Once = Annotated[Call, Depends(once)]


async def submission(found: Annotated[Submission, Depends()]) -> Submission:
    """How the plan of a call is handed in. Raises Repeated where that was done already."""
    # Before anything is planned: what the first call has changed since would be in the way.
    await found.unless_repeated()
    return found


#: Comes last among a handler's parameters: a key belongs to a request with its body.
Submit = Annotated[Submission, Depends(submission)]


async def on_repeated(_request: Request, error: Exception) -> Response:
    """The answer that the first call was given, or that was lost."""
    assert isinstance(error, Repeated)
    return accepted(error.task)


def accepted(task: Task) -> Response:
    """202 with the task, and where it can be watched."""
    return JSONResponse(
        task.model_dump(mode="json", by_alias=True),
        202,
        headers={"Location": f"/api/v1/tasks/{task.id}"},
    )


def _claims(content: bytes, path: str) -> Mapping[str, Any]:
    """What the meta file says; nothing where it cannot be read, which is a change too."""
    try:
        found = yaml.load(content, path).data
    except Invalid:
        return {}
    return found if isinstance(found, Mapping) else {}
