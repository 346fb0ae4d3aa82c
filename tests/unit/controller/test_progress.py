"""A step's progress while the store takes nothing."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from sqlalchemy.exc import OperationalError

from composia.controller.progress import StepQuestion
from composia.controller.store.steps import Place
from composia.model.task import StepProgress
from composia.operations.service import Deploy
from tests.waiting import until
from tests.workflow.office import ref

PLACE = Place(task="01A", attempt=1, name="deploy", node="main")


async def test_progress_is_shown_again_after_it_could_not_be_written_down() -> None:
    tried, kept = asyncio.Event(), list[StepProgress]()

    async def full(_place: Place, _progress: StepProgress) -> None:
        tried.set()
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    async def keeps(_place: Place, progress: StepProgress) -> None:
        kept.append(progress)

    async def nothing(*_: object) -> None:
        return

    store = SimpleNamespace(step_progress=full)
    parts = SimpleNamespace(store=store, show=nothing)
    question = StepQuestion("k", PLACE, Deploy(service=ref()), parts, nothing, sent=True)  # type: ignore[arg-type]
    question.progressed(StepProgress(bytes_done=1))
    await asyncio.wait_for(tried.wait(), 30)
    await until(lambda: question._recording is None)

    store.step_progress = keeps
    question.progressed(StepProgress(bytes_done=2))
    await until(lambda: bool(kept))

    assert [one.bytes_done for one in kept] == [2]
    await question.end()
