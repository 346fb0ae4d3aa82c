"""What the notifier looks at: the parts of the controller, as it needs to see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from composia.controller.catalog import Catalog, CatalogStatus
from composia.controller.late import late
from composia.controller.nodes import Agents
from composia.controller.scheduler import Scheduler
from composia.controller.standing import NodeSeen
from composia.controller.store.store import Store
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.notification import Matter

#: How often it is looked whether backups are late.
PACE = timedelta(minutes=1)


class ControllerWorld:
    """Nodes, catalog and schedules as they are now."""

    def __init__(
        self,
        config: Callable[[], ControllerConfig],
        nodes: Agents,
        catalog: Catalog,
        store: Store,
        scheduler: Callable[[], Scheduler],
    ) -> None:
        self._config = config
        self._nodes = nodes
        self._catalog = catalog
        self._store = store
        self._scheduler = scheduler
        self._looked = datetime.min.replace(tzinfo=UTC)
        self._late: Sequence[Matter] = ()

    @property
    def config(self) -> ControllerConfig:
        """As it was read last."""
        return self._config()

    def nodes(self) -> Mapping[str, NodeSeen]:
        """Every node of config.yaml."""
        return {
            node: NodeSeen(self._nodes.online(node), self._nodes.last_seen(node), state)
            for node, state in self._nodes.states().items()
        }

    def catalog(self) -> tuple[CatalogView, CatalogStatus]:
        """As it was looked at last."""
        return self._catalog.view(), self._catalog.status

    async def late(self, now: datetime) -> Sequence[Matter]:
        """Backups that are overdue, and runs that were missed."""
        if abs(now - self._looked) >= PACE:
            self._late = await self._look(now)
            self._looked = now
        return self._late

    async def _look(self, now: datetime) -> Sequence[Matter]:
        scheduler = self._scheduler()
        newest = await self._store.newest_runs(limit=2)
        overdue = await scheduler.overdue()
        return late(overdue, await scheduler.expected(), newest, now, self._nodes.online)

    def schedules_run(self) -> bool:
        """Whether what has to begin by itself does."""
        return self._scheduler().works
