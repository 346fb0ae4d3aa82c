"""A stop of ours that lasts: what was stopped, on the disk until it is started again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from composia.errors import ComposiaError
from composia.operations.project import containers_of
from composia.strategies.base import Site
from composia.tools import durable
from composia.tools.cancelling import to_the_end
from composia.tools.containers import ContainerInfo

FILE = "stopped.json"


class StoppedContainer(BaseModel):
    """A container that must not start by itself, and what it had been told to do."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    policy: str
    ran: bool


class Stopped(BaseModel):
    """Why a service does not run: somebody stopped it through us."""

    model_config = ConfigDict(frozen=True)

    containers: tuple[StoppedContainer, ...] = ()
    #: Whether all were seen to have stopped; until then they are only to.
    proven: bool = True

    def joined_by(self, there: Iterable[ContainerInfo]) -> Stopped:
        """What is to stop now: what is there; what was known keeps its policy of then."""
        known = {one.id: one for one in self.containers}
        now = [known.get(one.id) or _as_it_is(one) for one in there if not one.is_one_off]
        return Stopped(containers=tuple(now), proven=False)

    async def give_back_policies(self, site: Site, there: Sequence[ContainerInfo]) -> None:
        """Let the containers that are still there start by themselves again as they did."""
        present = {one.id for one in there}
        kept = [one for one in self.containers if one.id in present and one.policy != "no"]
        await site.docker.set_restart_policies({one.id: one.policy for one in kept})


@asynccontextmanager
async def ending_stop(site: Site) -> AsyncIterator[None]:
    """Start a service in here that may be stopped by us; where that fails, the stop holds on.

    The policies are given back first: what ends at its first start is started again by its own.
    """
    stopped = read_stopped(site.state)
    try:
        if stopped:
            await site.notes.note("ending_stop")
            # From here on it may run, also behind an engine that dies.
            keep_stopped(site.state, stopped.model_copy(update={"proven": False}))
            await stopped.give_back_policies(site, await containers_of(site))
        yield
    except BaseException:
        if stopped:
            await to_the_end(_hold_on(stopped, site))
        raise
    forget_stopped(site.state)


async def hold_on(site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
    """After a crash: what was about to be started does not start by itself."""
    stopped = read_stopped(site.state)
    if stopped and "ending_stop" in notes:
        await _hold_on(stopped, site)


async def _hold_on(stopped: Stopped, site: Site) -> None:
    """What has come up is left as it is; of the rest an engine that restarts starts nothing.

    What was made meanwhile belongs to the stop too. Where all of it is down that is proven again.
    """
    try:
        own = [one for one in await containers_of(site) if not one.is_one_off]
        stopped = stopped.joined_by(own)
        keep_stopped(site.state, stopped)
        down = [one.id for one in own if not one.at_work]
        await site.docker.set_restart_policy(down, "no")
        if len(down) == len(own):
            keep_stopped(site.state, stopped.model_copy(update={"proven": True}))
    except ComposiaError as error:
        site.notes.log(f"{site.service} may start by itself: {error.message}")


def _as_it_is(container: ContainerInfo) -> StoppedContainer:
    return StoppedContainer(
        id=container.id,
        name=container.name,
        policy=container.restart_policy,
        ran=container.at_work,
    )


def read_stopped(state: Path) -> Stopped | None:
    """What is stopped of a service; None where no stop of ours holds."""
    return durable.read(state / FILE, Stopped)


def keep_stopped(state: Path, stopped: Stopped) -> None:
    """Write it down, on the disk when this returns."""
    durable.keep(state / FILE, stopped)


def forget_stopped(state: Path) -> None:
    """It was started again."""
    durable.remove(state / FILE)
