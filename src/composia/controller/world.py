"""What the notifier looks at: the parts of the controller, as it needs to see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from composia.controller.catalog import Catalog, CatalogStatus
from composia.controller.nodes import Agents
from composia.controller.standing import NodeSeen
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig
from composia.model.notification import Matter


class ControllerWorld:
    """Nodes, catalog and schedules as they are now."""

    def __init__(
        self, config: Callable[[], ControllerConfig], nodes: Agents, catalog: Catalog
    ) -> None:
        self._config = config
        self._nodes = nodes
        self._catalog = catalog

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
        return []

    def schedules_run(self) -> bool:
        """Whether what has to begin by itself does."""
        return True
