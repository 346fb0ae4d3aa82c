"""Nodes that save what they are asked to, as plans see it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from composia.errors import Told
from composia.operations.backup import DataSaved, ItemSaved, SaveData
from composia.operations.base import Operation
from composia.operations.repository import RepositoryOpened
from composia.strategies.base import Saved
from composia.tools.rustic import Snapshot
from tests.twins.office import REPOSITORY, SNAPSHOT
from tests.twins.run import Answer

BEGAN = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


def saved(unread: tuple[str, ...] = (), changed: tuple[str, ...] = ()) -> Saved:
    snapshot = Snapshot(id=SNAPSHOT, size=5, added=3, files=2, duration=1.0)
    return Saved(snapshot=snapshot, unread=unread, changed=changed)


def node(
    item: Callable[[str], Saved | Told] = lambda name: saved(),
    *,
    made: bool = False,
    problem: Told | None = None,
) -> Callable[[str, Operation[Any]], Answer]:
    """A node that saves each item so."""

    def answer(node: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, SaveData):
            return DataSaved(
                items=tuple(_item(one.name, one.backup_id, item) for one in operation.items),
                problem=problem,
            )
        return RepositoryOpened(repository_id=REPOSITORY, made=made)

    return answer


def _item(name: str, backup: str, how: Callable[[str], Saved | Told]) -> ItemSaved:
    ended = how(name)
    common: dict[str, Any] = {
        "name": name, "backup_id": backup, "started_at": BEGAN, "duration": 1.5,
    }  # fmt: skip
    if isinstance(ended, Told):
        return ItemSaved(**common, error=ended)
    return ItemSaved(**common, saved=ended)
