"""Two nodes in memory, and data that goes from one to the other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from composia.operations.carrying import (
    Cargo,
    LastSend,
    PreCopy,
    Receive,
    Received,
    Rounds,
    Sent,
    compare_received,
)
from composia.operations.kept import STAGED
from composia.operations.restore import Ready
from composia.strategies.aside import Aside
from composia.strategies.base import Swap
from tests.twins.site import Twins
from tests.twins.wire import MemoryWires
from tests.workflow.office import ref

One = TypeVar("One")
Other = TypeVar("Other")

ITEM = Cargo(item="uploads", include=("./data",))


class TwoNodes:
    """`main` and `edge`, each with a folder of the service."""

    def __init__(self, folder: Path, *cut_after: int) -> None:
        self.wires = MemoryWires(*cut_after)
        self.cargo: tuple[Cargo, ...] = (ITEM,)
        self.main, self.edge = (self._twins(folder / node) for node in ("main", "edge"))
        self.source, self.target = (
            replace(twins.site, node=node, wire=self.wires.of(node))
            for node, twins in (("main", self.main), ("edge", self.edge))
        )

    @staticmethod
    def _twins(folder: Path) -> Twins:
        (folder / "my-app").mkdir(parents=True)
        return Twins(folder / "my-app")

    @property
    def data(self) -> Path:
        """The data on the source."""
        return self.source.folder / "data"

    @property
    def live(self) -> Path:
        """The place of the data on the target."""
        return self.target.folder / "data"

    @property
    def staged(self) -> Path:
        """Where it lies beside that."""
        return Aside(self.target.aside, self.target.task).folder / "uploads-0-data"

    def swaps(self) -> tuple[Swap, ...]:
        """What an exchange would find."""
        ready = Aside(self.target.aside, self.target.task).read(STAGED, Ready)
        assert ready
        return ready.swaps

    async def pre_copy(self) -> tuple[Rounds, Received]:
        """Copy while the service runs."""
        service = ref()
        return await both(
            PreCopy(service=service, wire="w", cargo=self.cargo).perform(self.source),
            Receive(service=service, wire="w", cargo=self.cargo).perform(self.target),
        )

    async def last(self) -> tuple[Sent, Received]:
        """The last round, compared."""
        taking = Receive(service=ref(), wire="w", cargo=self.cargo, last=True)
        done = await both(self.send(), taking.perform(self.target))
        await compare_received(self.target)
        return done

    async def send(self, stop: Callable[[], None] = lambda: None) -> Sent:
        """The source's part of it; `stop` is what happens between the preparation and the end."""
        async with LastSend(self.cargo, self.source, "w") as last:
            await asyncio.sleep(0.01)
            stop()
            return await last.send()


async def both(one: Awaitable[One], other: Awaitable[Other]) -> tuple[One, Other]:
    """Both at once; the first error ends the other one."""
    first, second = asyncio.ensure_future(one), asyncio.ensure_future(other)
    try:
        async with asyncio.timeout(120):
            return await asyncio.gather(first, second)
    finally:
        first.cancel()
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        os.path.relpath(os.path.join(folder, name), root): Path(folder, name).read_bytes()
        for folder, _, names in os.walk(root)
        for name in names
        if Path(folder, name).is_file() and not Path(folder, name).is_symlink()
    }
