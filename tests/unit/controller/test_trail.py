"""The audit trail while the store takes nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy.exc import OperationalError

from composia.controller.store.audit import Use
from composia.controller.trail import Trail


class Disk:
    """What stands for the store: full at first."""

    def __init__(self) -> None:
        self.full = True
        self.kept: list[Use] = []

    async def note_uses(self, uses: Sequence[Use]) -> None:
        if self.full:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))
        self.kept += uses


async def test_a_use_that_could_not_be_written_down_is_written_later() -> None:
    disk = Disk()
    trail = Trail(disk)  # type: ignore[arg-type]
    trail.note(first := a_use("/api/v1/services"))
    with pytest.raises(OperationalError):
        await trail.flush()
    trail.note(second := a_use("/api/v1/tasks"))

    disk.full = False
    await trail.flush()

    assert disk.kept == [first, second]


def a_use(path: str) -> Use:
    return Use(time="2026-11-29T12:00:00Z", token="me", method="GET", path=path, status=200)
