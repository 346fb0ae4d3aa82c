"""Deploying, updating, stopping and restarting: what is planned, and what is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from composia.errors import (
    Cancelled,
    ComposiaError,
    Conflict,
    Failure,
    Invalid,
    NodeLost,
    NotFound,
    Problem,
    Told,
)
from composia.model.catalog import Broken, CatalogView
from composia.model.node import NodeState
from composia.model.task import OpenMove
from composia.operations.backup import SaveData
from composia.operations.base import Nothing, Operation
from composia.operations.service import Deploy, Deployed
from composia.workflows import PLANS
from composia.workflows.again import refuse_outdated
from composia.workflows.plan import PartlyCancelled, PartlyDone, Plan
from composia.workflows.service import (
    UpdateRequest,
    plan_deploy,
    plan_restart,
    plan_stop,
    plan_update,
)
from tests.twins.office import INFRA, MY_APP, REPOSITORY, container, node_state
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World
from tests.unit.workflows.saving import node as saving
from tests.unit.workflows.saving import saved

EVERYWHERE = {**MY_APP, "nodes": ["main", "edge"]}


def asked(*nodes: str, backup_first: bool = False) -> UpdateRequest:
    return UpdateRequest(nodes=nodes or None, backup_first=backup_first)


def test_a_deploy_goes_to_the_nodes_of_the_service_by_default(world: World) -> None:
    plan = plan_deploy(world.known, "my-app", asked())
    assert str(plan) == "Deploy my-app on main"
    assert [hold.name for hold in plan.holds][:2] == ["my-app: placement", "my-app@main"]


def held(plan: Plan) -> dict[str, bool]:
    """What it holds, and whether others may too."""
    return {hold.name: hold.shared for hold in plan.holds}


@pytest.mark.parametrize("plan", [plan_deploy, plan_update, plan_restart])
def test_nobody_is_at_work_elsewhere_while_it_starts(world: World, plan: Any) -> None:
    """What a backup of the old node has stopped looks stopped, and starts again."""
    stopped = node_state(container("my-app", "web", "exited"))
    asked_for = plan(world.sees(main=stopped), "my-app", asked())
    assert held(asked_for) == {"my-app: placement": True, "my-app@main": False, "my-app@edge": True}
    # What runs there only goes on.
    goes_on = plan(world.sees(main=node_state(container("my-app", "web"))), "my-app", asked())
    assert held(goes_on) == {"my-app: placement": True, "my-app@main": False}
    world.sees(main=stopped)
    everywhere = plan(world.has(EVERYWHERE), "my-app", asked())
    assert held(everywhere) == {
        "my-app: placement": True, "my-app@main": False, "my-app@edge": False,
    }  # fmt: skip


def test_who_stops_it_on_one_node_does_not_care_for_others(world: World) -> None:
    plan = plan_stop(world.known, "my-app", asked())
    assert held(plan) == {"my-app: placement": True, "my-app@main": False}


def test_a_plan_of_the_version_before_is_read(world: World) -> None:
    stored = plan_deploy(world.known, "my-app", asked()).model_dump(exclude={"elsewhere"})
    read = PLANS.validate_python(stored)
    assert held(read) == {"my-app: placement": True, "my-app@main": False}
    # Nobody can have started it where it never was.
    refuse_outdated(world.known, read, "01TASK")


@pytest.mark.parametrize("plan", [plan_deploy, plan_restart])
def test_a_node_that_is_new_in_config_yaml_keeps_nobody_from_a_retry(
    world: World, plan: Any
) -> None:
    world.sees(main=node_state(container("my-app", "web", "exited")))
    before = plan(world.known, "my-app", asked())
    refuse_outdated(world.sees(third=node_state()), before, "01TASK")
    world.sees(third=node_state(container("my-app", "web", "exited")))
    with pytest.raises(Conflict, match="it would be planned in another way now"):
        refuse_outdated(world.known, before, "01TASK")


def test_a_plan_is_read_back_as_it_was_stored(world: World) -> None:
    plan = plan_update(world.known, "my-app", asked())
    assert PLANS.validate_json(plan.model_dump_json()) == plan


def test_an_unknown_service_is_answered_with_the_closest_name(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        plan_deploy(world.known, "my-ap", asked())
    assert "my-app" in str(caught.value.hint)


def test_all_unknown_nodes_are_named_at_once(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        plan_deploy(world.known, "my-app", asked("mian", "egde"))
    assert [problem.loc for problem in caught.value.problems] == [("nodes", 0), ("nodes", 1)]
    assert "main" in str(caught.value.hint)


def test_a_service_is_not_deployed_to_a_node_that_it_is_not_meant_for(world: World) -> None:
    with pytest.raises(Conflict, match="not meant for node edge"):
        plan_deploy(world.known, "my-app", asked("edge"))


def test_a_broken_service_is_refused_with_its_problems(world: World) -> None:
    problem = Problem(loc=("name",), msg="is missing")
    broken = Broken(folder="bad", name="bad", problems=(problem,))
    known = world.change(catalog=CatalogView(broken=(broken,)))
    with pytest.raises(Invalid) as caught:
        plan_deploy(known, "bad", asked())
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize("plan", [plan_deploy, plan_update, plan_restart])
def test_a_disabled_service_is_left_alone(world: World, plan: Any) -> None:
    with pytest.raises(Conflict, match="disabled"):
        plan(world.has({**MY_APP, "enabled": False}), "my-app", asked())


def test_a_disabled_service_can_be_stopped(world: World) -> None:
    plan = plan_stop(world.has({**MY_APP, "enabled": False}), "my-app", asked())
    assert plan.nodes == ("main",)


def test_a_service_without_nodes_says_where_to_name_some(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        plan_deploy(world.has({**MY_APP, "nodes": []}), "my-app", asked())
    assert "composia-meta.yaml" in str(caught.value.hint)


@pytest.mark.parametrize("plan", [plan_deploy, plan_update, plan_stop, plan_restart])
def test_a_project_that_runs_from_another_folder_is_not_touched(world: World, plan: Any) -> None:
    known = world.sees(main=node_state(container("my-app", "web", folder="/home/me/my-app")))
    with pytest.raises(Conflict, match="/home/me/my-app") as caught:
        plan(known, "my-app", asked())
    assert "/srv/my-app" in str(caught.value.hint)


def test_a_service_is_not_started_twice_after_its_nodes_have_changed(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    with pytest.raises(Conflict, match="still runs on node main") as caught:
        plan_deploy(world.known, "my-app", asked())
    assert "composia stop my-app --node main" in str(caught.value.hint)


RENAMED = {**MY_APP, "project_name": "shop"}


@pytest.mark.parametrize("plan", [plan_deploy, plan_update])
def test_a_service_is_not_started_beside_itself_under_another_project(
    world: World, plan: Any
) -> None:
    world.has(RENAMED)
    with pytest.raises(Conflict, match="still runs on node main as compose project my-app"):
        plan(world.known, "my-app", asked())
    assert plan_stop(world.known, "my-app", asked()).nodes == ("main",)
    known = world.sees(main=node_state(container("my-app", "web", state="exited")))
    assert plan(known, "my-app", asked()).nodes == ("main",)


def test_another_project_hides_no_service_that_runs_elsewhere(world: World) -> None:
    world.has({**RENAMED, "nodes": ["edge"]})
    world.sees(main=node_state(container("another", "web"), container("my-app", "web")))
    with pytest.raises(Conflict, match="still runs on node main, which is not among its nodes"):
        plan_deploy(world.known, "my-app", asked())


@pytest.mark.parametrize("plan", [plan_deploy, plan_update, plan_restart])
def test_nothing_starts_where_an_open_move_has_left_it(world: World, plan: Any) -> None:
    left = OpenMove(task="01MOVE", service="my-app", source="main", target="edge")
    with pytest.raises(Conflict, match="runs on edge: task 01MOVE has moved it away from main"):
        plan(world.change(moves={"my-app": left}), "my-app", asked())
    assert plan_restart(world.known, "my-app", asked("edge")).nodes == ("edge",)


def without_engine(**how: bool) -> NodeState:
    """A node whose engine has died, with what its agent knows of the service there."""
    seen = node_state(container("my-app", "web"))
    instances = tuple(one.model_copy(update=how) for one in seen.instances)
    changes = {"docker": False, "containers": (), "instances": instances}
    return seen.model_copy(update=changes)


def test_behind_a_dead_engine_a_service_may_run(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    known = world.sees(main=without_engine())
    with pytest.raises(Conflict, match="not known whether my-app runs on node main") as caught:
        plan_deploy(known, "my-app", asked())
    assert "Start the engine of main" in str(caught.value.hint)


@pytest.mark.parametrize("how", ["held", "left"])
def test_what_was_stopped_before_its_engine_died_does_not_run(world: World, how: str) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    known = world.sees(main=without_engine(**{how: True}))
    assert plan_deploy(known, "my-app", asked()).nodes == ("edge",)


def test_a_dead_engine_elsewhere_is_no_concern_of_others(world: World) -> None:
    world.has({**MY_APP, "nodes": ["main"]})
    other = without_engine().model_copy(update={"instances": ()})
    assert plan_deploy(world.sees(edge=other), "my-app", asked()).nodes == ("main",)
    # And where it runs already it is started nowhere else.
    assert plan_deploy(world.sees(edge=without_engine()), "my-app", asked()).nodes == ("main",)


def test_a_service_that_was_stopped_there_starts_on_its_new_node(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    known = world.sees(main=node_state(container("my-app", "web", "exited")))
    assert plan_deploy(known, "my-app", asked()).nodes == ("edge",)


def test_a_service_can_be_stopped_where_it_is_no_longer_meant_to_run(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    assert plan_stop(world.known, "my-app", asked("main")).nodes == ("main",)


def test_what_was_stopped_where_it_is_no_longer_meant_to_run_stays_so(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    known = world.sees(main=node_state(container("my-app", "web", "exited")))
    with pytest.raises(
        Conflict, match="not meant for node main any more, and does not run"
    ) as caught:
        plan_restart(known, "my-app", asked("main"))
    assert caught.value.hint == "Add main to `nodes` in its composia-meta.yaml."


def test_what_runs_where_it_is_no_longer_meant_to_run_may_be_restarted(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    assert plan_restart(world.known, "my-app", asked("main")).nodes == ("main",)


def test_a_restart_starts_nothing_beside_what_runs_on_its_old_node(world: World) -> None:
    world.has({**MY_APP, "nodes": ["edge"]})
    world.sees(edge=node_state(container("my-app", "web", "exited")))
    with pytest.raises(Conflict, match="still runs on node main"):
        plan_restart(world.known, "my-app", asked())
    known = world.sees(edge=node_state(container("my-app", "web")))
    assert plan_restart(known, "my-app", asked()).nodes == ("edge",)


def test_where_it_never_was_nothing_is_restarted(world: World) -> None:
    with pytest.raises(Conflict) as caught:
        plan_restart(world.known, "my-app", asked("edge"))
    assert caught.value.message == "my-app does not run on node edge"


def test_a_service_cannot_be_stopped_where_it_never_was(world: World) -> None:
    with pytest.raises(Conflict, match="does not run on node edge"):
        plan_stop(world.known, "my-app", asked("edge"))


async def test_an_update_pulls_and_a_deploy_does_not(world: World) -> None:
    run = MemoryRun(lambda node, operation: Deployed(changed=True))
    await plan_deploy(world.known, "my-app", asked()).carry_out(run)
    await plan_update(world.known, "my-app", asked()).carry_out(run)
    assert [one.pull for one in run.asked if isinstance(one, Deploy)] == [False, True]


def test_an_update_with_a_backup_holds_the_service_once(world: World) -> None:
    plan = plan_update(world.known, "my-app", asked(backup_first=True))
    assert str(plan) == "Back up and update my-app on main"
    assert [hold.name for hold in plan.holds] == [
        "my-app: placement", "my-app@main", "repository",
    ]  # fmt: skip
    assert PLANS.validate_json(plan.model_dump_json()) == plan


def test_an_update_with_a_backup_names_what_stands_in_the_way_of_that(world: World) -> None:
    known = world.has({"name": "my-app", "nodes": ["main"]}, INFRA)
    with pytest.raises(Conflict, match="nothing to back up"):
        plan_update(known, "my-app", asked(backup_first=True))


async def test_the_data_is_saved_before_an_update_where_that_was_asked_for(world: World) -> None:
    run = MemoryRun(saved_and_deployed())
    result = await plan_update(world.known, "my-app", asked(backup_first=True)).carry_out(run)
    steps = [step for step, node in run.steps if node]
    assert steps == ["open_repository", "back_up", "deploy"]
    made = run.told["record_backups"]["backups"]
    assert {one["kind"] for one in made} == {"before_update"}
    assert result == {"backup_ids": [one["id"] for one in made], "changed": {"main": True}}


async def test_nothing_is_updated_where_an_item_was_not_saved(world: World) -> None:
    run = MemoryRun(saved_and_deployed(error=Told(kind="Failure", message="the disk is full")))
    plan = plan_update(world.known, "my-app", asked(backup_first=True))
    with pytest.raises(PartlyDone, match="the disk is full") as caught:
        await plan.carry_out(run)
    assert str(caught.value.hint).endswith("Nothing was updated.")
    assert ("deploy", "main") not in run.steps


async def test_an_update_that_fails_names_what_was_saved(world: World) -> None:
    run = MemoryRun(saved_and_deployed(deploying=Failure("no such image", hint="Look.")))
    plan = plan_update(world.known, "my-app", asked(backup_first=True))
    with pytest.raises(PartlyDone, match="no such image") as caught:
        await plan.carry_out(run)
    made = run.told["record_backups"]["backups"]
    assert caught.value.result == {"backup_ids": [one["id"] for one in made]}
    assert caught.value.hint == "Look."


async def test_an_update_that_is_cancelled_names_what_was_saved(world: World) -> None:
    run = MemoryRun(saved_and_deployed(deploying=Cancelled("cancelled")))
    with pytest.raises(PartlyCancelled) as caught:
        await plan_update(world.known, "my-app", asked(backup_first=True)).carry_out(run)
    made = run.told["record_backups"]["backups"]
    assert caught.value.result == {"backup_ids": [one["id"] for one in made]}


async def test_an_update_that_is_cancelled_while_it_saves_names_what_it_has(world: World) -> None:
    saves = saving()

    def answer(node: str, operation: Operation[Any]) -> Answer:
        if node == "edge" and isinstance(operation, SaveData):
            return Cancelled("cancelled")
        return saves(node, operation)

    run = MemoryRun(answer)
    plan = plan_update(world.has(EVERYWHERE, INFRA), "my-app", asked(backup_first=True))
    with pytest.raises(PartlyCancelled, match="cancelled") as caught:
        await plan.carry_out(run)
    made = run.told["record_backups"]["backups"]
    assert caught.value.result == {"backup_ids": [one["id"] for one in made]}
    assert {one["node"]: one["status"] for one in made} == {"main": "success", "edge": "failed"}
    assert caught.value.hint == "Nothing was updated."
    assert ("deploy", "main") not in run.steps


async def test_of_an_empty_source_nothing_is_updated(world: World) -> None:
    run = MemoryRun(saved_and_deployed())
    await plan_update(world.known, "my-app", asked(backup_first=True)).carry_out(run)
    assert [one.empty_is_fine for one in run.asked if isinstance(one, SaveData)] == [False]


def test_an_update_that_failed_is_tried_again_with_its_backup(world: World) -> None:
    plan = plan_update(world.known, "my-app", asked(backup_first=True))
    # It has made the repository meanwhile.
    refuse_outdated(world.change(repository_id=REPOSITORY), plan, "01TASK")
    world.has({**MY_APP, "backup": {"data": [{"name": "uploads"}]}}, INFRA)
    with pytest.raises(Conflict) as refused:
        refuse_outdated(world.known, plan, "01TASK")
    assert "`composia update my-app --backup-first`" in str(refused.value.hint)


def saved_and_deployed(
    error: Told | None = None, deploying: Failure | None = None
) -> Callable[[str, Operation[Any]], Answer]:
    saves = saving(lambda name: error or saved())

    def answer(node: str, operation: Operation[Any]) -> Answer:
        if isinstance(operation, Deploy):
            return deploying or Deployed(changed=True)
        return saves(node, operation)

    return answer


async def test_what_changed_is_told_for_each_node(world: World) -> None:
    run = MemoryRun(lambda node, operation: Deployed(changed=node == "edge"))
    plan = plan_deploy(world.has(EVERYWHERE), "my-app", asked())
    assert await plan.carry_out(run) == {"changed": {"main": False, "edge": True}}


async def test_one_lost_node_keeps_no_other_from_being_deployed(world: World) -> None:
    def answer(node: str, operation: Operation[Any]) -> Answer:
        return NodeLost("gone") if node == "edge" else Deployed(changed=True)

    plan = plan_deploy(world.has(EVERYWHERE), "my-app", asked())
    with pytest.raises(PartlyDone, match="edge: gone") as caught:
        await plan.carry_out(MemoryRun(answer))
    assert caught.value.result == {"changed": {"main": True}}


async def test_a_cancel_tells_what_was_done_by_then(world: World) -> None:
    def answer(node: str, operation: Operation[Any]) -> Answer:
        return Cancelled("cancelled") if node == "edge" else Deployed(changed=True)

    plan = plan_deploy(world.has(EVERYWHERE), "my-app", asked())
    with pytest.raises(PartlyCancelled, match="edge: cancelled") as caught:
        await plan.carry_out(MemoryRun(answer))
    assert caught.value.result == {"changed": {"main": True}}
    assert caught.value.as_told().as_error().__class__ is Cancelled


async def test_where_nothing_was_done_a_cancel_tells_no_more(world: World) -> None:
    plan = plan_deploy(world.has(EVERYWHERE), "my-app", asked())
    with pytest.raises(Cancelled) as caught:
        await plan.carry_out(MemoryRun(lambda node, operation: Cancelled("cancelled")))
    assert caught.value.__class__ is Cancelled


async def test_a_failure_beside_a_cancel_is_a_failure(world: World) -> None:
    def answer(node: str, operation: Operation[Any]) -> Answer:
        return Cancelled("cancelled") if node == "edge" else Failure("no such image")

    plan = plan_deploy(world.has(EVERYWHERE), "my-app", asked())
    with pytest.raises(PartlyDone, match="main: no such image; edge: cancelled"):
        await plan.carry_out(MemoryRun(answer))


async def test_the_only_node_fails_with_its_own_error(world: World) -> None:
    error: ComposiaError = Failure("no space left", hint="Make some.")
    plan = plan_restart(world.known, "my-app", asked())
    with pytest.raises(Failure) as caught:
        await plan.carry_out(MemoryRun(lambda node, operation: error))
    assert caught.value is error


async def test_stop_is_one_step_of_its_name(world: World) -> None:
    run = MemoryRun(lambda node, operation: Nothing())
    await plan_stop(world.known, "my-app", asked()).carry_out(run)
    assert run.steps == [("stop", "main")]
