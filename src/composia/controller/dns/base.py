"""What serving a zone means here, whoever does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from composia.model.dns import DnsTarget


@dataclass(frozen=True, slots=True)
class Present:
    """A record as it is served. `ttl`: seconds."""

    type: str
    value: str
    ttl: int
    proxied: bool = False
    #: Whether the record itself says that it is ours.
    marked: bool = False
    #: The provider's own name for it.
    id: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What has to be done so that a target is met; nothing where both are empty."""

    remove: tuple[Present, ...] = ()
    add: tuple[Present, ...] = ()
    #: Somebody else's, which stay.
    kept: tuple[Present, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.remove or self.add)


class Overtaken(Exception):  # it is no error: one looks again
    """The records are not as they were when the change was decided; nothing was changed."""


class Provider(Protocol):
    """Whoever serves zones. Everything raises Failure with a next step, without secrets."""

    async def find(self, zone: str, hostname: str) -> tuple[Present, ...]:
        """All records of that name, as the zone has them: no answer of a wildcard."""
        ...

    async def change(self, target: DnsTarget, seen: Sequence[Present], change: Change) -> None:
        """All of the change or nothing. Raises Overtaken where the name is not as it was seen."""
        ...

    async def shown(self, target: DnsTarget) -> set[str] | None:
        """What the zone's name servers answer for it; None where they cannot be asked."""
        ...
