"""Bringing data back: fetched beside the live data, exchanged, and exchanged back on demand."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.operations.base import Files, Operation
from composia.strategies import AnyRestoreStrategy
from composia.strategies.base import Site, Wanted


class ItemToRestore(BaseModel):
    model_config = ConfigDict(frozen=True)

    wanted: Wanted
    strategy: AnyRestoreStrategy


class DataFetched(BaseModel):
    """What lies ready; the agent keeps the details under the task's id."""

    model_config = ConfigDict(frozen=True)

    #: Bytes and files fetched, and remarks for people.
    size: int
    files: int
    warnings: tuple[str, ...] = ()
    #: For a restore to scratch: the folder on the node where it lies.
    folder: str | None = None


class FetchData(Operation[DataFetched]):
    """Find the snapshots, fetch them whole and check them, beside the live data or to scratch."""

    op: Literal["fetch_data"] = "fetch_data"
    items: tuple[ItemToRestore, ...]
    #: Only this path of the item, for a single file or folder.
    path: str | None = None
    to: Literal["in_place", "scratch"] = "in_place"

    files: ClassVar[Files] = Files.IF_ABSENT
    result: ClassVar[type[BaseModel]] = DataFetched

    async def perform(self, site: Site) -> DataFetched:
        raise NotImplementedError


class DataExchanged(BaseModel):
    model_config = ConfigDict(frozen=True)

    #: What was exchanged, as the user knows it.
    exchanged: tuple[str, ...]
    #: Seconds in which the containers that mount it were stopped.
    downtime_seconds: float
    #: False where nothing ran before: then nothing was started.
    started: bool


class ExchangeData(Operation[DataExchanged]):
    """Stop what mounts the paths, exchange, start again; the replaced data is kept for 24 h."""

    op: Literal["exchange_data"] = "exchange_data"

    result: ClassVar[type[BaseModel]] = DataExchanged

    async def perform(self, site: Site) -> DataExchanged:
        raise NotImplementedError


class ExchangeBack(Operation[DataExchanged]):
    """Bring back what a restore replaced, by the same exchange."""

    op: Literal["exchange_back"] = "exchange_back"
    #: The restore's task.
    of_task: str

    result: ClassVar[type[BaseModel]] = DataExchanged

    async def perform(self, site: Site) -> DataExchanged:
        raise NotImplementedError
