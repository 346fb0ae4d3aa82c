"""What a zone's own name servers answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

from composia.model.dns import DnsTarget, normal

#: Seconds for one answer: who does not answer within them is not reachable from here.
PATIENCE = 2.0


async def answered(servers: Iterable[str], port: int, target: DnsTarget) -> set[str] | None:
    """The values that the first server within reach has; None where none can be asked."""
    for server in servers:
        try:
            return await _ask(server, port, target)
        except (OSError, EOFError, dns.exception.DNSException):
            continue
    return None


async def _ask(server: str, port: int, target: DnsTarget) -> set[str]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE):
        found = await loop.getaddrinfo(server, port, type=socket.SOCK_DGRAM)
    query = dns.message.make_query(target.hostname, target.record_type, flags=dns.flags.Flag(0))
    address = str(found[0][4][0])
    answer, _ = await dns.asyncquery.udp_with_fallback(query, address, PATIENCE, port)
    wanted = dns.rdatatype.from_text(target.record_type)
    return {
        normal(rdata.to_text())
        for rrset in answer.answer
        for rdata in rrset
        if rrset.rdtype == wanted
    }
