"""What those who serve zones refuse: told with the next step, without a secret, nothing changed."""

from __future__ import annotations

import asyncio
import base64
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from composia.controller.dns import authoritative, ddns
from composia.controller.dns.base import Provider
from composia.controller.dns.names import Names
from composia.errors import Conflict, Failure
from composia.model.dns import DnsTarget, DnsUpdated
from tests.contract.dns_world import (
    SECRET,
    TOKEN,
    AtCloudflare,
    Bind,
    Memory,
    at_cloudflare,
    bind,
    target,
    values,
)

APP = "app.lab.test"
MAIN, EDGE = "203.0.113.10", "203.0.113.20"
WRONG = base64.b64encode(b"a wrong secret of the test").decode()


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server on a slow disk answers late."""
    monkeypatch.setattr(ddns, "PATIENCE", 30.0)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Bind]:
    async with bind(tmp_path) as one:
        yield one


@pytest.fixture
async def cloudflare() -> AsyncIterator[AtCloudflare]:
    async with at_cloudflare() as one:
        yield one


async def update(provider: Provider, *targets: DnsTarget) -> DnsUpdated:
    return await Names({"it": provider}, Memory(), limit=2).update(targets, (MAIN, EDGE))


async def refused(provider: Provider, wanted: DnsTarget) -> Failure:
    """The failure, in which no secret is and a next step."""
    with pytest.raises(Failure) as told:
        await update(provider, wanted)
    text = "".join(traceback.format_exception(told.value))
    assert not any(secret in text for secret in (SECRET, WRONG, TOKEN, "another-token"))
    assert told.value.hint
    return told.value


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keyname": "nobody"}, "does not know the key"),
        ({"keysecret": WRONG}, "finds the signature wrong"),
        ({"algorithm": "hmac-sha512"}, "does not know the key"),
        ({"keysecret": "no base64!"}, "is not base64"),
        ({"keyname": "reader"}, "REFUSED"),
        ({"nameserver": "no-such-host.invalid"}, "cannot be reached"),
    ],
)
async def test_a_name_server_that_refuses_says_why(
    server: Bind, changes: dict[str, str], reason: str
) -> None:
    error = await refused(server.provider_with(**changes), target(APP, MAIN))
    assert reason in error.message
    assert await server.records(APP) == set()


async def test_a_zone_that_is_not_served_is_named(server: Bind) -> None:
    wanted = target("app.other.test", MAIN).model_copy(update={"zone": "other.test"})
    error = await refused(server.provider, wanted)
    assert "app.other.test" in error.message


async def test_a_name_server_that_is_down_is_named(tmp_path: Path) -> None:
    async with bind(tmp_path) as one:
        provider = one.provider
    error = await refused(provider, target(APP, MAIN))
    assert "127.0.0.1" in error.message


async def test_a_name_server_that_is_silent_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ddns, "PATIENCE", 0.1)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    try:
        error = await refused(Bind(Path(), port).provider, target(APP, MAIN))
    finally:
        transport.close()
    assert "no answer" in error.message


@pytest.mark.parametrize(("kind", "value"), [("TXT", '"mine"'), ("MX", "10 mail.example.org.")])
async def test_an_alias_never_costs_other_records_of_its_name(
    server: Bind, kind: str, value: str
) -> None:
    await server.put(APP, kind, value)
    with pytest.raises(Conflict, match=f"is {kind}"):
        await update(server.provider, target(APP, "x.example.org"))
    assert {found for found, _, _ in await server.records(APP)} == {kind}


async def test_an_alias_of_ours_is_changed_only_where_nothing_else_is(server: Bind) -> None:
    await server.put(APP, "A", MAIN)
    await server.put(APP, "TXT", '"mine"')
    with pytest.raises(Conflict, match="TXT"):
        await update(server.provider, target(APP, "x.example.org"))
    assert {kind for kind, _, _ in await server.records(APP)} == {"A", "TXT"}


async def test_a_server_that_answers_only_whom_it_knows_answers_us(tmp_path: Path) -> None:
    async with bind(tmp_path, query="key composia") as one:
        updated = await update(one.provider, target(APP, MAIN))
    assert updated.records[0].changed


@pytest.mark.parametrize(
    ("token", "reason"), [("another-token", "Invalid access token"), ("ö", "Invalid request")]
)
async def test_a_token_that_cloudflare_refuses_is_told(
    cloudflare: AtCloudflare, token: str, reason: str
) -> None:
    error = await refused(cloudflare.provider_with(token), target(APP, MAIN))
    assert reason in error.message
    assert "api_token" in str(error.hint)


async def test_a_zone_that_the_token_does_not_see_is_named(cloudflare: AtCloudflare) -> None:
    wanted = target("app.other.test", MAIN).model_copy(update={"zone": "other.test"})
    error = await refused(cloudflare.provider, wanted)
    assert "no zone other.test" in error.message


async def test_what_cloudflare_finds_invalid_is_told_in_its_words(
    cloudflare: AtCloudflare,
) -> None:
    error = await refused(cloudflare.provider, target(APP, MAIN, ttl=30))
    assert "TTL must be between 60 and 86400 seconds" in error.message
    assert "9021" in error.message
    assert cloudflare.twin.of(APP) == []


async def test_a_busy_cloudflare_is_asked_again_when_it_says(cloudflare: AtCloudflare) -> None:
    cloudflare.twin.busy = [(429, "0"), (503, "0"), (502, None)]
    await update(cloudflare.provider, target(APP, MAIN))
    assert values(await cloudflare.records(APP)) == {MAIN}


async def test_a_cloudflare_that_stays_busy_is_told(cloudflare: AtCloudflare) -> None:
    cloudflare.twin.busy = [(429, "0")] * 20
    error = await refused(cloudflare.provider, target(APP, MAIN))
    assert "Too many requests" in str(error.hint)


async def test_what_cloudflare_refuses_is_not_asked_again(cloudflare: AtCloudflare) -> None:
    await refused(cloudflare.provider_with("another-token"), target(APP, MAIN))
    assert cloudflare.twin.calls == ["GET zones"]


async def test_a_cloudflare_that_is_out_of_reach_is_told() -> None:
    async with at_cloudflare() as one:
        provider = one.provider
    error = await refused(provider, target(APP, MAIN))
    assert "cannot be reached" in error.message


async def test_a_proxied_record_is_proxied_and_stays_so(cloudflare: AtCloudflare) -> None:
    await update(cloudflare.provider, target(APP, MAIN, proxied=True))
    (made,) = cloudflare.twin.of(APP)
    assert (made["proxied"], made["ttl"], made["comment"]) == (True, 1, "Managed by Composia")
    again = await update(cloudflare.provider, target(APP, MAIN, proxied=True))
    assert not again.records[0].changed
    updated = await update(cloudflare.provider, target(APP, EDGE, proxied=True))
    (changed,) = cloudflare.twin.of(APP)
    assert (changed["id"], changed["content"]) == (made["id"], EDGE)
    assert updated.longest_ttl_before == 300


async def test_a_record_that_says_it_is_ours_is_ours_after_all_is_forgotten(
    cloudflare: AtCloudflare,
) -> None:
    await update(cloudflare.provider, target(APP, "198.51.100.7"))
    await update(cloudflare.provider, target(APP, MAIN))
    assert values(await cloudflare.records(APP)) == {MAIN}


async def test_a_name_with_more_records_than_a_page_is_read_whole(
    cloudflare: AtCloudflare,
) -> None:
    theirs = [f"198.51.100.{number}" for number in range(120)]
    await cloudflare.put(APP, "A", *theirs)
    await cloudflare.put(APP, "A", MAIN)
    await update(cloudflare.provider, target(APP, EDGE))
    assert values(await cloudflare.records(APP)) == {*theirs, EDGE}


async def test_a_change_of_several_records_is_all_or_nothing(cloudflare: AtCloudflare) -> None:
    await cloudflare.put(APP, "A", MAIN)
    await refused(cloudflare.provider, target(APP, MAIN, EDGE, ttl=30))
    assert await cloudflare.records(APP) == {("A", MAIN, 300)}


async def test_the_zones_own_name_servers_are_asked_where_they_can_be(
    server: Bind, cloudflare: AtCloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authoritative, "PATIENCE", 30.0)
    cloudflare.twin.name_servers = ["127.0.0.1"]
    provider = cloudflare.provider_with(TOKEN, port=server.port)
    error = await refused(provider, target(APP, MAIN))
    assert "does not show it" in error.message
    await server.put("b.lab.test", "A", MAIN)
    updated = await update(provider, target("b.lab.test", MAIN))
    assert updated.records[0].changed


async def test_name_servers_out_of_reach_keep_nothing_from_being_done(
    cloudflare: AtCloudflare,
) -> None:
    cloudflare.twin.name_servers = ["no-such-host.invalid"]
    updated = await update(cloudflare.provider, target(APP, MAIN))
    assert updated.records[0].changed


async def test_the_name_servers_of_a_proxied_name_are_not_asked(
    server: Bind, cloudflare: AtCloudflare
) -> None:
    cloudflare.twin.name_servers = ["127.0.0.1"]
    provider = cloudflare.provider_with(TOKEN, port=server.port)
    updated = await update(provider, target(APP, MAIN, proxied=True))
    assert updated.records[0].changed
