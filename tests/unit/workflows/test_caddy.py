"""Which fragment goes to which node's Caddy, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from composia.errors import Conflict, Invalid, Problem
from composia.model.catalog import Broken
from composia.model.task import OpenMove
from composia.operations.caddy import PlaceFragment
from composia.operations.fragments import Placed
from composia.operations.service import Deploy, Deployed
from composia.workflows import PLANS
from composia.workflows.again import refuse_outdated
from composia.workflows.caddy import plan_caddy_sync
from composia.workflows.known import Known
from composia.workflows.service import ServiceRequest, plan_deploy
from tests.twins.office import INFRA, MY_APP
from tests.twins.run import MemoryRun
from tests.unit.workflows.conftest import World

CADDY = {"name": "infra-caddy", "nodes": ["main"], "infra": {"caddy": {}}}
EVERYWHERE = {**CADDY, "nodes": ["main", "edge"]}
NAMED = {**MY_APP, "network": {"caddy": {}}}
DISABLED = {**MY_APP, "network": {"caddy": {"enabled": False}}}
ALL = ServiceRequest()


def sources(known: Known) -> dict[str, str | None]:
    """What each node's Caddy is to have after a sync."""
    plan = plan_caddy_sync(known, "my-app", ALL)
    return {node: ref.source for node, ref in plan.caddy.items()}


def test_the_fragment_goes_to_the_nodes_of_the_service(world: World) -> None:
    assert sources(world.has(NAMED, CADDY)) == {"main": "Caddyfile.fragment"}


def test_a_fragment_that_is_disabled_or_gone_is_taken_away(world: World) -> None:
    assert sources(world.has(DISABLED, CADDY)) == {"main": None}
    assert sources(world.has(MY_APP, CADDY)) == {"main": None}


def test_a_node_that_the_service_has_left_gets_no_fragment(world: World) -> None:
    known = world.has({**NAMED, "nodes": ["edge"]}, EVERYWHERE)
    plan = plan_caddy_sync(known, "my-app", ServiceRequest(nodes=("main", "edge")))
    assert {node: ref.source for node, ref in plan.caddy.items()} == {
        "main": None,
        "edge": "Caddyfile.fragment",
    }


def test_an_open_moves_target_serves_it_and_its_source_does_not(world: World) -> None:
    world.has(NAMED, EVERYWHERE)
    left = OpenMove(task="01MOVE", service="my-app", source="main", target="edge")
    known = world.change(moves={"my-app": left})
    with pytest.raises(Conflict, match="runs on edge: task 01MOVE has moved it away"):
        plan_caddy_sync(known, "my-app", ALL)
    plan = plan_caddy_sync(known, "my-app", ServiceRequest(nodes=("edge",)))
    assert [ref.source for ref in plan.caddy.values()] == ["Caddyfile.fragment"]


def test_a_sync_of_what_is_served_elsewhere_by_now_is_not_tried_again(world: World) -> None:
    plan = plan_caddy_sync(world.has(NAMED, EVERYWHERE), "my-app", ALL)
    refuse_outdated(world.known, plan, "01TASK")
    world.has({**NAMED, "nodes": ["edge"]}, EVERYWHERE)
    with pytest.raises(Conflict, match="would be planned in another way now") as refused:
        refuse_outdated(world.known, plan, "01TASK")
    assert "composia services caddy-sync my-app" in str(refused.value.hint)


def test_a_plan_is_read_back_as_it_was_stored(world: World) -> None:
    plan = plan_caddy_sync(world.has(NAMED, CADDY), "my-app", ALL)
    assert PLANS.validate_json(plan.model_dump_json()) == plan


def test_a_catalog_without_caddy_is_told_how_to_have_one(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        plan_caddy_sync(world.has(NAMED), "my-app", ALL)
    assert "infra: {caddy:" in str(caught.value.hint)


def test_a_node_without_caddy_is_refused_by_name(world: World) -> None:
    known = world.has({**NAMED, "nodes": ["main", "edge"]}, CADDY)
    with pytest.raises(Conflict, match="edge has no Caddy"):
        plan_caddy_sync(known, "my-app", ServiceRequest(nodes=("main", "edge")))


def test_a_broken_caddy_is_named_by_a_sync_and_stops_no_deploy(world: World) -> None:
    known = world.has(NAMED, INFRA)
    broken = Broken(folder="c", name="c", problems=(Problem(msg="bad"),), infra=("caddy",))
    known = world.change(catalog=known.catalog.model_copy(update={"broken": (broken,)}))
    with pytest.raises(Invalid, match="c is broken"):
        plan_caddy_sync(known, "my-app", ALL)
    assert plan_deploy(known, "my-app", ALL).caddy == {}


async def test_a_sync_takes_the_catalogs_fragment_and_tells_warnings(world: World) -> None:
    run = MemoryRun(lambda node, operation: Placed(changed=True, warnings=("down",)))
    result = await plan_caddy_sync(world.has(NAMED, CADDY), "my-app", ALL).carry_out(run)
    (asked,) = run.asked
    assert isinstance(asked, PlaceFragment)
    assert (asked.from_catalog, asked.must_run) == (True, False)
    assert result == {"changed": {"main": True}, "warnings": {"main": ("down",)}}
    assert run.steps == [("caddy_sync", "main")]


async def test_a_deploy_brings_each_node_its_own_fragment(world: World) -> None:
    def answer(node: str, operation: Any) -> Deployed:
        return Deployed(changed=False, warnings=("down",) if operation.caddy else ())

    known = world.has({**NAMED, "nodes": ["main", "edge"]}, CADDY)
    run = MemoryRun(answer)
    result = await plan_deploy(known, "my-app", ALL).carry_out(run)
    placed = [one.caddy and one.caddy.source for one in run.asked if isinstance(one, Deploy)]
    assert placed == ["Caddyfile.fragment", None]
    assert result["warnings"] == {"main": ("down",)}
