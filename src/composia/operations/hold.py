"""A stop of ours that holds: promise 6."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from composia.errors import Failure
from composia.operations.held import Held, Kept, idle, in_order, to_keep, to_start_again
from composia.operations.project import containers_of, refuse_at_work
from composia.operations.stopping import POLL, let_stop, persistently, stop_once
from composia.strategies.base import Site
from composia.tools.cancelling import to_the_end
from composia.tools.containers import ContainerInfo

Work = Callable[[Sequence[Kept], Site], Awaitable[Any]]


class NotStartedAgain(Failure):
    """What a hold has stopped did not start again; its context is what had failed before."""


class NotPutBack(Failure):
    """What a hold was for is neither done nor undone: old data and new lie side by side."""


class Holding:
    """A hold at work. More can be added to it."""

    def __init__(self, note: Held, site: Site) -> None:
        self.note = note
        self._site = site

    async def also(self, more: Sequence[ContainerInfo]) -> None:
        """Stop these as well, whatever they are; they start again with the others.

        But for those that a stop ends for good. Raises Failure where one does not stop.
        """
        site, kept = self._site, to_start_again(more)
        # By what was noted first: since then the policy of one is ours.
        every = {one.id: one for one in (*kept, *self.note.containers)}
        self.note = self.note.model_copy(update={"containers": tuple(every.values())})
        await _note(self.note, site)
        await _stop(Held(hold=self.note.hold, containers=kept), site)
        if for_good := [one for one in more if one.id not in every]:
            stop = partial(site.docker.stop, [one.id for one in for_good])
            await stop_once(stop, for_good, site)
        if up := [one.name for one in await _there(site, [one.id for one in more]) if one.at_work]:
            raise Failure(f"{', '.join(up)} did not stop")


@asynccontextmanager
async def held(site: Site, containers: Collection[str] | None = None) -> AsyncIterator[Holding]:
    """Stop the project's running containers (or those given by id), whatever might start them.

    First the policies are noted (`site.notes.note("held", ...)`), then set to `no`, then the
    containers stop, and each is seen to have exited. On leaving, exactly those that ran start
    again with their policies. Raises Failure on leaving when a container has started meanwhile:
    what was done under the hold does not count. NotStartedAgain instead where they did not start.
    Where NotPutBack is raised under the hold nothing starts: it would do so on a mixture.
    """
    there = await _there(site, containers)
    holding = Holding(Held(hold=secrets.token_hex(8), containers=to_keep(there, site)), site)
    await _note(holding.note, site)
    end = _end
    try:
        await _stop(holding.note, site)
        there = await _there(site, containers)
        refuse_at_work(there, site)
        before = _starts(there)
        yield holding
        _refuse_started(before, _starts(await _there(site, containers)), site)
    except NotPutBack:
        end = _leave
        raise
    finally:
        await to_the_end(end(holding.note, site))


async def to_leave_stopped(site: Site) -> Held:
    """Note what a stop of the whole project is about, which is left so: also what does not run."""
    there = await _there(site, None)
    running = to_keep(there, site)
    note = Held(hold=secrets.token_hex(8), containers=running, idle=idle(there))
    await _note(note, site)
    return note


async def leave_stopped(note: Held, site: Site) -> None:
    """Stop what is noted as `held` does, and leave it so until `start_again`.

    Raises Failure where something did not stop.
    """
    await _stop(note, site)
    refuse_at_work(await _there(site, None), site)


async def start_again(note: Held, site: Site) -> None:
    """Start exactly what a hold has stopped, with its policies. Raises NotStartedAgain."""
    await to_the_end(_end(note, site))


async def prove_stopped(site: Site, since: Mapping[str, str]) -> None:
    """Raise Failure where a container of the project runs, or has run since `starts` was asked."""
    there = await _there(site, None)
    refuse_at_work(there, site)
    _refuse_started(since, _starts(there), site)


async def starts(site: Site) -> dict[str, str]:
    """When each container of the project was started last."""
    return _starts(await _there(site, None))


async def release(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """Start again what a `held` note names; harmless when there is none, or it was released.

    Waits for an engine that is away. Raises NotStartedAgain, when all was tried.
    """
    if holding := left_by_a_crash(site, notes):
        await let_stop(site, notes)
        await to_the_end(_end(holding.note, site))


def left_by_a_crash(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> Holding | None:
    """The hold that the notes tell of; None where there is none, or it was released."""
    if "held" not in notes:
        return None
    note = Held.model_validate(notes["held"], strict=False)
    return None if notes.get("released", {}).get("hold") == note.hold else Holding(note, site)


async def leave(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """Leave what a `held` note names as it is, stopped; nobody starts it but a person."""
    if "held" in notes:
        await to_the_end(_leave(Held.model_validate(notes["held"], strict=False), site))


async def _note(note: Held, site: Site) -> None:
    await site.notes.note("held", **note.model_dump(mode="json"))


async def _there(site: Site, chosen: Collection[str] | None) -> Sequence[ContainerInfo]:
    """The containers that the hold is about, running or not.

    Somebody else's one-off is among them: it may write to what is being saved.
    """
    if chosen is None:
        return [one for one in await containers_of(site) if not _is_ours(one)]
    return [one for one in await site.docker.containers() if one.id in chosen]


def _is_ours(container: ContainerInfo) -> bool:
    # The repository's own service is backed up by a container of that service: it is to go on.
    return container.is_one_off and container.name.startswith("composia-")


async def _stop(note: Held, site: Site) -> None:
    if note.containers:
        site.notes.log(f"Stopping {', '.join(one.name for one in note.containers)}")
    # Before the stop: an engine that restarts starts what has a policy, stopped or not.
    if ids := [one.id for one in (*note.containers, *note.idle)]:
        await site.docker.set_restart_policy(ids, "no")
    for together in reversed(in_order(note.containers)):
        ids = [one.id for one in together]
        await stop_once(partial(site.docker.stop, ids), together, site)


def _starts(containers: Iterable[ContainerInfo]) -> dict[str, str]:
    """When each was started last, by a name for people where it counts."""
    return {one.name: f"{one.id} {one.started_at}" for one in containers}


def _refuse_started(before: Mapping[str, str], after: Mapping[str, str], site: Site) -> None:
    started = sorted(name for name, start in after.items() if before.get(name) != start)
    started += sorted(before.keys() - after.keys())
    if started:
        raise Failure(
            f"{', '.join(started)} of {site.service} did not stay as it was while the service was"
            " held: what was saved or changed meanwhile does not count",
            hint="Something else starts or removes its containers. End that, then try again.",
        )


async def _end(note: Held, site: Site) -> None:
    """Bring back policies and containers; what cannot be brought back is named at the end."""
    failed: dict[str, Failure] = {}
    for together in in_order(note.containers):
        await _wait_for_health(together, note, site)
        failed |= await _by_ones(_start_once, together, site)
    if note.idle:
        failed |= await _by_ones(give_back_policies, note.idle, site)
    if failed:
        reasons = "; ".join(f"{name}: {error.message}" for name, error in failed.items())
        raise NotStartedAgain(
            f"{site.service} was stopped and could not be started again: {reasons}",
            hint=f"Mend it, then: composia deploy {site.service}",
        )
    await site.notes.note("released", hold=note.hold)


async def _leave(note: Held, site: Site) -> None:
    """Start nothing; once a person has, it comes up with the engine as it did before."""
    # Docker starts no other policy's containers while they are stopped, whatever restarts.
    ids = [one.id for one in (*note.containers, *note.idle) if one.policy != "no"]
    with contextlib.suppress(Failure):
        await site.docker.set_restart_policy(ids, "unless-stopped")
    site.notes.log(f"{', '.join(one.name for one in note.containers)} stays stopped")
    await site.notes.note("released", hold=note.hold)


async def _by_ones(work: Work, together: Sequence[Kept], site: Site) -> dict[str, Failure]:
    """Do it to all at once, and where that fails one by one: one's failure hinders no other."""
    try:
        await persistently(work, together, site)
    except Failure as error:
        if len(together) == 1:
            return {together[0].name: error}
        failed: dict[str, Failure] = {}
        for one in together:
            failed |= await _by_ones(work, [one], site)
        return failed
    return {}


async def _start_once(together: Sequence[Kept], site: Site) -> None:
    # The policies first: if the engine dies between the two, it starts the containers itself.
    present = await give_back_policies(together, site)
    await site.docker.start([one.id for one in present])
    await _refuse_lost(together, site)


async def _refuse_lost(together: Sequence[Kept], site: Site) -> None:
    """Raise Failure where one was removed, and nothing was made in its place.

    By a `docker system prune`, which takes all that is stopped.
    """
    there = await site.docker.containers()
    known = {one.id for one in there} | {_place(one) for one in there if not one.is_one_off}
    if any(known.isdisjoint((one.id, _place(one))) for one in together):
        raise Failure("it was removed meanwhile")


def _place(one: Kept | ContainerInfo) -> tuple[str, str]:
    """What compose makes only once: the service of a project, or else a name."""
    return one.project, one.compose_service or one.name


async def give_back_policies(kept: Sequence[Kept], site: Site) -> Sequence[Kept]:
    """Let what is still there start by itself again as it did; answers what that is."""
    there = {container.id for container in await site.docker.containers()}
    for one in kept:
        if one.id not in there:
            site.notes.log(f"{one.name} was removed or made anew meanwhile; it is left as it is")
    present = [one for one in kept if one.id in there]
    await site.docker.set_restart_policies({one.id: one.policy for one in present})
    return present


async def _wait_for_health(together: Iterable[Kept], note: Held, site: Site) -> None:
    """Wait, as compose does, for what must be healthy before these start; not for what is ill."""
    needed = {(one.project, name) for one in together for name in one.healthy}
    ids = {one.id for one in note.containers if (one.project, one.compose_service) in needed}
    while ids & await _starting(site):  # noqa: ASYNC110  # the engine is asked
        await asyncio.sleep(POLL)


async def _starting(site: Site) -> set[str]:
    with contextlib.suppress(Failure):
        containers = await site.docker.containers()
        return {one.id for one in containers if one.state == "running" and one.health == "starting"}
    return set()
