"""A backup that fails in a task, a controller that dies, and what people hear of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from composia.controller.asking import Question
from composia.controller.notify import Notifier
from composia.errors import CommandFailed
from tests.twins.notify import PHONE, START, MemoryCourier, MemoryWorld
from tests.workflow.office import Office, backup


async def fails(question: Question) -> dict[str, Any]:
    raise CommandFailed("no space left", hint="Free some.")


async def test_a_failure_is_told_by_the_controller_that_comes_after(office: Office) -> None:
    office.nodes.on("open_repository", fails)
    await office.ended((await office.submit(backup())).id)
    await office.restart()
    courier, now = MemoryCourier(), [START]
    notifier = Notifier(MemoryWorld(), office.store, courier, clock=lambda: now[0])

    for _ in range(3):
        await notifier.turn()
        await notifier.sent()
        now[0] += timedelta(minutes=1)

    [told] = courier.messages[PHONE]
    assert told.title == "Composia: Backup failed: uploads of my-app on main"
    assert "no space left" in told.body
    await notifier.aclose()
