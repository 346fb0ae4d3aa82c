from __future__ import annotations

from composia.controller.events import UNREAD, Event, Events


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
