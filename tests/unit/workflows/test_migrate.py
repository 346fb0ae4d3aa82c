"""A move as numbered steps, and its way back from any of them."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from composia.controller.api.problems import status_of
from composia.errors import Cancelled, ComposiaError, Conflict, Failure, GivenUp, Invalid, NodeLost
from composia.model.dns import DnsSetup
from composia.model.node import Instance, Mount
from composia.model.service import CaddyRef
from composia.model.task import OpenMove
from composia.operations.arriving import DataRestored, Started
from composia.operations.backup import DataSaved, ItemSaved, SaveData
from composia.operations.base import Nothing, Operation
from composia.operations.caddy import PlaceFragment
from composia.operations.carrying import Received, Rounds
from composia.operations.certificates import CertificatesReceived, CertificatesSent
from composia.operations.forward import ForwardHosts
from composia.operations.fragments import Placed
from composia.operations.leaving import DataExported, SourceRetired
from composia.operations.repository import RepositoryOpened
from composia.operations.surveying import Size, SourceSeen, TargetSeen
from composia.strategies.base import Needs, Saved
from composia.tools.caddy_config import SiteAddress
from composia.tools.rustic import Snapshot
from composia.workflows.again import refuse_outdated
from composia.workflows.check import check
from composia.workflows.migrate import MigratePlan
from composia.workflows.move import MigrateRequest, begin
from composia.workflows.plan import LeftOpen
from composia.workflows.plan_moves import plan_migrate, plan_move_back
from tests.twins.office import (
    INFRA,
    MY_APP,
    NOW,
    REPOSITORY,
    SNAPSHOT,
    container,
    node_state,
)
from tests.twins.run import Answer, MemoryRun
from tests.unit.workflows.conftest import World
from tests.workflow.office import ref

SOURCE = SourceSeen(images={"web:1": ("sha256:1",)}, running=("web",), published=(80,))
TARGET = TargetSeen(images={"web:1": ("sha256:1",)}, free=1 << 40, free_for_volumes=1 << 40)
MOVING: dict[str, Any] = {
    **MY_APP, "network": {}, "migrate": {"data": [{"name": "uploads"}, {"name": "database"}]},
}  # fmt: skip
#: What the controller says of a move that begins.
NEW: dict[str, Any] = {"answered": False, "half_done": False, "facts": {}}
RESULTS: dict[str, Any] = {
    "survey_source": SOURCE,
    "survey_target": TARGET,
    "pre_copy": Rounds(rounds=()),
    "receive_data": Received.model_construct(bytes_received=0, rounds=0),
    "export_data": DataExported(held_seconds=1.0, dump_seconds=0.0, send_seconds=0.1, bytes_sent=7),
    "restore_data": DataRestored(placed=()),
    "start_on_target": Started(start_seconds=0.5),
    "retire_source": SourceRetired(kept_until="2026-12-01T00:00:00Z", kept=()),
    "place_fragment": Placed(),
    "forward_hosts": Placed(),
    "send_certificates": CertificatesSent(sites=(), hosts=()),
    "receive_certificates": CertificatesReceived(hosts=()),
}


def planned(world: World, **more: Any) -> MigratePlan:
    world.has(MOVING, INFRA)
    move, wrong = begin(world.known, "my-app", MigrateRequest(target_node="edge", **more))
    plan = plan_migrate(world.known, move, wrong, (SOURCE, TARGET))
    # What the backup does is shown by its own tests.
    return plan.model_copy(update={"backup": None})


def carried(failing: str | None = None, *, error: Exception | None = None) -> MemoryRun:
    """Every node does what it is asked; one operation, by its word, does not."""

    def answer(node: str, operation: Operation[Any]) -> Answer:
        if operation.op == failing:
            found = error or Failure("no luck")
            assert isinstance(found, Failure)
            return found
        result: Answer = RESULTS.get(operation.op, Nothing())
        return result

    run = MemoryRun(answer)
    run.controlled |= {
        "begin_move": NEW,
        "answer_move": {"sites": [], "trust": [], "downtime_seconds": 1.6},
        "update_dns": {"records": []},
        "write_back": {"revision": "abc"},
    }
    return run


def done(run: MemoryRun) -> list[str]:
    return list(dict.fromkeys(name for name, _ in run.steps))


def behind_caddy(world: World) -> MigratePlan:
    caddy = CaddyRef(
        service=planned(world).service, compose_service="caddy", config_dir="/etc/caddy", source="f"
    )
    places = {"caddy_on_source": caddy, "caddy_on_target": caddy, "target_address": "10.0.0.2"}
    return planned(world).model_copy(update=places)


CADDY = {"name": "infra-caddy", "nodes": ["main"], "infra": {"caddy": {}}}
NAMED = {**MOVING, "network": {"caddy": {"source": "./Caddyfile.fragment"}}}
SITE = SiteAddress(host="app.example.org", port=443, tls=True)


def named(world: World, caddy_on: list[str], meta: Mapping[str, Any] = NAMED) -> MigratePlan:
    """A service with a fragment, and the nodes that its Caddy is meant for."""
    world.has(meta, INFRA, {**CADDY, "nodes": caddy_on})
    move, wrong = begin(world.known, "my-app", MigrateRequest(target_node="edge"))
    plan = plan_migrate(world.known, move, wrong, (SOURCE, TARGET))
    return plan.model_copy(update={"backup": None})


def addressed(world: World, **addresses: dict[str, str]) -> None:
    world.change(dns=DnsSetup(**addresses))


def with_a_site(**warned: ComposiaError | Any) -> MemoryRun:
    """The fragment makes one, and operations may have something to say."""
    sent = CertificatesSent(sites=(SITE,), hosts=())
    run = carried()
    answer = run._answer

    def answers(node: str, operation: Operation[Any]) -> Answer:
        default = {"send_certificates": sent} | warned
        return default.get(operation.op) or answer(node, operation)

    def answered(task: str, facts: dict[str, Any], **seconds: float) -> dict[str, Any]:
        return {**facts, "downtime_seconds": 1.6}

    run._answer = answers
    run.controlled["answer_move"] = answered
    return run


def test_no_site_goes_where_no_caddy_is(world: World) -> None:
    world.has(NAMED, INFRA, CADDY)
    move, wrong = begin(world.known, "my-app", MigrateRequest(target_node="edge"))
    found = TARGET.model_copy(update={"taken": (80,)})
    with pytest.raises(Conflict) as refused:
        plan_migrate(world.known, move, wrong, (SOURCE, found))
    for word in ("edge has no Caddy: nobody would reach the site", "port 80 is taken"):
        assert word in refused.value.message
    for word in ("Add edge to `nodes` of infra-caddy", "`enabled: false`"):
        assert word in str(refused.value.hint)


@pytest.mark.parametrize(
    ("caddy_on", "meta"),
    [
        (["edge"], NAMED),
        (["third"], NAMED),
        (["main"], MOVING),
        (["main"], {**MOVING, "network": {"caddy": {"enabled": False}}}),
    ],
    ids=["target alone", "neither", "no fragment", "disabled"],
)
def test_a_site_that_is_not_lost_is_in_nobodys_way(
    world: World, caddy_on: list[str], meta: Mapping[str, Any]
) -> None:
    plan = named(world, caddy_on, meta)
    assert plan.caddy_on_source is None
    assert (plan.caddy_on_target is not None) == (caddy_on == ["edge"])


@pytest.mark.parametrize(
    ("addresses", "to"),
    [
        ({"ipv4": {"edge": "10.0.0.2"}, "ipv6": {"edge": "2001:db8::2"}}, "10.0.0.2"),
        ({"ipv6": {"edge": "2001:db8::2"}}, "2001:db8::2"),
    ],
    ids=["both", "ipv6"],
)
async def test_it_is_forwarded_to_the_address_that_there_is(
    world: World, addresses: dict[str, dict[str, str]], to: str
) -> None:
    addressed(world, **addresses)
    run = with_a_site()
    await named(world, ["main", "edge"]).carry_out(run)
    forwards = [one for one in run.asked if isinstance(one, ForwardHosts)]
    assert {str(one.to) for one in forwards} == {to}
    assert [one.rehearse for one in forwards] == [True, False, False]


@pytest.mark.parametrize(
    ("addresses", "sites", "why"),
    [({}, (SITE,), "no public_ipv4"), ({"ipv4": {"edge": "10.0.0.2"}}, (), "makes no site")],
    ids=["no address", "no site"],
)
async def test_a_forward_that_is_not_made_is_told_with_why(
    world: World, addresses: dict[str, dict[str, str]], sites: tuple[SiteAddress, ...], why: str
) -> None:
    addressed(world, **addresses)
    run = with_a_site(send_certificates=CertificatesSent(sites=sites, hosts=()))
    result = await named(world, ["main", "edge"]).carry_out(run)
    [warning] = result["warnings"]
    assert "main will not forward clients with the old address" in warning
    assert why in warning
    assert f"Warning: {warning}" in run.lines


async def test_what_caddy_and_imports_warn_of_is_told(world: World) -> None:
    addressed(world, ipv4={"edge": "10.0.0.2"})
    run = with_a_site(
        send_certificates=CertificatesSent(sites=(SITE,), hosts=(), warnings=("no certificate",)),
        restore_data=DataRestored(placed=(), warnings=("a role was there",)),
    )
    result = await named(world, ["main", "edge"]).carry_out(run)
    assert result["warnings"] == ["no certificate", "a role was there"]
    assert run.lines[:2] == ["Warning: no certificate", "Warning: a role was there"]


async def test_a_move_that_goes_well_warns_of_nothing(world: World) -> None:
    addressed(world, ipv4={"edge": "10.0.0.2"})
    run = with_a_site()
    assert "warnings" not in await named(world, ["main", "edge"]).carry_out(run)
    assert await named(world, ["edge"]).carry_out(run)


async def test_what_others_import_is_missed_before_anything_stops(world: World) -> None:
    """The fragment goes in step 2, and nothing takes its place before the outage is over."""
    plan, missing = named(world, ["main", "edge"]), Invalid("File to import not found: shared")
    run = carried()
    answer = run._answer

    def answers(node: str, operation: Operation[Any]) -> Answer:
        match operation:
            case PlaceFragment(caddy=CaddyRef(source=None), rehearse=True):
                return missing
        return answer(node, operation)

    run._answer = answers
    with pytest.raises(Invalid, match="to import"):
        await plan.carry_out(run)
    assert ("0_check_caddy", "main") in run.steps
    assert "1_export_data" not in done(run)


async def test_a_forward_that_was_rehearsed_is_look_enough(world: World) -> None:
    addressed(world, ipv4={"edge": "10.0.0.2"})
    run = with_a_site()
    await named(world, ["main", "edge"]).carry_out(run)
    assert ("0_check_forward", "main") in run.steps
    assert ("0_check_caddy", "main") not in run.steps


async def test_the_steps_are_those_of_the_design(world: World) -> None:
    run = carried()
    await behind_caddy(world).carry_out(run)
    design = Path("docs/design.md").read_text()
    named = re.findall(
        r"`(\d_[a-z_]+)`", design.partition("### Migrate")[2].partition("Between them")[0]
    )
    own = ("0_begin", "0_check_caddy", "0_bring_certificates", "5_answered", "9_done")
    assert [step for step in done(run) if step not in own] == [
        step for step in named if step != "0_back_up"
    ]


async def test_nothing_in_an_outage_waits_for_other_services(world: World) -> None:
    moves, undoes = carried(), carried("start_on_target")
    await behind_caddy(world).carry_out(moves)
    with pytest.raises(Failure):
        await behind_caddy(world).carry_out(undoes)
    asked = zip([name for name, node in moves.steps if node], moves.asked, strict=True)
    outage = [one for name, one in asked if "1_" <= name < "7_"]
    asked = zip([name for name, node in undoes.steps if node], undoes.asked, strict=True)
    undo = [one for name, one in asked if name.startswith("undo_")]
    assert (len(outage), len(undo)) == (7, 4)
    assert [one.op for one in (*outage, *undo) if not one.urgent] == []


async def test_who_waits_for_another_node_keeps_nobody_from_coming(world: World) -> None:
    run = carried()
    await behind_caddy(world).carry_out(run)
    joined = [one for one in run.asked if "wire" in type(one).model_fields]
    assert len(joined) == 6
    assert [one.op for one in joined if not one.urgent] == []


async def test_the_record_has_the_measured_outage(world: World) -> None:
    result = await planned(world).carry_out(carried())
    assert result["downtime_seconds"] == 1.6


@pytest.mark.parametrize(
    "failing", ["survey_target", "prepare_target", "pre_copy", "export_data", "stop_source",
                "restore_data", "start_on_target"]
)  # fmt: skip
async def test_before_the_answer_a_failure_is_undone(world: World, failing: str) -> None:
    run = carried(failing)
    with pytest.raises(Failure, match="no luck"):
        await planned(world).carry_out(run)
    asked = [operation.op for operation in run.asked]
    stopped = failing in ("export_data", "stop_source", "restore_data", "start_on_target")
    assert ("resume_source" in asked) == stopped
    assert ("clear_target" in asked) == (failing != "survey_target")
    assert run.told["note_move"]["stage"] == "undone"
    assert "retire_source" not in asked


def breaking(op: str) -> MemoryRun:
    """Something that nobody has thought of happens in an operation."""
    run = carried()
    answer = run._answer

    def breaks(node: str, operation: Operation[Any]) -> Answer:
        if operation.op == op:
            raise RuntimeError("nobody thought of this")
        return answer(node, operation)

    run._answer = breaks
    return run


async def test_a_bug_of_ours_leaves_no_service_down(world: World) -> None:
    run = breaking("stop_source")
    with pytest.raises(RuntimeError):
        await planned(world).carry_out(run)
    assert "resume_source" in [operation.op for operation in run.asked]
    assert run.told["note_move"]["stage"] == "undone"


async def test_a_bug_of_ours_behind_the_answer_lets_nothing_go(world: World) -> None:
    with pytest.raises(LeftOpen, match="nobody thought of this") as left:
        await planned(world).carry_out(breaking("retire_source"))
    assert left.value.keeps == "my-app: placement"


async def test_the_source_starts_only_when_nothing_runs_on_the_target(world: World) -> None:
    run = carried("start_on_target")
    with pytest.raises(Failure):
        await planned(world).carry_out(run)
    asked = [operation.op for operation in run.asked]
    assert asked.index("stop_target") < asked.index("resume_source") < asked.index("clear_target")


async def test_a_target_that_has_stopped_need_not_be_clean(world: World) -> None:
    run = failing_with("start_on_target", clear_target=Failure("a volume is in use"))
    with pytest.raises(Failure, match="no luck"):
        await planned(world).carry_out(run)
    assert "resume_source" in [operation.op for operation in run.asked]
    assert run.told["note_move"]["stage"] == "undone"


async def test_a_target_that_was_given_up_is_noted_before_the_source_starts(world: World) -> None:
    run = failing_with("start_on_target", stop_target=GivenUp("it has burnt"))
    with pytest.raises(Failure, match="no luck"):
        await planned(world).carry_out(run)
    assert done(run)[-4:] == ["undo_stop_target", "undo_target_gone", "undo_source", "undone"]
    assert run.told["give_up_target"]["node"] == "edge"


async def test_only_a_person_s_word_starts_the_source_unseen(world: World) -> None:
    run = failing_with("start_on_target", stop_target=Cancelled("it was revoked"))
    with pytest.raises(LeftOpen, match="could not be undone"):
        await planned(world).carry_out(run)
    assert "resume_source" not in [operation.op for operation in run.asked]


def failing_with(op: str, **errors: ComposiaError) -> MemoryRun:
    """One operation fails, and then others with it."""
    run = carried(op)
    answer = run._answer

    def answers(node: str, operation: Operation[Any]) -> Answer:
        return errors.get(operation.op) or answer(node, operation)

    run._answer = answers
    return run


async def test_a_lost_target_keeps_no_source_down_that_was_never_started(world: World) -> None:
    failing = carried("restore_data")
    answer = failing._answer

    def both(node: str, operation: Operation[Any]) -> Answer:
        return NodeLost("away") if operation.op == "clear_target" else answer(node, operation)

    failing._answer = both
    with pytest.raises(Failure, match="no luck"):
        await planned(world).carry_out(failing)
    assert "resume_source" in [operation.op for operation in failing.asked]


async def test_an_attempt_that_was_cut_off_is_taken_back_before_another_one(world: World) -> None:
    run = carried()
    run.controlled["begin_move"] = {**NEW, "half_done": True}
    await behind_caddy(world).carry_out(run)
    assert done(run)[:7] == [
        "0_begin", "undo_stop_target", "undo_source", "undo_caddy", "undo_target", "undone",
        "0_begin_anew",
    ]  # fmt: skip
    assert "5_start_on_target" in done(run)


async def test_one_that_cannot_be_taken_back_stays_open(world: World) -> None:
    run = carried("stop_target", error=Failure("web did not stop"))
    run.controlled["begin_move"] = {**NEW, "half_done": True}
    with pytest.raises(LeftOpen, match="could not be undone"):
        await planned(world).carry_out(run)
    assert done(run) == ["0_begin", "undo_stop_target"]


async def test_after_the_answer_nothing_is_undone_and_the_placement_is_kept(world: World) -> None:
    run = carried("retire_source")
    with pytest.raises(LeftOpen) as left:
        await planned(world).carry_out(run)
    assert left.value.keeps == "my-app: placement"
    assert "resume_source" not in [operation.op for operation in run.asked]


async def test_a_retry_after_the_answer_begins_with_step_6(world: World) -> None:
    run = carried()
    facts = run.controlled["answer_move"]
    run.controlled["begin_move"] = {**NEW, "answered": True, "facts": facts}
    await planned(world).carry_out(run)
    assert done(run) == ["0_begin", "7_update_dns", "8_write_back", "9_retire_source", "9_done"]


async def let_in(world: World, failing: str) -> list[str]:
    run = carried(failing)
    sites = [{"host": "app.example.org", "port": 443, "tls": True}]
    facts = {"sites": sites, "trust": [], "downtime_seconds": 1.6}
    run.controlled["begin_move"] = {**NEW, "answered": True, "facts": facts}
    with pytest.raises(LeftOpen, match="no luck"):
        await behind_caddy(world).carry_out(run)
    assert run.steps[1:3] == [("6_reload_caddy", "edge"), ("6_reload_caddy", "main")]
    return done(run)


async def test_names_point_nowhere_else_while_the_target_serves_no_site(world: World) -> None:
    assert await let_in(world, "place_fragment") == ["0_begin", "6_reload_caddy"]


async def test_names_do_not_wait_for_a_source_that_forwards_nothing(world: World) -> None:
    steps = await let_in(world, "forward_hosts")
    assert steps[2:] == ["7_update_dns", "8_write_back", "9_end_forward"]


async def test_a_rollback_without_the_data_carries_none(world: World) -> None:
    plan = planned(world)
    seen = (SOURCE, TARGET)
    back = plan_move_back(world.known, plan, "01TASK", "discard", seen)
    assert (back.source, back.target) == ("edge", "main")
    run = carried()
    await back.carry_out(run)
    asked = [operation.op for operation in run.asked]
    assert "pre_copy" not in asked
    assert "restore_data" not in asked
    assert back.takes_over == "01TASK"


def runs_at(world: World, revision: str) -> None:
    state = node_state(container("my-app", "web"))
    (there,) = state.instances
    there = there.model_copy(update={"revision": revision})
    world.sees(main=state.model_copy(update={"instances": (there,)}))


def test_what_was_undone_may_be_tried_again_while_nothing_has_changed(world: World) -> None:
    refuse_outdated(world.known, planned(world), "01TASK")


def test_what_was_deployed_since_is_no_part_of_an_older_plan(world: World) -> None:
    plan = planned(world)
    runs_at(world, "b" * 40)
    with pytest.raises(Conflict, match="revision bbbbbbb is on main, and not aaaaaaa") as refused:
        refuse_outdated(world.known, plan, "01TASK")
    assert "composia migrate my-app --from main --to edge" in str(refused.value.hint)
    # Behind the answer nothing is carried any more.
    left = OpenMove(task="01TASK", service="my-app", source="main", target="edge")
    world.change(moves={"my-app": left})
    refuse_outdated(world.known, plan, "01TASK")


def test_a_move_of_a_service_that_is_elsewhere_by_now_is_not_tried_again(world: World) -> None:
    plan = planned(world)
    world.has({**MOVING, "nodes": ["third"]}, INFRA)
    with pytest.raises(Conflict, match="its nodes are third, and not main"):
        refuse_outdated(world.known, plan, "01TASK")


def test_what_moves_by_now_is_no_part_of_an_older_plan(world: World) -> None:
    plan = planned(world)
    text = copy.deepcopy(MOVING)
    text["data_protect"]["data"][0]["backup"]["include"].append("./data/more")
    world.has(text, INFRA)
    with pytest.raises(Conflict, match="data item uploads has been changed"):
        refuse_outdated(world.known, plan, "01TASK")


async def test_nothing_stops_for_the_safety_copy(world: World) -> None:
    text = copy.deepcopy(MOVING)
    text["data_protect"]["data"][0]["backup"]["strategy"] = "files.tar_after_stop"
    world.has(text, INFRA)
    move, wrong = begin(world.known, "my-app", MigrateRequest(target_node="edge"))
    plan = plan_migrate(world.known, move, wrong, (SOURCE, TARGET)).backup
    assert plan
    assert Needs.STOPPED not in [item.strategy.needs for item in plan.items]

    run = MemoryRun(saving)
    await plan.carry_out(run)
    cold, dump = run.told["record_backups"]["backups"]
    assert (cold["status"], cold["strategy"]) == ("partial", "files.copy")
    assert "while the service ran" in cold["error"]
    assert dump["status"] == "success"


def saving(node: str, operation: Operation[Any]) -> Answer:
    """A node that saves all that it is asked to."""
    if not isinstance(operation, SaveData):
        return RepositoryOpened(repository_id=REPOSITORY, made=False)
    saved = Saved(snapshot=Snapshot(id=SNAPSHOT, size=5, added=3, files=2, duration=1.0))
    common = {"started_at": NOW, "duration": 1.0, "saved": saved}
    items = [ItemSaved(name=one.name, backup_id=one.backup_id, **common) for one in operation.items]
    return DataSaved(items=tuple(items))


def test_what_no_item_covers_is_refused_by_name(world: World) -> None:

    mounts = (Mount(kind="volume", source="cache", used_by=("web",)),)
    instance = Instance(service="my-app", folder="my-app", project="my-app", mounts=mounts)
    state = node_state(container("my-app", "web")).model_copy(update={"instances": (instance,)})
    world.sees(main=state)
    with pytest.raises(Invalid, match="`cache` of my-app would not move"):
        planned(world)
    plan = planned(world, leave_behind=("cache",))
    assert {one.source: one.how for one in plan.stays} == {
        "cache": "left behind, as asked for",
        "./data/uploads/temp": "left behind: excluded from uploads",
    }


def test_a_mount_that_an_item_excludes_stays_behind_without_being_asked_for(world: World) -> None:
    mounts = (Mount(kind="bind", source="./data/uploads/temp", used_by=("web",)),)
    instance = Instance(service="my-app", folder="my-app", project="my-app", mounts=mounts)
    state = node_state(container("my-app", "web")).model_copy(update={"instances": (instance,)})
    world.sees(main=state)
    plan = planned(world)
    assert [(one.source, one.how) for one in plan.stays] == [
        ("./data/uploads/temp", "left behind: excluded from uploads")
    ]
    assert plan.moves == ()


def test_all_that_cannot_be_moved_is_named_at_once(world: World) -> None:
    text = copy.deepcopy(MOVING)
    uploads, database, legacy = text["data_protect"]["data"]
    del uploads["restore"]
    database["restore"] = {"strategy": "files.copy", "include": ["./dumps"]}
    del text["migrate"]
    world.has(text, INFRA)
    mounts = (
        Mount(kind="volume", source="cache", used_by=("web",)),
        Mount(kind="bind", source="./data/mail", used_by=("web",)),
    )
    world.sees(main=node_state(container("my-app", "web"), mounts=mounts))
    asked = ("uploads", "database", legacy["name"])
    request = MigrateRequest(target_node="edge", data_items=asked)
    move, wrong = begin(world.known, "my-app", request)
    with pytest.raises(Invalid) as refused:
        plan_migrate(world.known, move, wrong, (SOURCE, TARGET))
    named = [problem.msg for problem in refused.value.problems]
    for word in (
        "uploads has no `restore`",
        "legacy has no `backup`",
        "database is saved as a dump",
        "`cache` of my-app would not move",
        "`./data/mail` of my-app would not move",
    ):
        assert any(word in one for one in named), word
    assert status_of(type(refused.value)) == 422


def test_everything_on_the_nodes_is_named_at_once(world: World) -> None:
    world.has(MOVING, INFRA)
    move, wrong = begin(world.known, "my-app", MigrateRequest(target_node="edge"))
    seen = SOURCE.model_copy(update={"sizes": {"uploads": Size(size=1 << 50, files=1)}})
    found = TARGET.model_copy(update={"taken": (80,), "images": {"web:1": ("sha256:2",)}})
    with pytest.raises(Conflict) as refused:
        plan_migrate(world.known, move, wrong, (seen, found))
    for word in ("port 80 is taken", "image web:1", "MiB free"):
        assert word in refused.value.message


def test_an_image_is_the_same_by_its_digest_whatever_its_engine_calls_it() -> None:
    pulled, other = "sha256:a", "sha256:b"
    seen = SOURCE.model_copy(update={"images": {"web:1": ("sha256:1", pulled)}})
    check(ref(), "main", "edge", seen, TARGET.model_copy(update={"images": {"web:1": (pulled,)}}))
    moved = TARGET.model_copy(update={"images": {"web:1": ("sha256:2", other)}})
    with pytest.raises(Conflict, match="image web:1 on edge is another one"):
        check(ref(), "main", "edge", seen, moved)


def test_variables_that_would_be_empty_on_the_target_are_named() -> None:
    seen = SOURCE.model_copy(update={"own_variables": True})
    with pytest.raises(Conflict, match=r"`\.env` of my-app on main is not in the catalog"):
        check(ref(), "main", "edge", seen, TARGET)
    check(ref(), "main", "edge", SOURCE, TARGET)
    check(ref(), "main", "edge", seen, TARGET.model_copy(update={"variables": True}))


def test_what_goes_to_a_disk_of_its_own_needs_room_there() -> None:
    seen = SOURCE.model_copy(
        update={
            "published": (),
            "sizes": {"media": Size(size=1 << 41, files=1)},
            "bound": {"/mnt/media": 1 << 41, "/srv/same": 5},
        }
    )
    roomy = TARGET.model_copy(update={"free_at": {"/mnt/media": 1 << 42}})
    check(ref(), "main", "edge", seen, roomy)
    for found, where in (
        (TARGET, "edge has"),
        (TARGET.model_copy(update={"free_at": {"/mnt/media": 1 << 40}}), "/mnt/media on edge has"),
    ):
        with pytest.raises(Conflict, match=f"^{where} 1048576 MiB free, and 2097216 MiB"):
            check(ref(), "main", "edge", seen, found)
