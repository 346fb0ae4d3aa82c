"""What keeps a node from starting a service that is, or may be, active elsewhere: promise 18.

A line on the node's own disk, written before the first stop on the source and before the first
container is made on the target. Nothing that starts the service passes it.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict
from composia.operations import hold
from composia.operations.cargo import Cargo
from composia.operations.held import Held
from composia.strategies.base import Site
from composia.tools import durable

FILE = "fence.json"


class Left(BaseModel):
    """What a move left here: the state in which everything had stopped and was sent."""

    model_config = ConfigDict(frozen=True)

    task: str
    #: By this node's clock, in nanoseconds, before what was left was looked at for the last time:
    #: whatever has a later ctime is not as it was then.
    at: int
    #: What was sent: of anything else it is not known how it differs from what the other node has.
    cargo: tuple[Cargo, ...]

    @property
    def copy_id(self) -> str:
        """How the node that has the service now knows it."""
        return copy_left_by(self.task)


def copy_left_by(task: str) -> str:
    """The name of what a move has left, and of what it has brought: by then they were the same."""
    return f"left-{task}"


class Fence(BaseModel):
    """Why the service must not start here."""

    model_config = ConfigDict(frozen=True)

    #: The move, and what this node is in it; `left`: the service has gone from here for good.
    task: str
    side: Literal["source", "target", "left"]
    #: The service has been started behind it, or may be: it only tells what the move made here, or
    #: what it stopped and could not start again.
    open: bool = False
    #: Of the question that put it up: one of a newer placement may start the service again.
    epoch: int
    #: What ran here when the move stopped it, with its policies.
    held: Held | None = None
    #: When each container had been started last by then.
    starts: dict[str, str] = {}
    #: On the target: volumes that were there before the move made its own.
    volumes_before: tuple[str, ...] | None = None
    #: There, too: folders that its volumes bind, and that were not there before.
    folders_made: tuple[str, ...] = ()
    #: Where the service has gone: until when what it left here is kept, and what that is.
    kept_until: datetime | None = None
    volumes_left: tuple[str, ...] = ()
    paths_left: tuple[str, ...] = ()
    #: What below these paths was excluded: it has not gone along, and is never removed.
    spared_left: tuple[str, ...] = ()
    left: Left | None = None


def read(state: Path) -> Fence | None:
    """The fence around a service, from what the agent remembers of it; None where there is none."""
    return durable.read(state / FILE, Fence)


def put_up(state: Path, fence: Fence) -> None:
    """Write it down; on the disk when this returns."""
    durable.keep(state / FILE, fence)


def take_down(state: Path) -> None:
    """The service may start here again; harmless when there is no fence."""
    durable.remove(state / FILE)


def left(state: Path) -> Fence | None:
    """The fence of a move that has stopped the service here and gone, or is about to."""
    fence = read(state)
    return fence if fence and fence.side != "target" and not fence.open else None


def refuse_left(site: Site) -> None:
    """Whatever takes what lies here for the service's data asks here first. Raises Conflict."""
    if fence := left(site.state):
        raise Conflict(
            f"{site.service} does not run on {site.node} any more: task {fence.task} moves it, or"
            " has moved it away, and its data here is not what it works with",
            hint=f"Ask for the node where it runs; see `composia task show {fence.task}`.",
        )


async def pass_by(site: Site, epoch: int) -> None:
    """Whatever starts the service asks here first.

    A fence of an older placement, about which nothing is open any more, is taken down. Raises
    Conflict.
    """
    fence = read(site.state)
    if fence is None or (fence.open and fence.side != "source"):
        return
    if fence.open or epoch > fence.epoch:
        if fence.held:
            await hold.give_back_policies(fence.held.every, site)
        take_down(site.state)
        return
    raise Conflict(
        f"{site.service} must not start on {site.node}: task {fence.task} moves it, or has moved it"
        " away",
        hint=f"See `composia task show {fence.task}`: while it is open, retry it or roll it back."
        f" Later: `composia migrate {site.service} --to {site.node}`.",
    )
