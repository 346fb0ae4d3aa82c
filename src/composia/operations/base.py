"""What one node can be asked to do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from composia.model.service import CaddyRef, RepositoryRef, ServiceRef
from composia.strategies.base import Site

Result = TypeVar("Result", bound=BaseModel)


class Files(StrEnum):
    """What the agent does with the service's folder before an operation."""

    #: Bring the catalog's files to the operation's revision.
    UPDATE = "update"
    #: Check them out where the service was never checked out; else leave them.
    IF_ABSENT = "if_absent"
    #: Leave them; a service that was never checked out is NotFound.
    AS_THEY_ARE = "as_they_are"
    #: Whatever is there: the node is looked at, not the service.
    NOT_NEEDED = "not_needed"


class Nothing(BaseModel):
    """The result of an operation that has none."""

    model_config = ConfigDict(frozen=True)


class Operation(BaseModel, ABC, Generic[Result]):
    """What one node is asked to do, and finishes without the controller.

    `perform` is called at most once for a key (`task:step:attempt`). If the agent dies meanwhile,
    `put_right` is called on its next start with the notes that `perform` left, when the containers
    that they name have ended, and before the agent answers anything; then the key's outcome is
    Interrupted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    op: str
    service: ServiceRef
    #: The repository to work with; None where the operation, or the node, has none.
    repository: RepositoryRef | None = None
    #: The Caddy of the node; None where it has none, or where nobody cares for it.
    caddy: CaddyRef | None = None
    #: How many times the service has been placed anew: an agent refuses an older one.
    epoch: int = 0

    files: ClassVar[Files] = Files.AS_THEY_ARE
    #: Whether it goes on beside others of its service, for it touches nothing of what is live; all
    #: such operations of a node go one after the other.
    beside: ClassVar[bool] = False
    #: Whether it waits for no place among those that an agent works on: a service is down until it
    #: is done, or another node waits for it on a wire.
    urgent: ClassVar[bool] = False
    #: Whether its node is looked at before its end is told: whoever plans by what runs there sees
    #: what it has started.
    shown: ClassVar[bool] = False
    #: What a person says who gives up the node that is to do it, where that is more than usual.
    if_given_up: ClassVar[str | None] = None
    #: The type of the result, for the one who reads it from a message.
    result: ClassVar[type[BaseModel]] = Nothing

    @abstractmethod
    async def perform(self, site: Site) -> Result:
        """Do it. Raises ComposiaError; whatever is raised, the service runs as it did before."""

    async def start_again(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> bool:
        """What need not wait for the containers that the notes name; then comes `put_right`.

        Answers whether that need not wait for them either, and ends them itself.
        """
        return False

    async def put_right(self, site: Site, notes: Mapping[str, Mapping[str, Any]]) -> None:
        """Bring the node back to the old state or on to the new one, from the notes alone."""
        return
