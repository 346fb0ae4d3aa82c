"""A forward that this node keeps up: on the disk until it ends, so that any agent can end it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from composia.model.service import CaddyRef, ServiceRef
from composia.tools import durable
from composia.tools.caddy_storage import forget_trusted

FILE = "forward.json"


class Forward(BaseModel):
    """Written before Caddy forwards, gone when it does not any more."""

    model_config = ConfigDict(frozen=True)

    service: ServiceRef
    caddy: CaddyRef
    task: str
    to: str
    until: datetime
    #: The certificates that it trusts.
    trusted: Path | None = None


def read(state: Path) -> Forward | None:
    """The forward of a service; None where there is none."""
    return durable.read(state / FILE, Forward)


def keep(state: Path, forward: Forward) -> None:
    """Write it down, on the disk when this returns."""
    durable.keep(state / FILE, forward)


def forget(state: Path) -> None:
    """It has ended, or something else has taken its place; harmless when there is none."""
    if forward := read(state):
        if forward.trusted:
            forget_trusted(forward.trusted)
        durable.remove(state / FILE)


def due(instances: Path, now: datetime) -> list[Forward]:
    """The forwards of this node whose time is over."""
    found = (read(path.parent) for path in sorted(instances.glob(f"*/{FILE}")))
    return [forward for forward in found if forward and forward.until <= now]
