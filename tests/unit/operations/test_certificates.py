"""Certificates of a site on their way, from and to Caddys whose storage is anywhere."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from composia.errors import Failure
from composia.operations.certificates import (
    CertificatesReceived,
    CertificatesSent,
    ReceiveCertificates,
    SendCertificates,
)
from composia.tools.caddy import Changes, Storage
from composia.tools.caddy_storage import newest, put
from tests.twins.wire import MemoryWires
from tests.unit.operations.test_fragments import CADDY, REF, MemoryCaddy, World
from tests.unit.tools.test_caddy_storage import certificate


class StoringCaddy(MemoryCaddy):
    """It serves one site, and has its certificates where a test says."""

    port = 443
    #: None: no mount holds it.
    place: Path | None = None
    #: The `storage` of its Caddyfile.
    elsewhere: dict[str, Any] | None = None
    behind_a_link = False

    async def adapted(self, changes: Changes) -> dict[str, Any]:
        routes = [{"match": [{"host": ["a.test"]}]}] if all(changes.values()) else []
        servers = {"one": {"listen": [f":{self.port}"], "routes": routes}}
        return {"apps": {"http": {"servers": servers}}, "storage": self.elsewhere}

    async def storage(self) -> Storage | None:
        if self.behind_a_link:
            raise Failure("Caddy's storage lies behind a symbolic link")
        inside = PurePosixPath("/data/caddy")
        return Storage(inside=inside, outside=self.place) if self.place else None


class Pair:
    """The two Caddys, each with a storage of its own."""

    def __init__(self, folder: Path) -> None:
        self.wires = MemoryWires()
        self.source, self.target = self._made(folder / "main"), self._made(folder / "edge")
        self.here, self.there = (self._caddy(one) for one in (self.source, self.target))

    def _made(self, folder: Path) -> World:
        world = World(folder)
        world.says("a.test")
        (folder / "data").mkdir()
        caddy = StoringCaddy(world.twins, folder / "generated")
        caddy.place = folder / "data"
        world.site = replace(world.site, caddy=caddy, wire=self.wires.of(folder.name))
        return world

    def _caddy(self, world: World) -> StoringCaddy:
        assert isinstance(world.site.caddy, StoringCaddy)
        return world.site.caddy

    async def carry(self) -> tuple[CertificatesSent, CertificatesReceived]:
        refs: dict[str, Any] = {"service": REF, "caddy": CADDY, "wire": "w"}
        return await asyncio.gather(
            SendCertificates(**refs).perform(self.source.site),
            ReceiveCertificates(**refs).perform(self.target.site),
        )


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


async def test_what_the_source_has_comes_to_the_targets_storage(pair: Pair) -> None:
    assert pair.here.place
    assert pair.there.place
    mine = certificate("a.test")
    put(pair.here.place, mine)
    sent, received = await pair.carry()
    assert (sent.hosts, received.hosts, sent.warnings) == (("a.test",), ("a.test",), ())
    assert newest(pair.there.place, "a.test") == mine


async def test_where_storage_is_elsewhere_nothing_goes_along_and_nothing_is_asked_for(
    pair: Pair,
) -> None:
    for one in (pair.here, pair.there):
        one.elsewhere, one.place = {"module": "redis"}, None
    sent, received = await pair.carry()
    assert (sent.hosts, received.hosts) == ((), ())
    [warning] = sent.warnings
    assert "storage is set to another place" in warning
    assert "a.test" in warning


async def test_a_plain_site_needs_no_storage(pair: Pair) -> None:
    for one in (pair.here, pair.there):
        one.port, one.place = 80, None
    sent, received = await pair.carry()
    assert [str(site) for site in sent.sites] == ["http://a.test"]
    assert (sent.warnings, received.hosts) == ((), ())


@pytest.mark.parametrize("reachable", [True, False], ids=["reachable", "behind a link"])
async def test_where_nothing_comes_the_targets_own_authorities_are_told_if_they_can_be(
    pair: Pair, *, reachable: bool
) -> None:
    assert pair.there.place
    root = pair.there.place / "pki/authorities/local/root.crt"
    root.parent.mkdir(parents=True)
    root.write_bytes(certificate().crt)
    pair.there.behind_a_link = not reachable
    sent, received = await pair.carry()
    assert len(received.authorities) == (1 if reachable else 0)
    assert "no certificate of its own for a.test" in sent.warnings[0]


async def test_what_comes_needs_a_place_to_lie(pair: Pair) -> None:
    assert pair.here.place
    put(pair.here.place, certificate("a.test"))
    pair.there.place = None
    refs: dict[str, Any] = {"service": REF, "caddy": CADDY, "wire": "w"}
    sending = asyncio.ensure_future(SendCertificates(**refs).perform(pair.source.site))
    with pytest.raises(Failure, match="storage on main cannot be reached"):
        await ReceiveCertificates(**refs).perform(pair.target.site)
    with pytest.raises(Failure):
        await sending
