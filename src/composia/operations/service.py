"""Deploying, stopping and restarting a service on a node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError, Conflict, Failure
from composia.operations import fence, fragments
from composia.operations.base import Files, Nothing, Operation
from composia.operations.bringing_up import bring_up, run_again
from composia.operations.project import containers_of, refuse_at_work
from composia.operations.stopped import (
    Stopped,
    ending_stop,
    forget_stopped,
    hold_on,
    keep_stopped,
    read_stopped,
)
from composia.operations.stopping import (
    let_stop,
    note_stop,
    persistently,
    stop_once,
    wait_for_engine,
)
from composia.operations.turns import turn_of
from composia.strategies.base import Site
from composia.tools.cancelling import to_the_end
from composia.tools.compose import explained
from composia.tools.containers import ContainerInfo

#: Seconds in which a container that was started shows that it cannot run.
FIRST_MOMENT = 0.5
POLL = 0.1


class Deployed(BaseModel):
    """What a deploy found to do."""

    model_config = ConfigDict(frozen=True)

    changed: bool
    #: Remarks for people.
    warnings: tuple[str, ...] = ()


class Deploy(Operation[Deployed]):
    """Bring the files to the revision and the containers to the files; a no-op where both are."""

    op: Literal["deploy"] = "deploy"
    #: Pull newer images first.
    pull: bool = False
    #: Compose services that are made and not started: they run when they are needed.
    on_demand: tuple[str, ...] = ()

    files: ClassVar[Files] = Files.UPDATE
    shown: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = Deployed

    async def perform(self, site: Site) -> Deployed:
        before = await containers_of(site)
        await fence.pass_by(site, self.epoch)
        if self.pull:
            site.notes.log(f"Pulling the images of {site.service}")
            await site.compose.pull()
        async with ending_stop(site):
            await bring_up(partial(self._up, site), site)
        after = await containers_of(site)
        if started := _started(before, after):
            await _refuse_what_died(started, site)
        placed = await fragments.settle(site, self.caddy, started=bool(started))
        return Deployed(
            changed=site.files_changed
            or _made(before) != _made(after)
            or bool(started)
            or placed.changed,
            warnings=placed.warnings,
        )

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Start what ran before; what was stopped by us was not started yet: the stop holds on."""
        await run_again(site, notes)
        await hold_on(site, notes)

    async def _up(self, site: Site) -> None:
        if not self.on_demand:
            await site.compose.up()
            return
        await site.compose.create()
        if others := [name for name in await _services(site) if name not in self.on_demand]:
            await site.compose.up(*others)


class Stop(Operation[Nothing]):
    """`compose stop`: containers and anonymous volumes stay, and it stays stopped (promise 6)."""

    op: Literal["stop"] = "stop"

    shown: ClassVar[bool] = True

    async def perform(self, site: Site) -> Nothing:
        async with turn_of(await containers_of(site), site):
            await self._perform(site)
        return Nothing()

    async def _perform(self, site: Site) -> None:
        before = read_stopped(site.state)
        there = await containers_of(site)
        stopped = (before or Stopped()).joined_by(there)
        await site.notes.note("stop", held_before=before is not None)
        keep_stopped(site.state, stopped)
        try:
            await _stop(stopped, site)
        except BaseException:
            if before is None:
                await to_the_end(_undo(stopped, site))
            elif before.proven and not any(one.at_work and not one.is_one_off for one in there):
                keep_stopped(site.state, stopped.model_copy(update={"proven": True}))
            raise

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Go on to the new state: it was to be stopped, and half of it may be.

        Where that fails it is as it was before, as after `perform`.
        """
        if before := read_stopped(site.state):
            stopped = before.joined_by(await containers_of(site))
            keep_stopped(site.state, stopped)
            await let_stop(site, notes)
            try:
                await persistently(_stop, stopped, site)
            except ComposiaError:
                if notes.get("stop", {}).get("held_before") is False:
                    await to_the_end(_undo(stopped, site))
                raise


class Restart(Operation[Nothing]):
    """Stop and start the same containers."""

    op: Literal["restart"] = "restart"

    shown: ClassVar[bool] = True

    async def perform(self, site: Site) -> Nothing:
        before = await containers_of(site)
        await fence.pass_by(site, self.epoch)
        again = _to_restart(before, read_stopped(site.state))
        if not again:
            raise Conflict(
                f"{site.service} has no containers on {site.node} to restart",
                hint=f"Deploy it: composia deploy {site.service}",
            )
        at_work = [one for one in again if one.at_work]
        ran = [one.id for one in at_work]
        await site.notes.note("restarting", containers=ran)
        await note_stop(at_work, site)
        await self._restart(again, ran, site)
        await _refuse_what_died(_started(before, await containers_of(site)), site)
        return Nothing()

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Start what ran before and was stopped for the restart."""
        if "restarting" in notes:
            await let_stop(site, notes)
            await _start_again(notes["restarting"]["containers"], site)
        await hold_on(site, notes)

    async def _restart(
        self, again: Sequence[ContainerInfo], ran: Sequence[str], site: Site
    ) -> None:
        async with ending_stop(site):
            try:
                await to_the_end(_restart(again, site), lambda: _say_restarting(again, site))
            except BaseException:
                await to_the_end(_start_again(ran, site))
                raise


async def _restart(again: Iterable[ContainerInfo], site: Site) -> None:
    """What compose does not know, for its files have it no more, is left running, or started."""
    known = (await site.compose.config()).services
    if services := sorted({one.compose_service for one in again} & known.keys()):
        await site.compose.restart(*services)
    await site.docker.start([one.id for one in again if one.compose_service not in known])


def _say_restarting(again: Iterable[ContainerInfo], site: Site) -> None:
    names = ", ".join(one.name for one in again)
    site.notes.log(f"Waiting for {names} to be restarted: what was stopped is to run again")


def _to_restart(there: Iterable[ContainerInfo], stopped: Stopped | None) -> list[ContainerInfo]:
    """What runs, or else what ran when it was stopped: not what has done its work and ended."""
    own = [one for one in there if not one.is_one_off and one.state != "created"]
    ran = {one.id for one in stopped.containers if one.ran} if stopped else set()
    return [one for one in own if one.at_work or one.id in ran] or own


async def _stop(stopped: Stopped, site: Site) -> None:
    # Files that compose refuses are told at once: after a stop that fails the engine is waited for.
    await site.compose.config()
    # The policies first: an engine that restarts starts what has one, stopped or not.
    armed = [one.id for one in stopped.containers if one.policy != "no"]
    there = await containers_of(site)
    present = {one.id for one in there}
    await site.docker.set_restart_policy([one for one in armed if one in present], "no")
    running = [one for one in there if one.at_work and not one.is_one_off]
    await stop_once(site.compose.stop, running, site)
    # Compose stops what its files have: not what they had once, nor what is behind a profile.
    if left := _passed_over(running, await containers_of(site)):
        await stop_once(partial(site.docker.stop, [one.id for one in left]), left, site)
    # Without one-offs: compose stops none, and what somebody has begun by hand ends by itself.
    refuse_at_work([one for one in await containers_of(site) if not one.is_one_off], site)
    keep_stopped(site.state, stopped.model_copy(update={"proven": True}))


def _passed_over(
    asked: Iterable[ContainerInfo], there: Iterable[ContainerInfo]
) -> list[ContainerInfo]:
    """What runs as it did before a stop that has ended well: nobody has asked it."""
    before = {one.id: one.started_at for one in asked}
    return [one for one in there if one.at_work and before.get(one.id) == one.started_at]


async def _undo(stopped: Stopped, site: Site) -> None:
    """As it was before a stop that failed."""
    await wait_for_engine(site)
    await stopped.give_back_policies(site, await containers_of(site))
    await _start_again([one.id for one in stopped.containers if one.ran], site)
    forget_stopped(site.state)


async def _start_again(ids: Iterable[str], site: Site) -> None:
    down = {one.id for one in await containers_of(site) if not one.at_work}
    await site.docker.start([one for one in ids if one in down])


async def _services(site: Site) -> list[str]:
    """The compose services that `up` would start."""
    finished = await site.compose.shell.run(
        site.compose.command("config", "--services"), check=False
    )
    if finished.code != 0:
        raise explained(f"docker compose config of {site.compose.project}", finished)
    return finished.stdout.decode().split()


def _made(containers: Iterable[ContainerInfo]) -> set[str]:
    return {one.id for one in containers if not one.is_one_off}


def _started(
    before: Iterable[ContainerInfo], after: Iterable[ContainerInfo]
) -> list[ContainerInfo]:
    """The containers that have been started in between."""
    then = {one.id: one.started_at for one in before}
    return [
        one
        for one in after
        if not one.is_one_off and one.state != "created" and then.get(one.id) != one.started_at
    ]


async def _refuse_what_died(started: Sequence[ContainerInfo], site: Site) -> None:
    """Watch for a moment whether they live; one that has done its work and ended well may end."""
    ids = {one.id for one in started}
    end = asyncio.get_running_loop().time() + FIRST_MOMENT
    while ids:
        now = [one for one in await containers_of(site) if one.id in ids]
        dead = [one for one in now if one.state in ("restarting", "dead") or one.exit_code]
        if dead:
            raise Failure(
                "; ".join(_how(one) for one in dead),
                hint=f"Look at its log on {site.node}: docker logs {dead[0].name}",
            )
        if asyncio.get_running_loop().time() > end:
            return
        await asyncio.sleep(POLL)


def _how(container: ContainerInfo) -> str:
    if container.state == "restarting":
        return f"container {container.name} ends and is started again and again"
    return f"container {container.name} ended with code {container.exit_code} after its start"
