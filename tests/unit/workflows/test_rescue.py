"""A service whose machine has burnt: from where it comes, and what becomes of what comes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from composia.errors import Conflict, Failure, NodeLost
from composia.model.backup import Backup, BackupStatus
from composia.model.service import CaddyRef
from composia.model.task import OpenMove
from composia.operations.arriving import Started
from composia.operations.base import Nothing, Operation
from composia.operations.caddy import PlaceFragment
from composia.operations.fragments import Placed
from composia.operations.leaving import StaleStopped
from composia.operations.surveying import TargetSeen
from composia.workflows.again import refuse_outdated
from composia.workflows.move import MigrateRequest, begin
from composia.workflows.plan import LeftOpen
from composia.workflows.plan_moves import plan_migrate, plan_rescue
from composia.workflows.rescue import RescuePlan, StopStalePlan
from tests.twins.office import INFRA, MY_APP
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World

MOVING: dict[str, Any] = {
    **MY_APP, "network": {}, "migrate": {"data": [{"name": "uploads"}]},
}  # fmt: skip
NEW = {"answered": False, "half_done": False, "facts": {}}
TARGET = TargetSeen(free=1 << 40, free_for_volumes=1 << 40)


def saved(id: str, node: str, hours: int = 1) -> Backup:  # noqa: A002  # a field's name
    return Backup(
        id=id, service="my-app", data_item="uploads", node=node, task_id="01TASK",
        time=datetime.now(UTC) - timedelta(hours=hours), snapshot_id="ab" * 32,
        status=BackupStatus.SUCCESS, strategy="files.copy",
    )  # fmt: skip


def rescued(
    world: World, backups: list[Backup], way: tuple[str, ...] = (), **more: Any
) -> RescuePlan:
    """From main to edge, unless something else is asked for."""
    request = MigrateRequest(**{"target_node": "edge", "source_is_gone": True, **more})
    move, wrong = begin(world.known, "my-app", request)
    return plan_rescue(world.known, move, wrong, backups, way, online=False)


def chosen(plan: RescuePlan) -> list[str]:
    return [one.wanted.backup_id for one in plan.restore.items] if plan.restore else []


def burnt_after_a_move(world: World) -> None:
    """Edge, to which it had been moved; the catalog still says main."""
    world.has(MOVING, INFRA)
    left = OpenMove(task="01MOVE", service="my-app", source="main", target="edge")
    world.change(moves={"my-app": left})


def test_it_comes_from_the_backups_of_the_lost_node(world: World) -> None:
    world.has(MOVING, INFRA)
    plan = rescued(world, [saved("01B", "edge"), saved("01A", "main", hours=9)])
    assert chosen(plan) == ["01A"]


def test_a_node_that_burnt_before_its_first_backup_has_those_it_came_with(world: World) -> None:
    world.has({**MOVING, "nodes": ["edge"]}, INFRA)
    backups = [saved("01A", "main"), saved("01B", "elsewhere")]
    plan = rescued(world, backups, ("main",), target_node="main")
    assert chosen(plan) == ["01A"]
    with pytest.raises(Conflict, match="no good backup of uploads"):
        rescued(world, backups, target_node="main")


def test_the_target_of_an_open_move_can_be_given_up_too(world: World) -> None:
    burnt_after_a_move(world)
    plan = rescued(world, [saved("01A", "main")], target_node="main")
    assert (plan.gone, plan.target, plan.takes_over) == ("edge", "main", "01MOVE")
    # What main has kept is younger than its last backup.
    assert plan.restore is None
    assert plan.nodes_after == plan.nodes_before == ("main",)


def test_what_was_saved_on_the_lost_target_is_younger_still(world: World) -> None:
    burnt_after_a_move(world)
    plan = rescued(world, [saved("01B", "edge"), saved("01A", "main")], target_node="main")
    assert chosen(plan) == ["01B"]


def test_a_third_node_takes_the_place_of_the_one_in_the_catalog(world: World) -> None:
    burnt_after_a_move(world)
    world.sees(third=world.known.nodes["edge"])
    plan = rescued(world, [saved("01A", "main")], ("main",), target_node="third")
    assert chosen(plan) == ["01A"]
    assert (plan.gone, plan.nodes_after) == ("edge", ("third",))


def test_the_source_of_an_open_move_has_nothing_to_rescue(world: World) -> None:
    burnt_after_a_move(world)
    world.sees(third=world.known.nodes["edge"])
    with pytest.raises(Conflict, match="my-app runs on edge: task 01MOVE") as refused:
        rescued(world, [saved("01A", "main")], source_node="main", target_node="third")
    assert "composia task retry 01MOVE" in str(refused.value.hint)
    request = MigrateRequest(target_node="third")
    move, wrong = begin(world.known, "my-app", request)
    with pytest.raises(Conflict, match="my-app runs on edge: task 01MOVE"):
        plan_migrate(world.known, move, wrong, None)


def test_a_rescue_of_a_service_that_is_elsewhere_by_now_is_not_tried_again(world: World) -> None:
    world.has(MOVING, INFRA)
    plan = rescued(world, [saved("01A", "main")])
    refuse_outdated(world.known, plan, "01R")
    world.has({**MOVING, "nodes": ["third"]}, INFRA)
    with pytest.raises(Conflict, match="its nodes are third, and not main") as refused:
        refuse_outdated(world.known, plan, "01R")
    assert "--from main --to edge --source-is-gone" in str(refused.value.hint)


CADDY = {"name": "infra-caddy", "nodes": ["main"], "infra": {"caddy": {}}}
NAMED = {**MOVING, "network": {"caddy": {"source": "./Caddyfile.fragment"}}}


async def test_where_there_is_no_caddy_it_comes_all_the_same_and_says_so(world: World) -> None:
    world.has(NAMED, INFRA, CADDY)
    plan = rescued(world, [saved("01A", "main")])
    [remark] = plan.remarks
    assert "edge has no Caddy" in remark
    plan = plan.model_copy(update={"restore": None})
    run = carried()
    assert (await plan.carry_out(run))["warnings"] == [remark]
    assert run.told["note_move"]["facts"] == {"warnings": [remark]}
    again = carried()
    again.controlled["begin_move"] = {**NEW, "answered": True, "facts": {"warnings": [remark]}}
    assert (await plan.carry_out(again))["warnings"] == [remark]


async def test_a_caddy_that_is_down_keeps_no_service_down(world: World) -> None:
    world.has(NAMED, INFRA, {**CADDY, "nodes": ["main", "edge"]})
    plan = rescued(world, [saved("01A", "main")])
    assert plan.remarks == ()
    run = carried()
    await plan.model_copy(update={"restore": None}).carry_out(run)
    placed = [one for one in run.asked if isinstance(one, PlaceFragment)]
    assert [(one.rehearse, one.must_run) for one in placed] == [(True, False), (False, True)]


def carried(failing: str | None = None, error: Failure | None = None) -> MemoryRun:
    def answer(node: str, operation: Operation[Any]) -> Answer:
        if operation.op == failing:
            return error or Failure("no luck")
        results: dict[str, Answer] = {
            "survey_target": TARGET,
            "start_on_target": Started(start_seconds=1.0),
            "place_fragment": Placed(),
        }
        return results.get(operation.op, Nothing())

    run = MemoryRun(answer)
    run.controlled |= {
        "begin_move": NEW, "update_dns": {"records": []}, "write_back": {"revision": "abc"},
    }  # fmt: skip
    return run


def plan_without_data(world: World) -> RescuePlan:
    burnt_after_a_move(world)
    return rescued(world, [], target_node="main")


def done(run: MemoryRun) -> list[str]:
    return [name for name, _ in run.steps]


async def test_the_source_is_noted_before_it_is_looked_whether_it_is_there(world: World) -> None:
    run = carried()
    await plan_without_data(world).carry_out(run)
    assert done(run)[:3] == ["0_begin", "0_gone", "0_check"]
    assert done(run)[-1] == "9_give_up_source"
    assert run.told["refuse_connected"]["node"] == "edge"


@pytest.mark.parametrize(("failing", "cleared"), [("survey_target", False), ("create", True)])
async def test_a_failure_before_the_answer_is_undone(
    world: World, failing: str, *, cleared: bool
) -> None:
    run = carried("prepare_target" if failing == "create" else failing)
    with pytest.raises(LeftOpen, match="no luck") as undone:
        await plan_without_data(world).carry_out(run)
    # The move that was open before is so again.
    assert undone.value.holder == "01MOVE"
    assert ("undo_target" in done(run)) == cleared
    assert done(run)[-1] == "undone"


async def test_one_that_took_nothing_over_just_fails(world: World) -> None:
    world.has(MOVING, INFRA)
    plan = rescued(world, [saved("01A", "main")])
    with pytest.raises(Failure, match="no luck"):
        await plan.carry_out(carried("survey_target"))


async def test_what_cannot_be_cleared_stays_open(world: World) -> None:
    run = carried("start_on_target")
    answer = run._answer

    def both(node: str, operation: Operation[Any]) -> Answer:
        lost = NodeLost("away", hint="Start its agent.")
        return lost if operation.op == "clear_target" else answer(node, operation)

    run._answer = both
    with pytest.raises(LeftOpen, match="could not be undone") as left:
        await plan_without_data(world).carry_out(run)
    assert left.value.keeps == "my-app: placement"
    # Why it could not, and what a person does then.
    assert left.value.hint == ("Start its agent. It may run on main: retry clears it there first.")
    assert "undone" not in done(run)


def from_main(world: World) -> RescuePlan:
    world.has(MOVING, INFRA)
    return rescued(world, [saved("01A", "main")])


async def test_what_came_back_meanwhile_runs_again_when_it_is_undone(world: World) -> None:
    run = carried("survey_target")
    run.controlled["source_stopped"] = True
    with pytest.raises(Failure, match="no luck"):
        await from_main(world).carry_out(run)
    assert run.steps[-2:] == [("undo_source", "main"), ("undone", None)]


async def test_what_runs_again_is_served_again(world: World) -> None:
    run = carried("survey_target")
    run.controlled["source_stopped"] = True
    caddy = CaddyRef(
        service=world.known.service("infra-backup").ref,
        compose_service="caddy",
        config_dir="/etc/caddy",
        source="site.caddy",
    )
    with pytest.raises(Failure, match="no luck"):
        await from_main(world).model_copy(update={"caddy_on_gone": caddy}).carry_out(run)
    steps = [("undo_source", "main"), ("undo_caddy", "main"), ("undone", None)]
    assert run.steps[-3:] == steps
    assert isinstance(run.asked[-1], PlaceFragment)
    assert run.asked[-1].caddy == caddy


async def test_what_does_not_run_again_is_told_with_what_to_do(world: World) -> None:
    run = MemoryRun(lambda node, operation: Failure(f"no luck on {node}"))
    run.controlled |= {"begin_move": NEW, "source_stopped": True}
    with pytest.raises(Failure, match="main came back meanwhile and was stopped") as told:
        await from_main(world).carry_out(run)
    assert "no luck on edge" in told.value.message
    assert "composia deploy my-app --node main" in str(told.value.hint)
    assert run.told["note_move"]["stage"] == "undone"


async def test_where_a_move_was_open_the_rescue_may_still_go_on(world: World) -> None:
    plan = plan_without_data(world)
    run = MemoryRun(lambda node, operation: Failure(f"no luck on {node}"))
    run.controlled |= {"begin_move": NEW, "source_stopped": True}
    with pytest.raises(LeftOpen, match="edge came back meanwhile and was stopped") as left:
        await plan.carry_out(run)
    # The node that it came to is fenced, and the move before has nothing that could start it.
    assert left.value.holder is None
    assert "undone" not in done(run)


async def test_who_was_stopped_for_nothing_hears_of_it(world: World) -> None:
    service = world.has(MOVING, INFRA).service("my-app").ref
    stopped = StaleStopped(ran={}, stopped_at=datetime.now(UTC))
    run = MemoryRun(lambda node, operation: stopped)
    run.controlled["note_source_stopped"] = False
    with pytest.raises(Failure, match="for a rescue that was undone meanwhile") as told:
        await StopStalePlan(service=service, node="main", of_task="01R").carry_out(run)
    assert "composia deploy my-app --node main" in str(told.value.hint)


async def test_what_came_back_and_was_stopped_is_noted(world: World) -> None:
    world.has(MOVING, INFRA)
    stopped = StaleStopped(
        ran={"my-app-web-1": "2026-11-24T03:00:00Z"}, stopped_at=datetime.now(UTC)
    )
    run = MemoryRun(lambda node, operation: stopped)
    service = world.known.service("my-app").ref
    result = await StopStalePlan(service=service, node="main", of_task="01R").carry_out(run)
    assert run.told["note_source_stopped"] == {"task": "01R"}
    assert list(result["overlap"]) == ["my-app-web-1"]


@pytest.mark.parametrize(
    ("said", "warnings"),
    [
        (Placed(changed=True), None),
        (Placed(warnings=("Caddy does not run",)), ["Caddy does not run"]),
        (Failure("no such image"), ["Caddy on main may still serve it: no such image"]),
    ],
    ids=["taken away", "down", "refused"],
)
async def test_what_came_back_is_served_no_more(
    world: World, said: Placed | Failure, warnings: list[str] | None
) -> None:
    world.has(MOVING, INFRA)
    stopped = StaleStopped(ran={}, stopped_at=datetime.now(UTC))
    run = MemoryRun(lambda node, one: said if isinstance(one, PlaceFragment) else stopped)
    service = world.known.service("my-app").ref
    caddy = CaddyRef(
        service=service, compose_service="caddy", config_dir="/etc/caddy", source="site.caddy"
    )
    plan = StopStalePlan(service=service, node="main", of_task="01R", caddy=caddy)
    result = await plan.carry_out(run)
    assert [one.op for one in run.asked] == ["stop_stale", "place_fragment"]
    assert run.steps[-1] == ("noted", None)
    assert isinstance(run.asked[1], PlaceFragment)
    assert run.asked[1].caddy == caddy.model_copy(update={"source": None})
    assert result.get("warnings") == warnings
