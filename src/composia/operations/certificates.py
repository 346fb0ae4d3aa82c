"""The certificates of a service's names on their way to the node it moves to.

They go by the wire and nowhere else: no outcome, log or journal has more than the names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from composia.errors import Failure, Invalid
from composia.operations import fragments
from composia.operations.base import Operation
from composia.operations.caddy import caddy_of
from composia.strategies.base import Site
from composia.tools.caddy import Caddy, Storage
from composia.tools.caddy_config import SiteAddress, sites
from composia.tools.caddy_storage import Certificate, authorities, from_frame, newest, put
from composia.tools.wire import Wire

END = b"end"
#: Of one service: more than that is somebody's mischief.
MOST = 1000


class CertificatesSent(BaseModel):
    """The sites that the fragment makes, and the hosts whose certificates went along."""

    model_config = ConfigDict(frozen=True)

    sites: tuple[SiteAddress, ...]
    hosts: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class CertificatesReceived(BaseModel):
    """The hosts whose certificates came, those whose own were kept, and who signs here."""

    model_config = ConfigDict(frozen=True)

    hosts: tuple[str, ...]
    kept: tuple[str, ...] = ()
    #: PEM of the roots of this node's own authorities; no secret.
    authorities: tuple[str, ...] = ()


class SendCertificates(Operation[CertificatesSent]):
    """Send the certificates of the fragment's hosts, with their keys, to the other node."""

    op: Literal["send_certificates"] = "send_certificates"
    wire: str

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = CertificatesSent

    async def perform(self, site: Site) -> CertificatesSent:
        caddy = caddy_of(site)
        content = fragments.source(site, self.caddy) if self.caddy else None
        found, own_storage = await added_sites(site, caddy, content)
        storage = None if own_storage else await caddy.storage()
        hosts = sorted({one.host for one in found if one.tls})
        own = await asyncio.to_thread(_own, storage, hosts)
        async with site.wire(self.wire) as wire:
            for certificate in own:
                await wire.send(certificate.as_frame())
            await wire.send(END)
            await _acknowledged(wire)
        sent = [one.host for one in own]
        missing = [host for host in hosts if host not in sent]
        warnings = (_missing(missing, own_storage=own_storage),) if missing else ()
        return CertificatesSent(sites=found, hosts=tuple(sent), warnings=warnings)


class ReceiveCertificates(Operation[CertificatesReceived]):
    """Take the certificates that the other node sends, for names of the service's fragment."""

    op: Literal["receive_certificates"] = "receive_certificates"
    wire: str

    urgent: ClassVar[bool] = True
    result: ClassVar[type[BaseModel]] = CertificatesReceived

    async def perform(self, site: Site) -> CertificatesReceived:
        caddy = caddy_of(site)
        content = fragments.source(site, self.caddy) if self.caddy else None
        found, _ = await added_sites(site, caddy, content)
        expected = {one.host for one in found if one.tls}
        async with site.wire(self.wire) as wire:
            came = [one async for one in _certificates(wire, expected)]
            received = await self._take(site, caddy, came)
            await wire.send(END)
        return received

    async def _take(
        self, site: Site, caddy: Caddy, came: list[Certificate]
    ) -> CertificatesReceived:
        if not came:
            return CertificatesReceived(hosts=(), authorities=await _own_authorities(caddy))
        storage = await caddy.storage()
        if storage is None:
            raise Failure(
                f"Caddy's storage on {site.node} cannot be reached: no mount holds it",
                hint="Start Caddy there, with a volume or a folder mounted at /data.",
            )
        await asyncio.to_thread(storage.outside.mkdir, 0o700, True, True)
        taken = {one.host: await asyncio.to_thread(put, storage.outside, one) for one in came}
        return CertificatesReceived(
            hosts=tuple(taken),
            kept=tuple(host for host, new in taken.items() if not new),
            authorities=await asyncio.to_thread(authorities, storage.outside),
        )


async def added_sites(
    site: Site, caddy: Caddy, content: bytes | None
) -> tuple[tuple[SiteAddress, ...], bool]:
    """The sites that Caddy has with the fragment only; whether its storage is somewhere else."""
    name = fragments.file_name(site.service)
    with_it, without = await asyncio.gather(
        caddy.adapted({name: content}), caddy.adapted({name: None})
    )
    before = set(sites(without))
    added = tuple(one for one in sites(with_it) if one not in before)
    return added, bool(with_it.get("storage"))


def _own(storage: Storage | None, hosts: list[str]) -> list[Certificate]:
    found = [newest(storage.outside, host) for host in hosts] if storage else []
    return [one for one in found if one]


async def _own_authorities(caddy: Caddy) -> tuple[str, ...]:
    """Of a Caddy whose storage may be anywhere: then none is known."""
    try:
        storage = await caddy.storage()
    except Failure:
        return ()
    return await asyncio.to_thread(authorities, storage.outside) if storage else ()


async def _certificates(wire: Wire, expected: set[str]) -> AsyncIterator[Certificate]:
    for _ in range(MOST):
        if (frame := await wire.receive()) == END:
            return
        certificate = from_frame(frame)
        if certificate.host not in expected:
            raise Invalid(f"a certificate came for {certificate.host}, which is not the service's")
        yield certificate
    raise Invalid("more certificates came than a service has names")


async def _acknowledged(wire: Wire) -> None:
    if await wire.receive() != END:
        raise Failure("the other node did not say that it has the certificates")


def _missing(hosts: list[str], *, own_storage: bool) -> str:
    names = ", ".join(hosts)
    if own_storage:
        return f"Caddy's storage is set to another place: no certificate of {names} goes along"
    return f"Caddy has no certificate of its own for {names}: none goes along"
