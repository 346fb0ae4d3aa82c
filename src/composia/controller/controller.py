"""The controller: its parts put together, and at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from structlog import get_logger

from composia.controller.admit import Admit
from composia.controller.api.views import Overview
from composia.controller.auth import Gate, NodeGate
from composia.controller.catalog import Catalog
from composia.controller.control import StoreControl
from composia.controller.deliver import Courier
from composia.controller.dns.names import Names
from composia.controller.dns.providers import providers
from composia.controller.events import Event, Events
from composia.controller.logs import Logs, secrets_of
from composia.controller.nodes import Agents
from composia.controller.notify import Notifier
from composia.controller.parts import Parts
from composia.controller.returns import Returns
from composia.controller.runner import Runner
from composia.controller.scheduler import Scheduler
from composia.controller.store.store import Store, open_store
from composia.controller.store.times import Ids
from composia.controller.trail import Trail
from composia.controller.wires import Wires
from composia.controller.world import ControllerWorld
from composia.errors import Conflict, Invalid
from composia.model.catalog import CatalogView
from composia.model.config import ControllerConfig, load_config
from composia.tools.alone import alone
from composia.tools.shell import LocalShell

_log = get_logger("composia.controller")


class Controller:
    """The parts of a controller, open from `opened` to the end of it."""

    def __init__(
        self, config: ControllerConfig, store: Store, ids: Ids, config_file: Path | None = None
    ) -> None:
        self.config = config
        self.store = store
        self.gate = Gate(config.access_tokens)
        self.node_gate = NodeGate(config.nodes)
        self.events = Events()
        self.logs = Logs(config.log_dir, secrets_of(config))
        self.catalog = Catalog(LocalShell(), config, self._catalog_changed)
        self.nodes = Agents(config.nodes, store, self.events)
        self.wires = Wires()
        self.trail = Trail(store)
        control = StoreControl(
            store, self.events, self._names, self.catalog, config.state_dir, self.nodes.online, ids
        )
        parts = Parts(store, self.nodes, control, self.logs, self.events)
        self.runner = Runner(parts, config.state_dir)
        self.admit = Admit(parts, ids, self.runner.start)
        self.courier = Courier()
        self.world = ControllerWorld(
            lambda: self.config, self.nodes, self.catalog, store, lambda: self.scheduler
        )
        self.overview = Overview()
        self.notifier = Notifier(self.world, store, self.courier)
        self.scheduler = Scheduler(
            lambda: self.config, self.catalog.view, store, self.nodes, self.admit, self.events
        )
        self._config_file = config_file
        self.returns = Returns(store, self.admit, self.runner, self.nodes.online)
        self.nodes.on_return(self.returns.returned)

    async def reload(self) -> list[str]:
        """Read config.yaml again; what of READ_AT_START changed. Raises Invalid, keeps all then."""
        if self._config_file is None:
            raise Conflict("this controller was not started from a file")
        wanted = (await asyncio.to_thread(load_config, self._config_file)).controller
        if wanted is None:
            raise Invalid(
                f"{self._config_file} has no `controller` any more",
                hint="Put the section back: without it no controller would start.",
            )
        config, changed = wanted.kept_of(self.config)
        self.config = config
        self.gate, self.node_gate = Gate(config.access_tokens), NodeGate(config.nodes)
        self.logs.hide(secrets_of(config))
        await self.nodes.reconfigure(config.nodes)
        await self.catalog.reconfigure(config)
        self.scheduler.wake()
        return changed

    def _names(self) -> Names:
        return Names(providers(self.config.dns), self.store)

    def _catalog_changed(self, view: CatalogView) -> None:
        self.scheduler.wake()
        for service in view.services:
            data = {"service": service, "revision": view.revision}
            self.events.publish(Event("service", service, data))


@asynccontextmanager
async def opened(
    config: ControllerConfig, config_file: Path | None = None
) -> AsyncIterator[Controller]:
    """A controller at work. Raises Conflict where another one works with the same state_dir."""
    async with AsyncExitStack() as stack:
        config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        await stack.enter_async_context(alone(config.state_dir, "controller"))
        store = await open_store(config.state_dir)
        stack.push_async_callback(store.aclose)
        ids = Ids(await store.newest_id())
        controller = Controller(config, store, ids, config_file)
        stack.callback(controller.logs.close)
        await controller.catalog.open()
        stack.push_async_callback(controller.catalog.aclose)
        await controller.nodes.open()
        controller.trail.start()
        stack.push_async_callback(controller.trail.aclose)
        await controller.runner.open()
        stack.push_async_callback(controller.runner.aclose)
        stack.push_async_callback(controller.returns.aclose)
        stack.push_async_callback(controller.nodes.aclose)
        controller.catalog.start()
        controller.scheduler.start()
        stack.push_async_callback(controller.scheduler.aclose)
        stack.callback(controller.courier.close)
        controller.notifier.start()
        stack.push_async_callback(controller.notifier.aclose)
        yield controller
