"""A controller without its network: what a test can start, end and start again."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path

from composia.controller.admit import Admit
from composia.controller.control import StoreControl
from composia.controller.dns.names import Names
from composia.controller.events import Events
from composia.controller.logs import Logs
from composia.controller.parts import Parts
from composia.controller.runner import Runner
from composia.controller.store.database import FILE
from composia.controller.store.store import Store, open_store
from composia.controller.store.times import Ids
from composia.model.catalog import CatalogView
from composia.model.service import RepositoryRef, ServiceRef
from composia.model.task import Task
from composia.strategies.files_copy import FilesCopy
from composia.workflows.backup import BackupPlan, NamedItem
from composia.workflows.plan import Plan
from composia.workflows.service import DeployPlan
from tests.twins.nodes import MemoryNodes
from tests.twins.office import MemoryCatalog
from tests.waiting import until

# Else DBOS logs for ever to what is the standard error of the first test: it may be captured, and
# closed when the next one starts.
logging.getLogger("dbos").addHandler(logging.NullHandler())


class Office:
    """Store, runner and door on a folder; the nodes outlive a restart, as agents do."""

    store: Store
    runner: Runner
    admit: Admit
    logs: Logs
    events: Events

    def __init__(self, folder: Path, nodes: MemoryNodes | None = None) -> None:
        self.folder = folder
        self.nodes = nodes or MemoryNodes()

    async def start(self) -> None:
        """Carry on what has not ended."""
        self.store = await open_store(self.folder)
        self.events = Events()
        self.logs = Logs(self.folder / "logs")
        names, catalog = Names({}, self.store), MemoryCatalog(CatalogView())
        ids = Ids(await self.store.newest_id())
        control = StoreControl(
            self.store, self.events, lambda: names, catalog, self.folder, self.nodes.online, ids
        )
        parts = Parts(self.store, self.nodes, control, self.logs, self.events)
        self.runner = Runner(parts, self.folder)
        self.admit = Admit(parts, ids, self.runner.start)
        await self.runner.open()

    async def stop(self) -> None:
        """End as a crash does: whatever is under way is not told."""
        await self.runner.aclose()
        self.logs.close()
        await self.store.aclose()

    async def restart(self) -> None:
        """End, and start on the same folder."""
        await self.stop()
        await self.start()

    async def submit(self, plan: Plan, key: str | None = None, asked: str | None = None) -> Task:
        """Hand a plan in."""
        return await self.admit.submit(
            plan, created_by="token:test", source="test", idempotency_key=key, asked=asked
        )

    async def task(self, task: str) -> Task:
        """As it is now."""
        found = await self.store.task(task)
        assert found is not None
        return found

    async def ended(self, task: str) -> Task:
        """Wait for its end."""
        async with asyncio.timeout(60):
            async for _ in self.logs.follow(task):
                pass
        return await self.task(task)

    def plan_anew(self, task: str) -> None:
        """As if another version had planned it: this one cannot read its plan."""
        with sqlite3.connect(self.folder / FILE) as db:
            db.execute('UPDATE tasks SET plan = \'{"plan": "unheard-of"}\' WHERE id = ?', (task,))
        db.close()

    async def until_asked(self, step: str) -> None:
        """Wait until a step is under way on a node."""
        await until(lambda: any(key.split(":")[1] == step for key in self.nodes.sent))


def ref(name: str = "my-app") -> ServiceRef:
    """A service."""
    return ServiceRef(
        name=name,
        folder=name,
        project=name,
        compose_files=("docker-compose.yaml",),
        revision="a" * 40,
    )


def deploy(*nodes: str, service: str = "my-app") -> DeployPlan:
    """A deploy of a service."""
    return DeployPlan(service=ref(service), on=nodes or ("main",))


def backup(service: str = "my-app", repository_id: str | None = "ab" * 32) -> BackupPlan:
    """A backup of one item."""
    repository = RepositoryRef(
        service=ref("infra-backup"),
        compose_service="rustic",
        profile="default",
        repository_id=repository_id,
    )
    strategy = FilesCopy(strategy="files.copy", include=("./data",))
    return BackupPlan(
        service=ref(service),
        repository=repository,
        on=("main",),
        items=(NamedItem(name="uploads", strategy=strategy),),
    )
