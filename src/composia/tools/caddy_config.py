"""Caddy's configuration read and written: which sites it has, and how one is forwarded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

HTTPS = 443
HTTP = 80
#: The first line of a fragment that forwards.
MARK = "# Written by Composia: forwards to the node that the service has moved to."
#: A header that names the nodes to which a request was forwarded.
FORWARDED = "Composia-Forwarded"
#: A host name, or one with a wildcard for its first label; nothing that means more to Caddy.
HOST = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"


class SiteAddress(BaseModel):
    """What a site answers to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(pattern=HOST)
    port: int = Field(ge=1, le=65535)
    tls: bool

    def __str__(self) -> str:
        scheme, usual = ("https", HTTPS) if self.tls else ("http", HTTP)
        port = "" if self.port == usual else f":{self.port}"
        return f"{scheme}://{self.host}{port}"


class Forwarding(BaseModel):
    """A site that is forwarded, and how both ends of it are trusted."""

    model_config = ConfigDict(frozen=True)

    site: SiteAddress
    #: The words after `tls` in its block; empty: as Caddy does by default.
    tls: tuple[str, ...] = ()
    #: A file of certificates, as Caddy sees it, to trust instead of the system's.
    trusted: str | None = None


def sites(adapted: Mapping[str, Any]) -> tuple[SiteAddress, ...]:
    """The sites of a configuration in Caddy's JSON, in a fixed order."""
    servers = ((adapted.get("apps") or {}).get("http") or {}).get("servers") or {}
    found = {site for server in servers.values() for site in _sites_of(server)}
    return tuple(sorted(found, key=lambda site: (site.host, site.port)))


def forward(forwardings: Sequence[Forwarding], to: str) -> str:
    """A fragment that passes the sites on to the same ports of another node."""
    address = f"[{to}]" if ":" in to else to
    return "\n".join((MARK, *("\n".join(_block(one, address)) for one in forwardings)))


def _sites_of(server: Mapping[str, Any]) -> Iterator[SiteAddress]:
    automatic = server.get("automatic_https") or {}
    for port in _ports(server):
        for host in _hosts(server):
            plain = port == HTTP or automatic.get("disable") or host in automatic.get("skip", ())
            secured = bool(server.get("tls_connection_policies")) or not plain
            yield SiteAddress(host=host, port=port, tls=secured and port != HTTP)


def _hosts(server: Mapping[str, Any]) -> set[str]:
    """Only of the outermost routes: a matcher inside a site narrows that site."""
    return {
        host
        for route in server.get("routes") or ()
        for match in route.get("match") or ()
        for host in match.get("host") or ()
        if re.fullmatch(HOST.strip("^$"), host)
    }


def _ports(server: Mapping[str, Any]) -> set[int]:
    """A socket of Unix, or a range of ports, is nothing that another node could be asked at."""
    ends = (address.rpartition(":")[2] for address in server.get("listen") or ())
    return {int(end) for end in ends if end.isascii() and end.isdigit()}


def _block(one: Forwarding, to: str) -> Iterator[str]:
    site = one.site
    yield f"{site} {{"
    if one.tls:
        yield f"\ttls {' '.join(one.tls)}"
    # Two nodes that forward to each other would pass it on for ever.
    yield f"\t@again header {FORWARDED} {to}"
    yield "\trespond @again 508"
    yield f"\treverse_proxy {'https' if site.tls else 'http'}://{to}:{site.port} {{"
    yield "\t\theader_up Host {hostport}"
    yield f"\t\theader_up +{FORWARDED} {to}"
    yield "\t\tflush_interval -1"
    if site.tls:
        yield from _transport(one)
    yield "\t}"
    yield "}\n"


def _transport(one: Forwarding) -> Iterator[str]:
    wild = one.site.host.startswith("*.")
    yield "\t\ttransport http {"
    yield f"\t\t\ttls_server_name {'{http.request.host}' if wild else one.site.host}"
    if one.trusted:
        yield f"\t\t\ttls_trusted_ca_certs {one.trusted}"
    yield "\t\t}"
