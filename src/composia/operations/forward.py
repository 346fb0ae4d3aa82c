"""Forwarding a service's names to the node it has moved to, for clients with the old address."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, Field, IPvAnyAddress

from composia.errors import CommandFailed
from composia.operations import forwarded, fragments
from composia.operations.base import Operation
from composia.operations.caddy import caddy_of
from composia.operations.forwarded import Forward
from composia.operations.fragments import Placed
from composia.strategies.base import Site
from composia.tools.caddy import Caddy, Storage
from composia.tools.caddy_config import MARK, Forwarding, SiteAddress, forward
from composia.tools.caddy_storage import (
    LOCAL,
    Certificate,
    forget_trusted,
    newest,
    write_trusted,
)
from composia.tools.threads import in_thread

Certificates = Mapping[str, Certificate]

#: How long names are forwarded where no end is named.
FORWARD = timedelta(days=1)


class ForwardHosts(Operation[Placed]):
    """Pass the sites on to the same ports of another node, until then; may be repeated.

    The other node must show a certificate for the name, signed by whom the copied one is signed
    by, or by one of `trust`: it is never taken unseen.
    """

    op: Literal["forward_hosts"] = "forward_hosts"
    sites: tuple[SiteAddress, ...]
    #: The other node's address.
    to: IPvAnyAddress
    #: None: for `FORWARD`, while it is not known when everybody has heard of the new address.
    until: AwareDatetime | None = None
    #: The other node's own authorities, PEM: what it renews a private certificate with.
    trust: tuple[str, ...] = Field(default=(), max_length=20)
    #: Have it validated and change nothing: forwarding the same is quick then.
    rehearse: bool = False

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = Placed

    async def perform(self, site: Site) -> Placed:
        caddy = caddy_of(site)
        async with caddy.turn:
            if not await self._runs(caddy):
                raise fragments.down(site)
            storage = await caddy.storage()
            known = await asyncio.to_thread(_certificates, storage, self.sites)
            trusted = await asyncio.to_thread(self._trust, site, storage, known)
            content = _fragment(self.sites, str(self.to), storage, known, trusted)
            await fragments.checked(site, caddy, content)
            if self.rehearse:
                return Placed()
            return await self._forward(site, caddy, content, trusted)

    async def _runs(self, caddy: Caddy) -> bool:
        if self.rehearse or self.until:
            return await caddy.comes_up()
        # In the middle of a move names wait for it: it is asked again at the end.
        return await caddy.runs()

    async def _forward(
        self, site: Site, caddy: Caddy, content: bytes, trusted: Path | None
    ) -> Placed:
        before, was = caddy.read(fragments.file_name(site.service)), forwarded.read(site.state)
        await fragments.put(site, caddy, content, self._as_kept(site, trusted))
        try:
            await fragments.load(site, caddy)
        except CommandFailed:
            await fragments.put(site, caddy, before, was)
            if was is None:
                forwarded.forget(site.state)
            raise
        if was and was.trusted:
            await asyncio.to_thread(forget_trusted, was.trusted, kept=trusted)
        return Placed(changed=before != content)

    def _as_kept(self, site: Site, trusted: Path | None) -> Forward:
        assert self.caddy
        return Forward(
            service=self.service,
            caddy=self.caddy,
            task=site.task,
            to=str(self.to),
            until=self.until or datetime.now(UTC) + FORWARD,
            trusted=trusted,
        )

    def _trust(self, site: Site, storage: Storage | None, known: Certificates) -> Path | None:
        """What is trusted besides what the system trusts; None where that is enough."""
        private = [one for one in known.values() if not one.is_public]
        if storage is None or not private:
            return None
        pems = [pem for one in private for pem in one.signers()]
        return write_trusted(storage.outside, site.service, [*pems, *self.trust])


class EndForward(Operation[Placed]):
    """Forward no more; harmless where nothing is forwarded."""

    op: Literal["end_forward"] = "end_forward"

    result: ClassVar[type[BaseModel]] = Placed

    async def perform(self, site: Site) -> Placed:
        return Placed(changed=await end(site))


async def end(site: Site) -> bool:
    """Take a forward away, and nothing else; whether there was one. Raises CommandFailed."""
    caddy = site.caddy
    if caddy is None:
        return False
    async with caddy.turn:
        name = fragments.file_name(site.service)
        there = caddy.read(name)
        forwards = there is not None and there.startswith(MARK.encode())
        if forwards:
            await in_thread(caddy.replace, name, None)
        now = fragments.digest(caddy.read(name))
        if fragments.read(site.state).fragment != now and await caddy.runs():
            await fragments.load(site, caddy)
        forwarded.forget(site.state)
    return forwards


def _certificates(storage: Storage | None, sites: Sequence[SiteAddress]) -> Certificates:
    hosts = {site.host for site in sites if site.tls} if storage else set()
    found = {host: newest(storage.outside, host) for host in sorted(hosts) if storage}
    return {host: one for host, one in found.items() if one}


def _fragment(
    sites: Sequence[SiteAddress],
    to: str,
    storage: Storage | None,
    known: Certificates,
    trusted: Path | None,
) -> bytes:
    def forwarding(site: SiteAddress) -> Forwarding:
        own = known.get(site.host) if site.tls else None
        if own is None or storage is None or own.is_public:
            return Forwarding(site=site)
        seen = storage.inside / trusted.relative_to(storage.outside) if trusted else None
        return Forwarding(site=site, tls=_tls(own, storage), trusted=str(seen) if seen else None)

    return forward([forwarding(site) for site in sites], to).encode()


def _tls(own: Certificate, storage: Storage) -> tuple[str, ...]:
    """So that this Caddy goes on to show the certificate that it has."""
    if own.issuer == LOCAL:
        return ("internal",)
    return tuple(str(storage.inside / own.file(kind)) for kind in ("crt", "key"))
