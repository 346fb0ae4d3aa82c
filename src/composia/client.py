"""The REST API as Python: what the command line and the tests use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from composia import errors
from composia.errors import ComposiaError, Problem
from composia.model.backup import Backup
from composia.model.notification import Notification, Tried, TriedAll
from composia.model.shown import (
    Committed,
    EntryView,
    NodeView,
    Page,
    Reloaded,
    RepositoryView,
    ScheduleView,
    ServiceView,
)
from composia.model.task import Task

Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item")

#: Seconds until a controller that says nothing counts as unreachable.
PATIENCE = 60.0
_BY_STATUS: Mapping[int, type[ComposiaError]] = {
    400: errors.Invalid,
    401: errors.Unauthenticated,
    403: errors.Denied,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.Stale,
    413: errors.Invalid,
    422: errors.Invalid,
}


class Unreachable(ComposiaError):  # named as all of the tree
    """Nobody answers at the controller's address."""

    may_retry = True


class Planned(BaseModel):
    """What would be done: the answer to a dry run."""

    model_config = ConfigDict(frozen=True)

    title: str
    plan: dict[str, Any]


class Client:
    """One controller, with one access token.

    Every call raises ComposiaError as the API meant it.
    """

    def __init__(
        self, url: str, token: str, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.AsyncClient(
            base_url=f"{self.url}/api/v1",
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(PATIENCE, connect=5.0),
            transport=transport,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    # Services.

    async def services(self) -> list[ServiceView]:
        """All of them, broken ones too."""
        return await self._all("/services", ServiceView)

    async def service(self, name: str) -> ServiceView:
        """One of them."""
        return await self._get(f"/services/{_part(name)}", ServiceView)

    async def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        dry_run: bool = False,
        key: str | None = None,
        method: str = "POST",
    ) -> Task | Planned:
        """Hand in a request that becomes a task; None in the body stands for the default."""
        given = {name: value for name, value in (body or {}).items() if value is not None}
        answer = await self._send(
            method,
            path,
            content=json.dumps(given).encode() if body is not None else None,
            params={"dry_run": "true"} if dry_run else {},
            headers={"Idempotency-Key": key} if key else {},
        )
        return _read(answer, Planned) if answer.status_code == 200 else _read(answer, Task)

    async def act(
        self, verb: str, service: str, *, dry_run: bool = False, **body: Any
    ) -> Task | Planned:
        """deploy, update, stop, restart, backup, restore or caddy-sync a service."""
        return await self.ask(f"/services/{_part(service)}/{verb}", body, dry_run=dry_run)

    @asynccontextmanager
    async def instance_logs(
        self, service: str, node: str, *, follow: bool = False, **filters: Any
    ) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of its containers."""
        path = f"/services/{_part(service)}/instances/{_part(node)}/logs"
        async with self._stream(path, follow=follow, **filters) as answer:
            yield answer.aiter_lines()

    # Tasks.

    async def tasks(self, limit: int = 20, **filters: Any) -> list[Task]:
        """The newest first; filters: service, node, type, status."""
        return (await self._page("/tasks", Task, limit=limit, **filters)).items

    async def task(self, task: str) -> Task:
        """One of them."""
        return await self._get(f"/tasks/{_part(task)}", Task)

    async def task_log(self, task: str) -> str:
        """Its log so far."""
        return (await self._send("GET", f"/tasks/{_part(task)}/logs")).text

    @asynccontextmanager
    async def follow_task_log(self, task: str) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        """Pairs of kind and data: `log` and a line, at last `end` and the task."""
        async with self._stream(f"/tasks/{_part(task)}/logs", follow=True) as answer:
            yield _events(answer)

    # Backups.

    async def backups(self, limit: int = 50, **filters: Any) -> list[Backup]:
        """The newest first; filters: service, data_item, node, status."""
        return (await self._page("/backups", Backup, limit=limit, **filters)).items

    async def backup(self, backup: str) -> Backup:
        """One of them."""
        return await self._get(f"/backups/{_part(backup)}", Backup)

    async def backup_files(self, backup: str, path: str = "") -> list[EntryView]:
        """What is in a folder of it."""
        return await self._all(f"/backups/{_part(backup)}/files", EntryView, path=path)

    async def download(self, backup: str, path: str, target: Path) -> int:
        """A file, or a folder as tar, into a new file here; its size in bytes."""
        unfinished = target.with_name(f".{target.name}.part")
        size = 0
        try:
            async with self._stream(f"/backups/{_part(backup)}/download", path=path) as answer:
                with unfinished.open("wb") as file:
                    async for chunk in answer.aiter_bytes():
                        size += file.write(chunk)
            # Never over a file that is there, and never a half one under its name.
            target.hardlink_to(unfinished)
        finally:
            unfinished.unlink(missing_ok=True)
        return size

    # Schedules.

    async def schedules(self, **filters: Any) -> list[ScheduleView]:
        """What happens by itself; filters: service, kind."""
        return await self._all("/schedules", ScheduleView, **filters)

    # Notifications.

    async def notifications(self, limit: int = 50, **filters: Any) -> list[Notification]:
        """The newest first; filters: service, state, event."""
        return (await self._page("/notifications", Notification, limit=limit, **filters)).items

    async def test_notifications(self) -> list[Tried]:
        """Send a message to every target; what came of each."""
        return _read(await self._send("POST", "/notifications/test"), TriedAll).items

    async def acknowledge(self, notification: str) -> Notification:
        """Have it told no more, unless it happens anew."""
        path = f"/notifications/{_part(notification)}/acknowledge"
        return _read(await self._send("POST", path), Notification)

    # Nodes, repository, catalog, configuration.

    async def nodes(self) -> list[NodeView]:
        """All of them."""
        return await self._all("/nodes", NodeView)

    async def node(self, node: str) -> NodeView:
        """One of them."""
        return await self._get(f"/nodes/{_part(node)}", NodeView)

    async def repository(self) -> RepositoryView:
        """As our records know it."""
        return await self._get("/repository", RepositoryView)

    async def catalog(self) -> dict[str, Any]:
        """How the catalog stands to its remote."""
        found: dict[str, Any] = (await self._send("GET", "/catalog")).json()
        return found

    async def pull_catalog(self) -> dict[str, Any]:
        """How the catalog stands once its remote was looked at."""
        found: dict[str, Any] = (await self._send("POST", "/catalog/pull")).json()
        return found

    async def catalog_files(self) -> list[str]:
        """The paths of all files."""
        return await self._all("/catalog/files", str)

    async def read_file(self, path: str) -> tuple[bytes, str]:
        """A file of the catalog, and the revision it is of."""
        answer = await self._send("GET", f"/catalog/files/{quote(path)}")
        return answer.content, answer.headers["etag"].strip('"')

    async def write_file(self, path: str, content: bytes, revision: str) -> Committed:
        """Commit it on top of the revision that was read. Raises Stale."""
        answer = await self._send(
            "PUT",
            f"/catalog/files/{quote(path)}",
            content=json.dumps({"content": content.decode()}).encode(),
            headers={"If-Match": f'"{revision}"', "Content-Type": "application/json"},
        )
        return _read(answer, Committed)

    async def reload(self) -> Reloaded:
        """Have config.yaml read again."""
        return _read(await self._send("POST", "/config/reload"), Reloaded)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[tuple[str, str]]]:
        """Pairs of kind and data, as things change."""
        async with self._stream("/events") as answer:
            yield _events(answer)

    async def _get(self, path: str, model: type[Model]) -> Model:
        return _read(await self._send("GET", path), model)

    async def _page(self, path: str, /, item: type[Item], **params: Any) -> Page[Item]:
        answer = await self._send("GET", path, params=_given(params))
        return _read(answer, Page[item])  # type: ignore[valid-type]  # a type at run time

    async def _all(self, path: str, /, item: type[Item], **params: Any) -> list[Item]:
        page = await self._page(path, item, **params)
        items = page.items
        while page.next_cursor:
            page = await self._page(path, item, cursor=page.next_cursor, **params)
            items = items + page.items
        return items

    async def _send(self, method: str, path: str, **more: Any) -> httpx2.Response:
        try:
            answer = await self._http.request(method, path, **more)
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _error(answer)
        return answer

    @asynccontextmanager
    async def _stream(self, path: str, /, **params: Any) -> AsyncIterator[httpx2.Response]:
        timeout = httpx2.Timeout(PATIENCE, connect=5.0, read=None)
        try:
            async with self._http.stream(
                "GET", path, params=_given(params), timeout=timeout
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise _error(answer)
                yield answer
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> Unreachable:
        return Unreachable(
            f"no controller answers at {self.url}: {error or type(error).__name__}",
            hint="Is `composia controller` or `composia serve` running there? "
            "`--url`, COMPOSIA_URL or `composia login` name another address.",
        )


def _part(name: str) -> str:
    return quote(name, safe="")


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in params.items()
        if value is not None
    }


def _read(answer: httpx2.Response, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise errors.Failure(
            f"{answer.request.url} answered what this version does not understand: "
            f"{error.errors()[0]['msg']}",
            hint="Are controller and command line of the same version?",
        ) from error


def _error(answer: httpx2.Response) -> ComposiaError:
    try:
        told = answer.json()
        problems = tuple(Problem.model_validate(problem) for problem in told["errors"])
        kind = str(told["type"]).rpartition(":")[2]
        message, hint = told["detail"], told.get("hint")
    except (ValueError, KeyError, TypeError):
        message, hint, kind, problems = f"HTTP {answer.status_code}", None, "", ()
    default = _BY_STATUS.get(answer.status_code, errors.Failure)
    return errors.KINDS.get(kind, default)(message, hint=hint, problems=problems)


async def _events(answer: httpx2.Response) -> AsyncIterator[tuple[str, str]]:
    kind, data = "message", list[str]()
    async for line in answer.aiter_lines():
        name, _, value = line.partition(":")
        if not line and data:
            yield kind, "\n".join(data)
            kind, data = "message", []
        elif name == "event":
            kind = value.strip()
        elif name == "data":
            data.append(value.removeprefix(" "))
