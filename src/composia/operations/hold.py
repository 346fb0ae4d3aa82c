"""A stop of ours that holds: promise 6."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict, Failure
from composia.operations.project import AT_WORK, SERVICE, containers_of, is_one_off
from composia.strategies.base import Site
from composia.tools.docker import ContainerInfo

#: Seconds between two looks at something that takes its time.
POLL = 0.1
#: Seconds between two tries to reach an engine that is away.
AWAY_POLL = 0.5
DEPENDS_ON = "com.docker.compose.depends_on"

Result = TypeVar("Result")


class NotStartedAgain(Failure):
    """What a hold has stopped did not start again; its context is what had failed before."""


class Kept(BaseModel):
    """A container that a hold has stopped, and what it was like."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    project: str
    compose_service: str
    policy: str
    #: Compose services to be started before it, those that must be healthy by then in `healthy`.
    after: tuple[str, ...]
    healthy: tuple[str, ...]


class Held(BaseModel):
    """The note of a hold: all that is needed to end it."""

    model_config = ConfigDict(frozen=True)

    hold: str
    containers: tuple[Kept, ...]


@asynccontextmanager
async def held(site: Site, containers: Collection[str] | None = None) -> AsyncIterator[None]:
    """Stop the project's running containers (or those given by id), whatever might start them.

    First the policies are noted (`site.notes.note("held", ...)`), then set to `no`, then the
    containers stop, and each is seen to have exited. On leaving, exactly those that ran start
    again with their policies. Raises Failure on leaving when a container has started meanwhile:
    what was done under the hold does not count. NotStartedAgain instead where they did not start.
    """
    there = await _there(site, containers)
    note = Held(hold=secrets.token_hex(8), containers=_to_keep(there, site))
    await site.notes.note("held", **note.model_dump(mode="json"))
    try:
        await _stop(note, site)
        there = await _there(site, containers)
        _refuse_at_work(there, site)
        before = _starts(there)
        yield
        _refuse_started(before, _starts(await _there(site, containers)), site)
    finally:
        await _uninterrupted(_end(note, site))


async def leave_stopped(site: Site) -> Held:
    """Stop the project as `held` does, and leave it so; `start_again` with the note ends it.

    Raises Failure where something did not stop; then, as after a cancellation, all runs again.
    """
    there = await _there(site, None)
    note = Held(hold=secrets.token_hex(8), containers=_to_keep(there, site))
    await site.notes.note("held", **note.model_dump(mode="json"))
    try:
        await _stop(note, site)
        _refuse_at_work(await _there(site, None), site)
    except BaseException:
        await start_again(note, site)
        raise
    return note


async def start_again(note: Held, site: Site) -> None:
    """Start exactly what a hold has stopped, with its policies. Raises NotStartedAgain."""
    await _uninterrupted(_end(note, site))


async def prove_stopped(site: Site, since: Mapping[str, str]) -> None:
    """Raise Failure where a container of the project runs, or has run since `starts` was asked."""
    there = await _there(site, None)
    _refuse_at_work(there, site)
    _refuse_started(since, _starts(there), site)


async def starts(site: Site) -> dict[str, str]:
    """When each container of the project was started last."""
    return _starts(await _there(site, None))


async def release(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """Start again what a `held` note names; harmless when there is none, or it was released.

    Waits for an engine that is away. Raises NotStartedAgain, when all was tried.
    """
    if "held" not in notes:
        return
    note = Held.model_validate(notes["held"], strict=False)
    if notes.get("released", {}).get("hold") != note.hold:
        await _uninterrupted(_end(note, site))


async def _there(site: Site, chosen: Collection[str] | None) -> Sequence[ContainerInfo]:
    """The containers that the hold is about, running or not."""
    if chosen is None:
        return [one for one in await containers_of(site) if not _is_ours(one)]
    return [one for one in await site.docker.containers() if one.id in chosen]


def _is_ours(container: ContainerInfo) -> bool:
    # The repository's own service is backed up by a container of that service.
    return is_one_off(container) and container.name.startswith("composia-")


def _to_keep(there: Iterable[ContainerInfo], site: Site) -> tuple[Kept, ...]:
    at_work = [container for container in there if container.state in AT_WORK]
    for container in at_work:
        if container.state == "paused":
            raise Conflict(
                f"container {container.name} of {site.service} is paused, so it cannot be stopped",
                hint=f"Wake it up (docker unpause {container.name}) or stop it, then try again.",
            )
        if is_one_off(container):
            raise Conflict(
                f"container {container.name} was started by `docker compose run`, and a stop would"
                " end it for good",
                hint="Wait until it has ended, then try again.",
            )
    return tuple(_kept(container) for container in at_work)


def _kept(container: ContainerInfo) -> Kept:
    # As compose writes it: `postgres:service_healthy:true,cache:service_started:false`.
    told = [word.split(":") for word in container.labels.get(DEPENDS_ON, "").split(",") if word]
    return Kept(
        id=container.id,
        name=container.name,
        project=container.labels.get("com.docker.compose.project", ""),
        compose_service=container.labels.get(SERVICE, ""),
        policy=container.restart_policy,
        after=tuple(words[0] for words in told),
        healthy=tuple(words[0] for words in told if "service_healthy" in words[1:]),
    )


def in_order(containers: Iterable[Kept]) -> list[list[Kept]]:
    """The containers in rounds: whatever one depends on is in a round before its own."""
    left, rounds = list(containers), list[list[Kept]]()
    while left:
        waiting = {(one.project, one.compose_service) for one in left}
        ready = [
            one for one in left if not any((one.project, name) in waiting for name in one.after)
        ]
        # Compose refuses circles; labels that somebody wrote may hold one.
        rounds.append(ready or left)
        left = [one for one in left if one not in rounds[-1]]
    return rounds


async def _stop(note: Held, site: Site) -> None:
    if not note.containers:
        return
    site.notes.log(f"Stopping {', '.join(one.name for one in note.containers)}")
    ids = [one.id for one in note.containers]
    # Before the stop: an engine that restarts starts what has a policy, stopped or not.
    await site.docker.set_restart_policy(ids, "no")
    for together in reversed(in_order(note.containers)):
        await site.docker.stop([one.id for one in together])


def _refuse_at_work(there: Iterable[ContainerInfo], site: Site) -> None:
    up = [one.name for one in there if one.state in AT_WORK]
    if up:
        raise Failure(
            f"{', '.join(up)} of {site.service} did not stop",
            hint="Something starts it again: a program that watches it, perhaps.",
        )


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
        failed |= await _start_round(together, site)
    await site.notes.note("released", hold=note.hold)
    if failed:
        reasons = "; ".join(f"{name}: {error.message}" for name, error in failed.items())
        raise NotStartedAgain(
            f"{site.service} was stopped and could not be started again: {reasons}",
            hint=f"Mend it, then: composia deploy {site.service}",
        )


async def _start_round(together: Sequence[Kept], site: Site) -> dict[str, Failure]:
    """Start them at once, and where that fails one by one: one's failure keeps no other down."""
    try:
        await _start(together, site)
    except Failure as error:
        if len(together) == 1:
            return {together[0].name: error}
        failed: dict[str, Failure] = {}
        for one in together:
            failed |= await _start_round([one], site)
        return failed
    return {}


async def _start(together: Sequence[Kept], site: Site) -> None:
    while True:
        try:
            return await _start_once(together, site)
        except Failure:
            if await _engine_answers(site):
                raise
        site.notes.log(f"Waiting for the Docker engine of {site.node} to start {site.service}")
        await wait_for_engine(site)


async def _start_once(together: Sequence[Kept], site: Site) -> None:
    there = {container.id for container in await site.docker.containers()}
    for one in together:
        if one.id not in there:
            site.notes.log(f"{one.name} was removed or made anew meanwhile; it is left as it is")
    # The policies first: if the engine dies between the two, it starts the containers itself.
    for policy in sorted({one.policy for one in together}):
        ids = [one.id for one in together if one.policy == policy and one.id in there]
        await site.docker.set_restart_policy(ids, policy)
    await site.docker.start([one.id for one in together if one.id in there])


async def wait_for_engine(site: Site) -> None:
    """Wait until the engine of this node answers."""
    while not await _engine_answers(site):  # noqa: ASYNC110  # nobody tells when it is back
        await asyncio.sleep(AWAY_POLL)


async def _engine_answers(site: Site) -> bool:
    return (await site.docker.versions())[0] is not None


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


async def _uninterrupted(work: Coroutine[Any, Any, Result]) -> Result:
    """Finish the work whatever happens to the caller; a cancellation takes effect afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled and not task.exception():
        raise cancelled
    return task.result()
