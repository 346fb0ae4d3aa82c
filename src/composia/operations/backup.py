"""Saving the data items of a service on a node."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Told
from composia.operations.base import Operation
from composia.strategies import AnyBackupStrategy
from composia.strategies.base import Saved, Site


class ItemToSave(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    backup_id: str
    strategy: AnyBackupStrategy


class ItemSaved(BaseModel):
    """How one item ended: exactly one of saved and error. `manifest` has gone its own way by then."""

    model_config = ConfigDict(frozen=True)

    name: str
    backup_id: str
    started_at: datetime
    duration: float
    saved: Saved | None = None
    error: Told | None = None


class DataSaved(BaseModel):
    model_config = ConfigDict(frozen=True)

    items: tuple[ItemSaved, ...]


class SaveData(Operation[DataSaved]):
    """Save the items: live ones first, then the service stops once around all that need it.

    One item's failure does not keep the others from being saved. `leave_stopped` is for a move.
    """

    op: Literal["save_data"] = "save_data"
    items: tuple[ItemToSave, ...]

    result: ClassVar[type[BaseModel]] = DataSaved

    async def perform(self, site: Site) -> DataSaved:
        raise NotImplementedError
