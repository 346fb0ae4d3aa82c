"""Pointing names: what the records should be, and all that is in the way of it."""

from __future__ import annotations

from typing import Any

import pytest

from composia.errors import Conflict
from composia.model.dns import DnsChange, DnsSetup, DnsTarget, DnsUpdated
from composia.model.meta import RecordType
from composia.model.task import OpenMove
from composia.workflows import PLANS
from composia.workflows.again import refuse_outdated
from composia.workflows.dns import plan_dns_update
from composia.workflows.service import ServiceRequest
from tests.twins.office import MY_APP
from tests.twins.run import MemoryRun
from tests.unit.workflows.conftest import World

SETUP = DnsSetup(
    zones={"ddns": ("example.org", "deep.example.org"), "cloudflare": ("example.com",)},
    ipv4={"main": "203.0.113.10", "edge": "203.0.113.20"},
    ipv6={"main": "2001:DB8::0010"},
)
NAME = "app.example.org"


@pytest.fixture(autouse=True)
def _names(world: World) -> None:
    world.change(dns=SETUP)


def planned(world: World, *records: dict[str, Any], nodes: tuple[str, ...] = ()) -> Any:
    dns = [{"provider": "ddns", "hostname": NAME, **record} for record in records]
    world.has({**MY_APP, "nodes": ["main", "edge"], "network": {"dns": dns}})
    return plan_dns_update(world.known, "my-app", ServiceRequest(nodes=nodes or None))


def test_names_are_not_brought_to_where_they_were_to_go_once(world: World) -> None:
    plan = planned(world, {}, nodes=("main",))
    refuse_outdated(world.known, plan, "01TASK")
    world.change(dns=SETUP.model_copy(update={"ipv4": {"main": "203.0.113.99"}}))
    with pytest.raises(Conflict, match="would be planned in another way now") as refused:
        refuse_outdated(world.known, plan, "01TASK")
    assert "composia dns-update my-app" in str(refused.value.hint)


def test_no_name_points_to_what_an_open_move_has_left(world: World) -> None:
    left = OpenMove(task="01MOVE", service="my-app", source="main", target="edge")
    world.change(moves={"my-app": left})
    with pytest.raises(Conflict, match="runs on edge: task 01MOVE has moved it away"):
        planned(world, {}, nodes=("main",))


def pointed(world: World, *records: dict[str, Any], nodes: tuple[str, ...]) -> list[Any]:
    plan = planned(world, *records, nodes=nodes)
    return [(str(one.record_type), list(one.values)) for one in plan.records]


def test_without_a_value_both_addresses_of_the_node_are_meant(world: World) -> None:
    found = pointed(world, {}, nodes=("main",))
    assert found == [("A", ["203.0.113.10"]), ("AAAA", ["2001:db8::10"])]


def test_an_address_that_the_node_has_not_is_wanted_away(world: World) -> None:
    found = pointed(world, {}, nodes=("edge",))
    assert found == [("A", ["203.0.113.20"]), ("AAAA", [])]


def test_a_type_without_a_value_means_that_address_alone(world: World) -> None:
    assert pointed(world, {"record_type": "A"}, nodes=("main",)) == [("A", ["203.0.113.10"])]


def test_a_service_on_two_nodes_points_to_both(world: World) -> None:
    found = pointed(world, {"record_type": "A"}, nodes=("main", "edge"))
    assert found == [("A", ["203.0.113.10", "203.0.113.20"])]


def test_records_of_one_name_and_type_belong_together(world: World) -> None:
    found = pointed(world, {"value": "192.0.2.1"}, {"value": "192.0.2.2"}, nodes=("main",))
    assert found == [("A", ["192.0.2.1", "192.0.2.2"])]


def test_names_are_compared_as_dns_does_it(world: World) -> None:
    (record,) = planned(
        world, {"hostname": "APP.Deep.Example.org.", "value": "X.Example.NET."}
    ).records
    assert (record.hostname, record.zone) == ("app.deep.example.org", "deep.example.org")
    assert (record.record_type, record.values) == (RecordType.CNAME, ("x.example.net",))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"provider": "cloudflar"}, "does not set up the provider cloudflar"),
        ({"hostname": "app.example.net"}, "in no zone of the provider ddns"),
        ({"hostname": "app.notexample.org"}, "in no zone of the provider ddns"),
        ({"record_type": "CNAME"}, "has no value"),
        ({"value": "not a host"}, "is no name of a host"),
        ({"proxied": True}, "only cloudflare"),
        ({"record_type": "AAAA"}, "node edge has no public_ipv6"),
        ({"provider": "cloudflare", "hostname": "a.example.com", "ttl": 30}, "no ttl of 30"),
    ],
)
def test_what_cannot_be_pointed_is_refused_with_the_next_step(
    world: World, record: dict[str, Any], message: str
) -> None:
    with pytest.raises(Conflict, match=message):
        planned(world, record)


def test_all_that_is_wrong_is_named_at_once(world: World) -> None:
    with pytest.raises(Conflict) as told:
        planned(world, {"provider": "x"}, {"hostname": "app.example.net"}, {"proxied": True})
    assert [problem.loc[2] for problem in told.value.problems] == [0, 1, 2]


def test_an_alias_stands_alone(world: World) -> None:
    with pytest.raises(Conflict, match="there is another record of that name"):
        planned(world, {"value": "x.example.net"}, {"hostname": NAME.upper()})


def test_a_node_without_an_address_is_named(world: World) -> None:
    world.change(dns=SETUP.model_copy(update={"ipv4": {}}))
    with pytest.raises(Conflict, match="node edge has no public_ipv4") as told:
        planned(world, {})
    assert "config.yaml" in str(told.value.hint)


def test_a_service_without_names_says_where_to_write_some(world: World) -> None:
    world.has({**MY_APP, "network": {}})
    with pytest.raises(Conflict) as told:
        plan_dns_update(world.known, "my-app", ServiceRequest())
    assert "network.dns" in str(told.value.hint)


def test_it_excludes_moves_and_nothing_else(world: World) -> None:
    assert [hold.name for hold in planned(world, {}).holds] == ["my-app: placement"]


def test_a_plan_is_read_back_as_it_was_stored(world: World) -> None:
    plan = planned(world, {}, nodes=("main",))
    assert PLANS.validate_json(plan.model_dump_json()) == plan
    assert str(plan) == "Point app.example.org to my-app on main"


async def test_the_step_says_what_was_there_and_how_long_it_is_remembered(world: World) -> None:
    plan = planned(world, {"record_type": "A"}, nodes=("edge",))
    change = DnsChange(
        hostname=NAME, record_type=RecordType.A, before=("203.0.113.10",),
        after=("203.0.113.20",), ttl_before=600, changed=True,
    )  # fmt: skip
    run = _Answering(DnsUpdated(records=(change,)))
    result = await plan.carry_out(run)
    assert run.steps == [("update_dns", None)]
    assert result["longest_ttl_before"] == 600
    assert result["records"][0]["before"] == ["203.0.113.10"]
    assert DnsTarget.model_validate(run.told["update_dns"]["records"][0]) == plan.records[0]
    assert run.told["update_dns"]["ours"] == ["203.0.113.10", "203.0.113.20", "2001:db8::10"]


class _Answering(MemoryRun):
    """The controller answers with this."""

    def __init__(self, answer: DnsUpdated) -> None:
        super().__init__(lambda node, operation: answer)
        self.answer = answer

    async def control(self, step: str, action: str, **arguments: Any) -> Any:
        await super().control(step, action, **arguments)
        return self.answer.model_dump(mode="json")
