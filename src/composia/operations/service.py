"""Deploying, stopping and restarting a service on a node."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.operations.base import Files, Nothing, Operation
from composia.strategies.base import Site


class Deployed(BaseModel):
    """What a deploy found to do."""

    model_config = ConfigDict(frozen=True)

    changed: bool


class Deploy(Operation[Deployed]):
    """Bring the files to the revision and the containers to the files; a no-op where both are."""

    op: Literal["deploy"] = "deploy"
    #: Pull newer images first.
    pull: bool = False

    files: ClassVar[Files] = Files.UPDATE
    result: ClassVar[type[BaseModel]] = Deployed

    async def perform(self, site: Site) -> Deployed:
        raise NotImplementedError


class Stop(Operation[Nothing]):
    """`compose stop`: containers and anonymous volumes stay, and it stays stopped (promise 6)."""

    op: Literal["stop"] = "stop"

    async def perform(self, site: Site) -> Nothing:
        raise NotImplementedError


class Restart(Operation[Nothing]):
    """Stop and start the same containers."""

    op: Literal["restart"] = "restart"

    async def perform(self, site: Site) -> Nothing:
        raise NotImplementedError
