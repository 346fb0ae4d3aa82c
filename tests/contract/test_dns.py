"""One suite for all who serve zones: a real BIND by RFC 2136, and Cloudflare's stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from composia.controller.dns import ddns
from composia.controller.dns.base import Change, Present, Provider
from composia.controller.dns.names import Names
from composia.errors import Conflict, Failure
from composia.model.dns import DnsTarget
from tests.contract.dns_world import (
    Memory,
    Served,
    at_cloudflare,
    bind,
    none_of,
    target,
    values,
)

APP = "app.lab.test"
MAIN, EDGE, FOREIGN = "203.0.113.10", "203.0.113.20", "198.51.100.7"
MAIN6, EDGE6 = "2001:db8::10", "2001:db8::20"
OURS = (MAIN, EDGE, MAIN6, EDGE6)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server on a slow disk answers late."""
    monkeypatch.setattr(ddns, "PATIENCE", 30.0)


@pytest.fixture(params=["bind", "cloudflare"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    if request.param == "bind":
        async with bind(tmp_path) as one:
            yield one
    else:
        async with at_cloudflare() as other:
            yield other


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def names(served: Served, memory: Memory) -> Names:
    return Names({"it": served.provider}, memory, limit=2)


async def test_a_record_that_is_absent_is_made(served: Served, names: Names) -> None:
    updated = await names.update([target(APP, MAIN, ttl=90)], OURS)
    assert await served.records(APP) == {("A", MAIN, 90)}
    (record,) = updated.records
    assert (record.before, record.after, record.changed) == ((), (MAIN,), True)
    assert (updated.longest_ttl_before, updated.forgotten_at) == (0, None)


async def test_a_record_that_points_to_a_node_of_ours_is_changed(
    served: Served, names: Names
) -> None:
    await served.put(APP, "A", MAIN, ttl=600)
    before, ttl = datetime.now(UTC), timedelta(seconds=600)
    updated = await names.update([target(APP, EDGE)], OURS)
    after = datetime.now(UTC)
    assert await served.records(APP) == {("A", EDGE, 120)}
    assert (updated.records[0].before, updated.longest_ttl_before) == ((MAIN,), 600)
    assert updated.forgotten_at
    assert before + ttl <= updated.forgotten_at <= after + ttl


async def test_a_record_as_it_should_be_is_left_as_it_is(served: Served, names: Names) -> None:
    await names.update([target(APP, MAIN)], OURS)
    updated = await names.update([target(APP, MAIN)], OURS)
    assert not updated.records[0].changed
    assert await served.records(APP) == {("A", MAIN, 120)}


async def test_the_old_address_is_told_again_as_long_as_it_is_remembered(
    served: Served, names: Names
) -> None:
    await served.put(APP, "A", MAIN, ttl=600)
    first = await names.update([target(APP, EDGE)], OURS)
    again = await names.update([target(APP, EDGE)], OURS)
    assert not again.records[0].changed
    assert (again.longest_ttl_before, again.forgotten_at) == (600, first.forgotten_at)


async def test_a_record_of_somebody_else_is_left_alone_and_named(
    served: Served, names: Names, memory: Memory
) -> None:
    await served.put(APP, "A", FOREIGN)
    with pytest.raises(Conflict, match=f"{APP} is A {FOREIGN}") as told:
        await names.update([target(APP, MAIN)], OURS)
    assert APP in str(told.value.hint)
    assert await served.records(APP) == {("A", FOREIGN, 300)}
    assert memory.known == {}


async def test_of_several_addresses_only_ours_are_replaced(served: Served, names: Names) -> None:
    await served.put(APP, "A", MAIN, FOREIGN)
    updated = await names.update([target(APP, EDGE)], OURS)
    assert await served.records(APP) == {("A", EDGE, 300), ("A", FOREIGN, 300)}
    assert set(updated.records[0].after) == {EDGE, FOREIGN}


async def test_what_we_wrote_is_ours_whatever_it_points_to(served: Served, names: Names) -> None:
    await names.update([target(APP, FOREIGN)], OURS)
    await names.update([target(APP, MAIN)], OURS)
    assert await served.records(APP) == {("A", MAIN, 120)}


async def test_what_somebody_else_wrote_in_place_of_ours_is_theirs(
    served: Served, names: Names
) -> None:
    await names.update([target(APP, MAIN)], OURS)
    await served.drop(APP)
    await served.put(APP, "A", FOREIGN)
    with pytest.raises(Conflict, match=FOREIGN):
        await names.update([target(APP, MAIN)], OURS)


async def test_a_service_on_two_nodes_has_two_addresses(served: Served, names: Names) -> None:
    await names.update([target(APP, MAIN)], OURS)
    await names.update([target(APP, MAIN, EDGE)], OURS)
    assert values(await served.records(APP)) == {MAIN, EDGE}
    await names.update([target(APP, EDGE)], OURS)
    assert values(await served.records(APP)) == {EDGE}


async def test_both_kinds_of_address_are_changed(served: Served, names: Names) -> None:
    await names.update([target(APP, MAIN), target(APP, MAIN6)], OURS)
    await names.update([target(APP, EDGE), target(APP, EDGE6)], OURS)
    assert await served.records(APP) == {("A", EDGE, 120), ("AAAA", EDGE6, 120)}


async def test_an_address_that_the_new_node_has_not_leads_nobody_astray(
    served: Served, names: Names
) -> None:
    await names.update([target(APP, MAIN), target(APP, MAIN6)], OURS)
    await names.update([target(APP, EDGE), none_of("AAAA", APP)], OURS)
    assert await served.records(APP) == {("A", EDGE, 120)}


async def test_an_address_of_somebody_else_stays_where_we_want_none(
    served: Served, names: Names
) -> None:
    await served.put(APP, "AAAA", "2001:db8:ffff::7")
    updated = await names.update([target(APP, EDGE), none_of("AAAA", APP)], OURS)
    assert values(await served.records(APP)) == {EDGE, "2001:db8:ffff::7"}
    assert not updated.records[1].changed


async def test_an_alias_is_made_and_changed(served: Served, names: Names) -> None:
    await names.update([target(APP, "one.example.org")], OURS)
    await names.update([target(APP, "two.example.org")], OURS)
    assert await served.records(APP) == {("CNAME", "two.example.org", 120)}


async def test_an_alias_of_ours_becomes_an_address_and_an_alias_again(
    served: Served, names: Names
) -> None:
    await names.update([target(APP, "one.example.org")], OURS)
    await names.update([target(APP, MAIN)], OURS)
    assert await served.records(APP) == {("A", MAIN, 120)}
    await names.update([target(APP, "one.example.org")], OURS)
    assert await served.records(APP) == {("CNAME", "one.example.org", 120)}


@pytest.mark.parametrize(
    ("kind", "theirs", "wanted"),
    [("CNAME", "x.example.org.", MAIN), ("A", FOREIGN, "x.example.org")],
)
async def test_an_alias_and_an_address_exclude_one_another(
    served: Served, names: Names, kind: str, theirs: str, wanted: str
) -> None:
    await served.put(APP, kind, theirs)
    with pytest.raises(Conflict, match=f"is {kind} {theirs.removesuffix('.')}"):
        await names.update([target(APP, wanted)], OURS)
    assert values(await served.records(APP)) == {theirs.removesuffix(".")}


async def test_a_new_ttl_alone_is_a_change_of_ours(served: Served, names: Names) -> None:
    await names.update([target(APP, MAIN, ttl=600)], OURS)
    updated = await names.update([target(APP, MAIN, ttl=60)], OURS)
    assert await served.records(APP) == {("A", MAIN, 60)}
    assert updated.longest_ttl_before == 0


async def test_the_answer_of_a_wildcard_is_not_taken_for_a_record(
    served: Served, names: Names
) -> None:
    await served.put("*.lab.test", "A", FOREIGN)
    await names.update([target(APP, MAIN)], OURS)
    assert await served.records(APP) == {("A", MAIN, 120)}
    assert values(await served.records("*.lab.test")) == {FOREIGN}


@pytest.mark.parametrize("hostname", ["*.lab.test", "xn--bcher-kva.lab.test", "a.b.c.lab.test"])
async def test_odd_names_are_names(served: Served, names: Names, hostname: str) -> None:
    await names.update([target(hostname, MAIN)], OURS)
    await names.update([target(hostname, EDGE)], OURS)
    assert await served.records(hostname) == {("A", EDGE, 120)}


async def test_a_change_of_somebody_else_meanwhile_is_not_written_over(
    served: Served, memory: Memory
) -> None:
    await served.put(APP, "A", MAIN)

    async def somebody_is_quicker() -> None:
        await served.drop(APP)
        await served.put(APP, "A", FOREIGN)

    names = Names({"it": _Late(served.provider, somebody_is_quicker)}, memory, limit=2)
    with pytest.raises(Conflict, match=FOREIGN):
        await names.update([target(APP, EDGE)], OURS)
    assert await served.records(APP) == {("A", FOREIGN, 300)}


async def test_an_address_that_somebody_adds_meanwhile_stays(
    served: Served, memory: Memory
) -> None:
    await served.put(APP, "A", MAIN)

    async def somebody_adds() -> None:
        await served.put(APP, "A", FOREIGN)

    names = Names({"it": _Late(served.provider, somebody_adds)}, memory, limit=2)
    await names.update([target(APP, EDGE)], OURS)
    assert values(await served.records(APP)) == {EDGE, FOREIGN}


async def test_one_record_of_somebody_else_keeps_no_other_from_being_changed(
    served: Served, names: Names
) -> None:
    await served.put(APP, "A", FOREIGN)
    with pytest.raises(Conflict, match=APP):
        await names.update([target(APP, MAIN), target("b.lab.test", MAIN)], OURS)
    assert values(await served.records("b.lab.test")) == {MAIN}


async def test_a_record_that_is_taken_and_not_shown_is_a_failure(
    served: Served, memory: Memory
) -> None:
    names = Names({"it": _Forgetful(served.provider)}, memory, limit=0.3)
    with pytest.raises(Failure, match="does not show it"):
        await names.update([target(APP, MAIN)], OURS)


async def test_what_was_begun_before_a_crash_is_still_ours(served: Served, memory: Memory) -> None:
    class Crash(Exception):  # of the test
        pass

    async def crash() -> None:
        raise Crash

    names = Names({"it": _Late(served.provider, crash, after=True)}, memory)
    with pytest.raises(Crash):
        await names.update([target(APP, FOREIGN)], OURS)
    names = Names({"it": served.provider}, memory)
    await names.update([target(APP, MAIN)], OURS)
    assert values(await served.records(APP)) == {MAIN}


class _Late:
    """Something happens once between the look and the change, or right after the change."""

    def __init__(self, real: Provider, happening: object, *, after: bool = False) -> None:
        self.real = real
        self.happening = happening
        self.after = after

    async def find(self, zone: str, hostname: str) -> tuple[Present, ...]:
        return await self.real.find(zone, hostname)

    async def change(self, target: DnsTarget, seen: Sequence[Present], change: Change) -> None:
        happening, self.happening = self.happening, None
        if callable(happening) and not self.after:
            await happening()
        await self.real.change(target, seen, change)
        if callable(happening) and self.after:
            await happening()

    async def shown(self, target: DnsTarget) -> set[str] | None:
        return await self.real.shown(target)


class _Forgetful(_Late):
    """Takes changes, and forgets them."""

    def __init__(self, real: Provider) -> None:
        super().__init__(real, None)

    async def change(self, target: DnsTarget, seen: Sequence[Present], change: Change) -> None:
        return
