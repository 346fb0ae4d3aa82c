"""A notifier over a store, a clock that a test turns, and targets that a test takes down."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from composia.controller.catalog import CatalogStatus
from composia.controller.notify import Notifier
from composia.controller.standing import NodeSeen
from composia.controller.store.store import Store, open_store
from composia.controller.store.tasks import NewTask
from composia.controller.wording import Message
from composia.errors import Failure
from composia.model.backup import Backup, BackupStatus
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.notification import Matter
from composia.model.task import Status, TaskError
from composia.workflows.plan import Plan
from tests.workflow.office import backup

START = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
PHONE, MAIL = "json://phone.example.com/secret-topic", "json://mail.example.com/secret-box"


class MemoryCourier:
    """Keeps the messages of each address; those that are down get none.

    While `answers` is cleared all wait.
    """

    def __init__(self) -> None:
        self.messages: defaultdict[str, list[Message]] = defaultdict(list)
        self.down: set[str] = set()
        self.tries = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def bring(self, url: SecretStr, message: Message) -> None:
        self.tries += 1
        await self.answers.wait()
        if url.get_secret_value() in self.down:
            raise Failure("nobody answers")
        self.messages[url.get_secret_value()].append(message)


class MemoryWorld:
    """Nodes, catalog and schedules that are as a test says."""

    def __init__(self, **notifications: Any) -> None:
        told = {"urls": (SecretStr(PHONE),), **notifications}
        config = ControllerConfig.model_validate_json('{"public_url": "https://c.example.com"}')
        self.config = config.model_copy(
            update={"notifications": config.notifications.model_copy(update=told)}
        )
        self.seen: dict[str, NodeSeen] = {}
        self.view = CatalogView()
        self.status = CatalogStatus()
        self.matters: list[Matter] = []
        self.running = True

    def nodes(self) -> Mapping[str, NodeSeen]:
        return self.seen

    def catalog(self) -> tuple[CatalogView, CatalogStatus]:
        return self.view, self.status

    async def late(self, now: datetime) -> Sequence[Matter]:
        return self.matters

    def schedules_run(self) -> bool:
        return self.running


class Telling:
    """The notifier of a controller that a test starts, and starts again."""

    store: Store
    notifier: Notifier

    def __init__(self, folder: Path, world: MemoryWorld) -> None:
        self.folder = folder
        self.world = world
        self.courier = MemoryCourier()
        self.now = START
        self.pings: list[bool] = []
        self._tasks = 0

    async def start(self) -> None:
        self.store = await open_store(self.folder)
        self.notifier = Notifier(
            self.world, self.store, self.courier, clock=lambda: self.now, pinging=self._ping
        )

    async def stop(self) -> None:
        await self.notifier.aclose()
        await self.store.aclose()

    async def pass_(self, **span: float) -> list[Message]:
        """So much time goes by; what the phone got."""
        before = len(self.courier.messages[PHONE])
        await self.turn()
        self.now += timedelta(**span)
        await self.turn()
        return self.courier.messages[PHONE][before:]

    async def turn(self) -> None:
        await self.notifier.turn()
        await self.notifier.sent()

    async def task(
        self,
        plan: Plan | None = None,
        status: Status = Status.FAILED,
        *,
        error: str = "it broke",
        records: Sequence[Backup] = (),
        result: Mapping[str, Any] | None = None,
        keeps: str | None = None,
    ) -> str:
        """One that has ended so."""
        self._tasks += 1
        task = f"01TASK{self._tasks:04}"
        new = NewTask(id=task, created_by="token:x", source="api")
        assert await self.store.admit(new, plan or backup()) is None
        await self.store.begin(task)
        kept = [record.model_copy(update={"task_id": task}) for record in records]
        await self.store.keep_backups(kept)
        shown = TaskError(message=error) if status is Status.FAILED else None
        await self.store.end(task, status, error=shown, result=result, keeps=keeps)
        return task

    async def _ping(self, _url: SecretStr, *, well: bool) -> bool:
        self.pings.append(well)
        return True


def record(status: BackupStatus, id: str = "01B1", **fields: Any) -> Backup:  # noqa: A002  # a field's name
    """A record of the uploads on main."""
    good = status is BackupStatus.SUCCESS
    return Backup(
        id=id,
        service="my-app",
        data_item="uploads",
        node="main",
        snapshot_id="5" * 64 if good else None,
        status=status,
        time=START,
        error=None if good else "./data is not there",
        **fields,
    )
