from __future__ import annotations

import asyncio
import threading

import pytest

from composia.tools.cancelling import to_the_end
from composia.tools.threads import in_thread
from tests.twins.slow import Slow, cancelled_twice_while
from tests.waiting import until


class Work:
    def __init__(self) -> None:
        self.is_done = False
        self.breaks = False

    async def perform(self) -> str:
        if self.breaks:
            raise ZeroDivisionError
        self.is_done = True
        return "done"


@pytest.fixture
def work() -> Work:
    return Work()


async def test_work_whose_caller_is_not_cancelled_has_its_result(work: Work) -> None:
    assert await to_the_end(work.perform()) == "done"


async def test_work_comes_to_its_end_however_often_its_caller_is_cancelled(work: Work) -> None:
    slow = Slow(work, "perform")
    task = asyncio.create_task(to_the_end(work.perform()))
    await cancelled_twice_while(slow, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.is_done


async def test_whoever_cancels_is_told_once_that_it_goes_on(work: Work) -> None:
    slow, told = Slow(work, "perform"), list[str]()
    task = asyncio.create_task(to_the_end(work.perform(), lambda: told.append("it goes on")))
    await cancelled_twice_while(slow, task)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["it goes on"]


async def test_what_goes_wrong_with_it_is_told_all_the_same(work: Work) -> None:
    work.breaks = True
    slow = Slow(work, "perform")
    task = asyncio.create_task(to_the_end(work.perform()))
    await cancelled_twice_while(slow, task)
    with pytest.raises(ZeroDivisionError):
        await task


async def test_a_thread_is_waited_for_however_often_its_caller_is_cancelled() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)

    task = asyncio.create_task(in_thread(work))
    await until(begun.is_set)
    for _ in range(2):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
