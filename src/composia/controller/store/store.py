"""All that the controller keeps, in one place."""

from __future__ import annotations

from pathlib import Path

from composia.controller.store.audit import Audit
from composia.controller.store.copies import Copies
from composia.controller.store.database import Database, open_database
from composia.controller.store.dns import DnsMemory
from composia.controller.store.moves import Moves
from composia.controller.store.notifications import Notifications
from composia.controller.store.numbers import Numbers
from composia.controller.store.schedules import Schedules
from composia.controller.store.sessions import Sessions
from composia.controller.store.steps import Steps
from composia.controller.store.tasks import Tasks


class Store(
    Tasks,
    Steps,
    Copies,
    DnsMemory,
    Moves,
    Audit,
    Sessions,
    Notifications,
    Numbers,
    Schedules,
):
    """The tables of `composia.db`."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)

    async def aclose(self) -> None:
        """Close the database."""
        await self._db.aclose()


async def open_store(state_dir: Path) -> Store:
    """The store of a state_dir, made or brought up to date."""
    return Store(await open_database(state_dir))
