"""DNS records as they should be, as they are, and what was made of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from pydantic import AwareDatetime, BaseModel, ConfigDict

from composia.model.meta import RecordType


class DnsTarget(BaseModel):
    """The records of one name and type, as they should be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    zone: str
    hostname: str
    record_type: RecordType
    #: Empty: records of ours that are there go away.
    values: tuple[str, ...] = ()
    proxied: bool = False
    ttl: int

    def __str__(self) -> str:
        return f"{self.hostname} {self.record_type}"


class DnsChange(BaseModel):
    """What became of one name and type."""

    model_config = ConfigDict(frozen=True)

    hostname: str
    record_type: RecordType
    #: With those of somebody else, which stay.
    before: tuple[str, ...]
    after: tuple[str, ...]
    #: Seconds that others may go on with what was there before the last change of ours.
    ttl_before: int | None = None
    #: From then on nobody remembers it; None where nothing was there.
    forgotten_at: AwareDatetime | None = None
    changed: bool


class DnsUpdated(BaseModel):
    """All of it."""

    model_config = ConfigDict(frozen=True)

    records: tuple[DnsChange, ...] = ()

    @property
    def longest_ttl_before(self) -> int:
        """Seconds; 0 where nothing was there before."""
        return max((record.ttl_before or 0 for record in self.records), default=0)

    @property
    def forgotten_at(self) -> AwareDatetime | None:
        """From then on nobody goes to the old address any more."""
        times = [record.forgotten_at for record in self.records if record.forgotten_at]
        return max(times, default=None)


class DnsSetup(BaseModel):
    """What config.yaml says of names: the zones of each provider, the addresses of each node."""

    model_config = ConfigDict(frozen=True)

    zones: Mapping[str, tuple[str, ...]] = {}
    ipv4: Mapping[str, str] = {}
    ipv6: Mapping[str, str] = {}

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of all nodes: a record with one of them is one of ours."""
        return tuple(
            normal(address) for part in (self.ipv4, self.ipv6) for address in part.values()
        )

    def address_of(self, node: str) -> str | None:
        """Where others reach a node, by IPv4 where it has both; None where none is named."""
        return self.ipv4.get(node) or self.ipv6.get(node)

    def zone_of(self, provider: str, hostname: str) -> str | None:
        """The provider's zone that the name is in: the longest one."""
        name = normal(hostname)
        zones = [normal(zone) for zone in self.zones.get(provider, ())]
        return max(
            (zone for zone in zones if name == zone or name.endswith(f".{zone}")),
            key=len,
            default=None,
        )


def normal(text: str) -> str:
    """A name or an address as it is compared: lower case, no dot at its end, shortest form."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text.lower().removesuffix(".")


def normals(texts: Iterable[str]) -> tuple[str, ...]:
    """The same for several, each once."""
    return tuple(dict.fromkeys(normal(text) for text in texts))
