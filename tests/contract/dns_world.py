"""Those who serve zones: a real BIND, and Cloudflare's stand-in; and somebody else's hand there."""

from __future__ import annotations

import asyncio
import socket
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import dns.asyncquery
import dns.message
import dns.tsig
import dns.update

from composia.controller.dns.base import Provider
from composia.controller.dns.cloudflare import CloudflareProvider
from composia.controller.dns.ddns import DdnsProvider
from composia.controller.dns.names import Written
from composia.model.config import Cloudflare as CloudflareConfig
from composia.model.config import Ddns
from composia.model.dns import DnsTarget
from composia.model.meta import RecordType
from tests.twins.cloudflare import Cloudflare

ZONE = "lab.test"
SECRET = "bm8tc2VjcmV0LW9mLWFueWJvZHk="  # the test's own
TOKEN = "a-token-of-the-test"  # the test's own
CONFIG = """
options {{
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile none;
  managed-keys-directory "{folder}";
  recursion no;
  dnssec-validation no;
  allow-query {{ {query}; }};
}};
controls {{ }};
key "composia" {{ algorithm hmac-sha256; secret "{secret}"; }};
key "reader" {{ algorithm hmac-sha256; secret "{secret}"; }};
zone "{zone}" {{ type primary; file "{folder}/zone"; allow-update {{ key composia; }}; }};
"""
RECORDS = f"""$ORIGIN {ZONE}.
$TTL 60
@ SOA ns admin 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
"""


def target(hostname: str, *values: str, ttl: int = 120, proxied: bool = False) -> DnsTarget:
    """Records as they should be; their type is that of the first value."""
    kind = "AAAA" if ":" in values[0] else "A" if values[0][-1].isdigit() else "CNAME"
    return none_of(kind, hostname).model_copy(
        update={"values": values, "ttl": ttl, "proxied": proxied}
    )


def none_of(kind: str, hostname: str) -> DnsTarget:
    """No records of that type."""
    return DnsTarget(
        provider="it", zone=ZONE, hostname=hostname, record_type=RecordType(kind), ttl=120
    )


class Memory:
    """What was written, in memory."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Written] = {}

    async def written(self, provider: str, hostname: str) -> Mapping[str, Written]:
        return {kind: one for (name, kind), one in self.known.items() if name == hostname}

    async def keep_written(self, target: DnsTarget, written: Written) -> None:
        self.known[target.hostname, target.record_type] = written


class Served(Protocol):
    """Somebody who serves a zone."""

    provider: Provider

    async def put(self, hostname: str, kind: str, *values: str, ttl: int = 300) -> None:
        """Somebody else's records, beside those that are there."""
        ...

    async def drop(self, hostname: str) -> None:
        """Somebody takes all records of a name away."""
        ...

    async def records(self, hostname: str) -> set[tuple[str, str, int]]:
        """Type, value and TTL, as the one who serves them shows them."""
        ...


class Bind:
    """A real BIND on a port of the loopback."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.provider: Provider = self.provider_with()

    def config(self, **changes: object) -> Ddns:
        """Its section of config.yaml."""
        given = {
            "nameserver": "127.0.0.1", "port": self.port, "keyname": "composia",
            "keysecret": SECRET, "zones": (ZONE,),
        }  # fmt: skip
        return Ddns.model_validate({**given, **changes})

    def provider_with(self, **changes: object) -> DdnsProvider:
        """With other settings."""
        return DdnsProvider(self.config(**changes))

    async def put(self, hostname: str, kind: str, *values: str, ttl: int = 300) -> None:
        update = self._update()
        for value in values:
            update.add(f"{hostname}.", ttl, kind, value)
        await self._send(update)

    async def drop(self, hostname: str) -> None:
        update = self._update()
        update.delete(f"{hostname}.")
        await self._send(update)

    async def records(self, hostname: str) -> set[tuple[str, str, int]]:
        query = dns.message.make_query(f"{hostname}.", "ANY")
        answer = await dns.asyncquery.tcp(query, "127.0.0.1", 30, self.port)
        return {
            (dns.rdatatype.to_text(rrset.rdtype), rdata.to_text().removesuffix("."), rrset.ttl)
            for rrset in answer.answer
            for rdata in rrset
        }

    def _update(self) -> dns.update.UpdateMessage:
        key = dns.tsig.Key("composia.", SECRET, "hmac-sha256.")
        return dns.update.UpdateMessage(ZONE, keyring=key)

    async def _send(self, update: dns.update.UpdateMessage) -> None:
        answer = await dns.asyncquery.tcp(update, "127.0.0.1", 30, self.port)
        assert answer.rcode() == 0, answer


class AtCloudflare:
    """Cloudflare's stand-in."""

    def __init__(self, twin: Cloudflare) -> None:
        self.twin = twin
        self.provider: Provider = self.provider_with(TOKEN)

    def provider_with(self, token: str, port: int = 53) -> CloudflareProvider:
        """With another token, and name servers on another port."""
        config = CloudflareConfig.model_validate({"api_token": token, "zones": (ZONE,)})
        return CloudflareProvider(config, api=self.twin.url, port=port)

    async def put(self, hostname: str, kind: str, *values: str, ttl: int = 300) -> None:
        for value in values:
            self.twin.put({"name": hostname, "type": kind, "content": value, "ttl": ttl})

    async def drop(self, hostname: str) -> None:
        self.twin.drop(hostname)

    async def records(self, hostname: str) -> set[tuple[str, str, int]]:
        return {(one["type"], one["content"], one["ttl"]) for one in self.twin.of(hostname)}


@asynccontextmanager
async def bind(folder: Path, *, query: str = "any") -> AsyncIterator[Bind]:
    """A BIND that answers `query`."""
    port = _free_port()
    fields = {"folder": folder, "port": port, "query": query, "secret": SECRET, "zone": ZONE}
    (folder / "named.conf").write_text(CONFIG.format(**fields))
    (folder / "zone").write_text(RECORDS)
    words = ("named", "-g", "-n", "1", "-c", str(folder / "named.conf"))
    process = await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, stderr=PIPE)
    try:
        await asyncio.wait_for(_running(process), 60)
        reading = asyncio.create_task(_read_on(process))
        yield Bind(folder, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    await reading


@asynccontextmanager
async def at_cloudflare() -> AsyncIterator[AtCloudflare]:
    """Cloudflare's stand-in, listening."""
    twin = Cloudflare(TOKEN, ZONE)
    await twin.start()
    try:
        yield AtCloudflare(twin)
    finally:
        await twin.aclose()


async def _running(process: Process) -> None:
    assert process.stderr
    said: list[bytes] = []
    async for line in process.stderr:
        said.append(line)
        if line.rstrip().endswith(b" running"):
            return
    raise AssertionError(b"".join(said).decode())


async def _read_on(process: Process) -> None:
    assert process.stderr
    async for _ in process.stderr:
        pass


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


def values(records: Iterable[tuple[str, str, int]]) -> set[str]:
    """What the records point to."""
    return {value for _, value, _ in records}
