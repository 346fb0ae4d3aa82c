"""A restore whose node was given up may have replaced the data: that can be had back."""

from __future__ import annotations

import asyncio
from typing import Any

from composia.controller.asking import Question
from composia.errors import CommandFailed, Conflict
from composia.model.task import Status, Task
from composia.operations.restore import ItemToRestore
from composia.strategies.base import Wanted
from composia.strategies.files_copy import FilesCopyBack
from composia.workflows.restore import RestorePlan, RollbackPlan
from tests.waiting import until
from tests.workflow.office import Office, backup, ref

FETCHED = {"size": 5, "files": 1}
EXCHANGED = {"exchanged": ["./data"], "downtime_seconds": 0.2, "started": True}


def restore() -> RestorePlan:
    wanted = Wanted(item="uploads", backup_id="b", snapshot_id="s", saved_by="files.copy")
    item = ItemToRestore(wanted=wanted, strategy=FilesCopyBack(include=("./data",)))
    return RestorePlan(service=ref(), repository=backup().repository, node="main", items=(item,))


async def opens(question: Question) -> dict[str, Any]:
    return {"repository_id": "ab" * 32, "made": False}


async def fetches(question: Question) -> dict[str, Any]:
    return FETCHED


async def exchanges(question: Question) -> dict[str, Any]:
    return EXCHANGED


async def given_up(office: Office) -> Task:
    """A restore whose node was cut off in the exchange, and given up."""
    cut, over = asyncio.Event(), asyncio.Event()

    async def exchanges_out_of_sight(question: Question) -> dict[str, Any]:
        await office.nodes.disconnect("main")
        cut.set()
        await over.wait()
        return EXCHANGED

    office.nodes.on("open_repository", opens)
    office.nodes.on("fetch_data", fetches)
    office.nodes.on("exchange_data", exchanges_out_of_sight)
    task = (await office.submit(restore())).id
    await cut.wait()
    await office.runner.cancel(task)
    await until(lambda: _can_be_given_up(office, task))
    await office.runner.abandon(task)
    over.set()
    return await office.ended(task)


async def _can_be_given_up(office: Office, task: str) -> bool:
    return (await office.task(task)).actions == ("abandon",)


async def test_an_abandoned_restore_can_be_rolled_back(office: Office) -> None:
    task = await given_up(office)
    assert (task.status, task.actions) == (Status.CANCELLED, ("retry", "rollback"))

    await office.nodes.connect("main")
    office.nodes.on("exchange_back", exchanges)
    back = await office.submit(RollbackPlan(service=ref(), node="main", of_task=task.id))

    assert (await office.ended(back.id)).status is Status.SUCCEEDED


async def test_it_can_be_still_when_another_attempt_was_refused(office: Office) -> None:
    async def refuses(question: Question) -> dict[str, Any]:
        raise Conflict("it has put its data in place already")

    task = await given_up(office)
    await office.nodes.connect("main")
    office.nodes.on("fetch_data", refuses)
    await office.runner.retry(task.id)

    again = await office.ended(task.id)

    assert (again.status, again.actions) == (Status.FAILED, ("retry", "rollback"))


async def test_a_restore_that_failed_before_the_exchange_has_nothing_to_roll_back(
    office: Office,
) -> None:
    async def fails(question: Question) -> dict[str, Any]:
        raise CommandFailed("the snapshot is not there")

    office.nodes.on("open_repository", opens)
    office.nodes.on("fetch_data", fails)

    task = await office.ended((await office.submit(restore())).id)

    assert (task.status, task.actions) == (Status.FAILED, ("retry",))
