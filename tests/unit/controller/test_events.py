from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from composia.controller.events import UNREAD, Event, Events
from composia.controller.parts import Parts


async def test_everybody_who_listens_hears_it() -> None:
    events = Events()
    async with events.subscribe() as one, events.subscribe() as other:
        events.publish(Event("task", "my-app", {"id": "01"}))

        heard = [await anext(one), await anext(other)]

    assert [event.data["id"] for event in heard] == ["01", "01"]
    assert not events.heard


async def test_whoever_does_not_read_loses_the_oldest() -> None:
    events = Events()
    async with events.subscribe() as slow:
        for number in range(UNREAD + 1):
            events.publish(Event("task", None, {"id": number}))

        first = await anext(slow)

    assert first.data["id"] == 1


async def test_a_mark_tells_whether_something_was_missed() -> None:
    events, after_a_start = Events(), Events()
    marks = [events.mark, events.mark]
    events.publish(Event("task", "my-app", {"id": "01"}))
    marks.append(events.mark)
    events.changed()
    marks.append(events.mark)

    assert len(set(marks)) == 3
    assert after_a_start.mark not in marks


async def test_a_step_is_looked_up_only_for_somebody_who_watches() -> None:
    events, asked = Events(), list[str]()

    async def task(id_: str) -> None:
        asked.append(id_)

    nothing: Any = None
    store: Any = SimpleNamespace(task=task)
    parts = Parts(store, nothing, nothing, nothing, events)
    async with events.subscribe(closely=False):
        before = events.mark
        await parts.show("01")
        assert (asked, events.mark != before) == ([], True)
        await parts.tell("02")
        assert asked == ["02"]
        async with events.subscribe():
            await parts.show("03")
    assert asked == ["02", "03"]
    assert not events.watched
