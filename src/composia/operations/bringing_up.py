"""Bringing a service up with compose: whatever ends that, what ran before runs again.

Compose makes a new container beside the old one, stops and removes the old one, and starts nothing
before it has made all. Ended in the middle of that, it leaves down what it has not started yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Failure, Interrupted
from composia.operations.held import DEPENDS_ON, Kept, as_it_is, in_order
from composia.operations.project import containers_of
from composia.operations.stopping import persistently, wait_for_stop
from composia.operations.turns import turn_of
from composia.strategies.base import Site
from composia.tools.cancelling import until_done
from composia.tools.containers import ContainerInfo

#: Its note.
NOTE = "bringing_up"
#: Seconds between two looks at what compose does, and how many in a row must see nothing replaced
#: until it is taken not to be about to: from one container to the next it takes no second.
POLL = 0.1
QUIET = 10


class Before(BaseModel):
    """The note: what ran, and the ids of all that was there."""

    model_config = ConfigDict(frozen=True)

    ran: tuple[Kept, ...]
    there: tuple[str, ...]

    def is_new(self, container: ContainerInfo) -> bool:
        """Whether it was made since."""
        return container.id not in self.there


async def bring_up(up: Callable[[], Coroutine[Any, Any, None]], site: Site) -> None:
    """Have compose bring the service up, by `up`.

    Cancelled, it ends as soon as no container is being replaced, and raises Interrupted, which says
    what runs then. Whatever is raised, what ran before runs again, where it can.
    """
    there = await _without_leftovers(site)
    before = Before(ran=as_it_is(there).containers, there=tuple(one.id for one in there))
    await site.notes.note(NOTE, **before.model_dump(mode="json"))
    work = asyncio.ensure_future(up())
    cancelled = False
    try:
        await asyncio.wait([work])
    except asyncio.CancelledError:
        cancelled = True
    if not cancelled and work.exception() is None:
        return
    ending = asyncio.ensure_future(_end(work, before, site))
    await until_done(ending)
    if not work.cancelled():
        work.result()
    raise Interrupted(f"the deploy of {site.service} ended in the middle: {ending.result()}")


async def run_again(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """After a crash: start what ran before and was left down."""
    if NOTE in notes:
        before = Before.model_validate(notes[NOTE])
        await _run_again(before, site)
        site.notes.log(f"{site.service}: {await _how_it_is(before, site)}")


async def _without_leftovers(site: Site) -> Sequence[ContainerInfo]:
    """What is there, without what an ended compose has made beside an old one and never started.

    Compose would take its name for another one, and fail.
    """
    there = await containers_of(site)
    ids = [one.id for one in there]
    left = [one.id for one in there if one.state == "created" and _name_after(one, ids)]
    if not left:
        return there
    await site.compose.remove_unused(left)
    return [one for one in there if one.id not in left]


async def _name_again(before: Before, there: Iterable[ContainerInfo], site: Site) -> None:
    """Give what was made beside an old one that has gone the name of that."""
    for one in there:
        if before.is_new(one) and (name := _name_after(one, before.there)):
            await site.compose.rename(one.id, name)


def _name_after(container: ContainerInfo, old: Iterable[str]) -> str | None:
    """The name that one gets when one of these has gone, beside which compose has made it."""
    begins = [f"{one[:12]}_" for one in old]
    names = [container.name.removeprefix(one) for one in begins if container.name.startswith(one)]
    return names[0] if names else None


async def _end(work: asyncio.Future[None], before: Before, site: Site) -> str:
    """End compose; answers what runs then, and tells it where compose has failed by itself."""
    await _until_nothing_is_replaced(work, before, site)
    work.cancel()
    await asyncio.wait([work])
    await _run_again(before, site)
    how = await _how_it_is(before, site)
    if not work.cancelled() and work.exception():
        site.notes.log(f"{site.service}: {how}")
    return how


async def _until_nothing_is_replaced(
    work: asyncio.Future[None], before: Before, site: Site
) -> None:
    """Let compose finish what it has begun: what it leaves half replaced is in its own way later.

    Not its other work: to pull, to build and to wait for health take as long as they like.
    """
    quiet, said = 0, False
    while not work.done() and quiet < QUIET:
        names = await _replaced(before, site)
        quiet = 0 if names else quiet + 1
        if names and not said:
            site.notes.log(f"Waiting for compose, which replaces {', '.join(names)}")
            said = True
        await asyncio.wait([work], timeout=POLL)


async def _replaced(before: Before, site: Site) -> list[str]:
    """Names of what is being replaced; of all that ran where the engine does not tell."""
    try:
        there = await site.docker.containers(project=site.compose.project)
    except Failure:
        return [one.name for one in before.ran]
    return [one.name for one in _being_replaced(before, there)]


def _being_replaced(before: Before, there: Sequence[ContainerInfo]) -> list[ContainerInfo]:
    """The old ones beside which there is a new one already."""
    own = [one for one in there if not one.is_one_off]
    new = {_place(one) for one in own if before.is_new(one)}
    return [one for one in own if not before.is_new(one) and _place(one) in new]


def _place(container: ContainerInfo) -> tuple[str, str | None]:
    return container.compose_service, container.number


async def _run_again(before: Before, site: Site) -> None:
    """Start what ran before. What cannot be started is told: a deploy may be what it needs."""
    if not before.there:
        return
    try:
        if before.ran:
            # Somebody else may have stopped one meanwhile, and starts it himself.
            async with turn_of(before.ran, site):
                await persistently(_start_what_is_down, before, site)
        await _name_again(before, await _without_leftovers(site), site)
    except ComposiaError as error:
        site.notes.log(f"Not all that ran before could be started again: {error.message}")


async def _start_what_is_down(before: Before, site: Site) -> None:
    """Raises the first Failure when all that can be started was."""
    ran = {one.id: one.started_at for one in before.ran}
    stopping = _being_replaced(before, await containers_of(site))
    await wait_for_stop({one.id: ran[one.id] for one in stopping if one.id in ran}, site)
    failures = []
    for together in in_order(before.ran):
        try:
            down = _down(before, together, await containers_of(site))
            await site.docker.start(down)
        except Failure as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _down(before: Before, ran: Iterable[Kept], there: Collection[ContainerInfo]) -> list[str]:
    """What to start so that as many of each compose service run as did: the old ones first."""
    found = []
    for service, ids in _by_service(ran).items():
        own = [one for one in there if one.compose_service == service and not one.is_one_off]
        lacking = len(ids) - sum(one.at_work for one in own)
        resting = [one for one in own if not one.at_work]
        old = [one.id for one in resting if one.id in ids and not _is_done(one, own, before)]
        taken = {_place(one) for one in own if not before.is_new(one)}
        new = [
            one.id
            for one in resting
            if before.is_new(one) and _place(one) not in taken and not _waits_for_a_job(one, there)
        ]
        found += [*old, *new][: max(lacking, 0)]
    return found


def _is_done(container: ContainerInfo, own: Iterable[ContainerInfo], before: Before) -> bool:
    """Whether it is a job that has ended well by itself: compose was not about to replace it."""
    is_job = container.restart_policy == "no" or container.restart_policy.startswith("on-failure")
    replaced = {_place(one) for one in own if before.is_new(one)}
    return is_job and container.exit_code == 0 and _place(container) not in replaced


def _waits_for_a_job(container: ContainerInfo, there: Iterable[ContainerInfo]) -> bool:
    """Whether it is to start only after one that has not ended well: a change of its data, say."""
    told = [word.split(":") for word in container.labels.get(DEPENDS_ON, "").split(",")]
    jobs = {words[0] for words in told if "service_completed_successfully" in words[1:]}
    done = {one.compose_service for one in there if one.state == "exited" and not one.exit_code}
    return not jobs <= done


def _by_service(ran: Iterable[Kept]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one in ran:
        found.setdefault(one.compose_service, set()).add(one.id)
    return found


async def _how_it_is(before: Before, site: Site) -> str:
    """For a person: each compose service that runs, or did."""
    try:
        there = await containers_of(site)
    except ComposiaError:
        return "what runs of it is not known"
    at_work: dict[str, bool] = {}
    for one in there:
        if one.at_work and not one.is_one_off:
            new = before.is_new(one)
            at_work[one.compose_service] = at_work.get(one.compose_service, False) or new
    services = sorted({*at_work, *(one.compose_service for one in before.ran)})
    told = {None: "does not run", True: "runs anew", False: "runs as before"}
    return ", ".join(f"{one} {told[at_work.get(one)]}" for one in services) or "nothing runs"
