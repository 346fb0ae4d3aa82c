"""The note of a hold: which containers it is about, and what they were like."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from composia.errors import Conflict
from composia.strategies.base import Site
from composia.tools.containers import ContainerInfo

DEPENDS_ON = "com.docker.compose.depends_on"


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
    #: Of the run that is to end. Older notes have none.
    started_at: str = ""


class Held(BaseModel):
    """The note of a hold: all that is needed to end it."""

    model_config = ConfigDict(frozen=True)

    hold: str
    containers: tuple[Kept, ...]
    #: What did not run and has a policy: an engine that restarts would start it. Only of a stop
    #: that is left so.
    idle: tuple[Kept, ...] = ()

    @property
    def every(self) -> tuple[Kept, ...]:
        """All whose policies were taken away."""
        return (*self.containers, *self.idle)


def to_keep(there: Iterable[ContainerInfo], site: Site) -> tuple[Kept, ...]:
    """What is at work. Raises Conflict for what could not be stopped and started again."""
    at_work = [container for container in there if container.at_work]
    for container in at_work:
        if container.state == "paused":
            raise Conflict(
                f"container {container.name} of {site.service} is paused, so it cannot be stopped",
                hint=f"Wake it up (docker unpause {container.name}) or stop it, then try again.",
            )
        if container.is_one_off:
            raise Conflict(
                f"container {container.name} was started by `docker compose run`, and a stop would"
                " end it for good",
                hint="Wait until it has ended, then try again.",
            )
        if container.goes_when_it_ends:
            raise Conflict(
                f"container {container.name} was started with `--rm`, and a stop would remove it"
                " for good",
                hint=f"Stop it yourself (docker stop {container.name}), then try again.",
            )
    return tuple(_kept(container) for container in at_work)


def to_start_again(there: Iterable[ContainerInfo]) -> tuple[Kept, ...]:
    """What is at work, paused or not, and is there to be started after a stop."""
    return tuple(
        _kept(one)
        for one in there
        if one.at_work and not one.is_one_off and not one.goes_when_it_ends
    )


def idle(there: Iterable[ContainerInfo]) -> tuple[Kept, ...]:
    """What does not run, and could be started by an engine that restarts."""
    resting = [one for one in there if one.state in ("exited", "created")]
    return tuple(_kept(one) for one in resting if one.restart_policy != "no")


def as_it_is(there: Iterable[ContainerInfo]) -> Held:
    """What a stop is about that nothing may keep from it, paused or not."""
    own = [one for one in there if not one.is_one_off]
    running = tuple(_kept(one) for one in own if one.at_work)
    return Held(hold=secrets.token_hex(8), containers=running, idle=idle(own))


def _kept(container: ContainerInfo) -> Kept:
    # As compose writes it: `postgres:service_healthy:true,cache:service_started:false`.
    told = [word.split(":") for word in container.labels.get(DEPENDS_ON, "").split(",") if word]
    return Kept(
        id=container.id,
        name=container.name,
        project=container.project,
        compose_service=container.compose_service,
        policy=container.restart_policy,
        after=tuple(words[0] for words in told),
        healthy=tuple(words[0] for words in told if "service_healthy" in words[1:]),
        started_at=container.started_at,
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
