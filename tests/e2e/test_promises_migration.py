"""Promises 16 to 22, on two real nodes, through the API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e import trees, writing
from tests.e2e.world import World, until

#: Steps before the target has answered, and those after.
UNDONE = ("0_check", "0_back_up", "0_prepare", "0_pre_copy", "1_export_data", "2_stop_source",
          "4_restore_data", "5_start_on_target")  # fmt: skip
OPEN = ("7_update_dns", "8_write_back", "9_retire_source")


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    """Every test has a lab without services and without backups."""
    world.lab.clear_failures()
    world.lab.join_all()
    world.lab.reset()


def deploy(world: World, name: str = "app", **more: str) -> None:
    world.commit(writing.files(name, **more))
    world.ok(f"/services/{name}/deploy")
    trees.fill(world.volume(f"{name}_pages"))


def addresses(world: World) -> list[str]:
    return [world.lab.nodes[node].address for node in ("main", "edge")]


def wanted(source: str = "main", target: str = "edge", **more: Any) -> dict[str, Any]:
    return {"source_node": source, "target_node": target, **more}


def active(world: World, project: str = "app") -> list[str]:
    """The nodes on which a container of the service runs."""
    return [
        node for node in ("main", "edge") if world.containers(project, node=node, running=True)
    ]


def write(world: World, node: str, text: str) -> None:
    assert writing.ask(world.lab.nodes[node].address, f"/cgi-bin/write?{text}") is not None


def read(world: World, node: str) -> list[str]:
    return (writing.ask(world.lab.nodes[node].address, "/cgi-bin/read") or "").split()


def meta(world: World) -> str:
    return str(world.get("/catalog/files/app/composia-meta.yaml").text)


def test_promise_17_no_acknowledged_write_is_lost_by_a_move(world: World) -> None:
    deploy(world)
    main, edge = addresses(world)
    pages = trees.look(world.volume("app_pages"))
    with writing.Client([main, edge]) as client:
        client.wait_for(50)
        task = world.ok("/services/app/migrate", wanted())
        client.wait_for(50)

    assert client.lost(edge) == []
    assert client.kept[-1].address == edge
    assert client.outage == pytest.approx(task["result"]["downtime_seconds"], abs=0.5)
    assert active(world) == ["edge"]
    assert trees.look(world.volume("app_pages", "edge")) == pages
    assert "nodes:\n  - edge   # the first one\n" in meta(world)


@pytest.mark.parametrize("step", UNDONE)
def test_promise_19_a_failure_before_the_answer_is_undone_by_itself(
    world: World, step: str
) -> None:
    deploy(world, restart="always")
    container = world.container("app", "web")
    write(world, "main", "before")
    world.lab.fail(f"{step}:after", "error")
    world.fails("/services/app/migrate", wanted())

    assert active(world) == ["main"]
    assert world.container("app", "web") == container
    assert world.policy(container) == "always"
    until(lambda: read(world, "main") == ["before"], "the service on main")
    assert world.containers("app", node="edge") == []
    assert world.docker("volume", "ls", "-q", node="edge") == ""
    assert "- main " in meta(world)
    # Nothing is left that stands in the way of another try.
    world.ok("/services/app/migrate", wanted())
    assert read(world, "edge") == ["before"]


@pytest.mark.parametrize("step", OPEN)
def test_promise_19_after_the_answer_retry_goes_on(world: World, step: str) -> None:
    deploy(world)
    write(world, "main", "before")
    world.lab.fail(f"{step}:before", "error")
    task = world.fails("/services/app/migrate", wanted())
    assert task["actions"] == ["retry", "rollback", "abandon"]
    assert active(world) == ["edge"]
    assert world.post("/services/app/deploy").status_code == 409

    assert world.wait(world.start(f"/tasks/{task['id']}/retry"))["status"] == "succeeded"
    assert active(world) == ["edge"]
    assert read(world, "edge") == ["before"]
    assert "- edge " in meta(world)
    world.ok("/services/app/deploy")


@pytest.mark.parametrize("data", ["carry", "discard"])
def test_promise_19_after_the_answer_rollback_goes_back(world: World, data: str) -> None:
    deploy(world, restart="always")
    write(world, "main", "before")
    world.lab.fail("8_write_back:before", "error")
    task = world.fails("/services/app/migrate", wanted())
    write(world, "edge", "since")
    world.ok("/services/app/backup", {"nodes": ["edge"]})

    back = world.ok(f"/tasks/{task['id']}/rollback", {"data": data})
    assert back["type"] == "migrate"
    assert active(world) == ["main"]
    assert world.policy(world.container("app", "web")) == "always"
    assert read(world, "main") == (["before", "since"] if data == "carry" else ["before"])
    assert "- main " in meta(world)
    assert world.task(task["id"])["actions"] == []
    world.ok("/services/app/deploy")


def test_promise_19_an_open_move_can_be_left_as_it_stands(world: World) -> None:
    deploy(world)
    world.lab.fail("9_retire_source:before", "error")
    task = world.fails("/services/app/migrate", wanted())
    assert world.post(f"/tasks/{task['id']}/abandon").status_code == 202
    assert world.task(task["id"])["actions"] == ["retry"]
    world.ok("/services/app/deploy")
    assert active(world) == ["edge"]


def test_promise_19_a_service_that_is_ill_on_the_target_comes_back(world: World) -> None:
    health = '["CMD", "test", "!", "-e", "/data/ill"]'
    deploy(world, health=health)
    # Ill only where the file is: it moves along.
    (world.folder("app") / "data/ill").write_text("x")
    task = world.fails("/services/app/migrate", wanted())
    assert "did not answer" in task["error"]["message"]
    assert active(world) == ["main"]


def test_promise_20_there_and_back_again(world: World) -> None:
    deploy(world)
    write(world, "main", "one")
    world.ok("/services/app/migrate", wanted())
    write(world, "edge", "two")
    world.ok("/services/app/migrate", wanted("edge", "main"))
    assert read(world, "main") == ["one", "two"]
    assert active(world) == ["main"]
    assert "- main   # the first one\n" in meta(world)


def test_promise_22_others_wait_or_are_refused_while_it_moves(world: World) -> None:
    deploy(world)
    world.lab.fail("8_write_back:before", "error")
    task = world.fails("/services/app/migrate", wanted())
    for call in ("deploy", "update", "stop", "restart"):
        answer = world.post(f"/services/app/{call}")
        assert answer.status_code == 409, call
        assert task["id"] in answer.text
    assert world.post("/services/app/migrate", wanted("edge", "main")).status_code == 409


def test_promise_22_a_service_edited_by_hand_to_another_node_is_not_started_twice(
    world: World,
) -> None:
    deploy(world)
    edited = writing.files("app")["app/composia-meta.yaml"]
    assert edited
    world.commit({"app/composia-meta.yaml": edited.replace("- main ", "- edge ")})
    answer = world.post("/services/app/deploy")
    assert answer.status_code == 409
    assert "igrate" in answer.text
    assert active(world) == ["main"]


def test_everything_wrong_is_named_at_once(world: World) -> None:
    deploy(world)
    same = world.post("/services/app/migrate", wanted("main", "main"))
    assert same.status_code == 422
    unknown = world.post("/services/app/migrate", wanted("main", "elsewhere"))
    assert unknown.status_code == 404
    uncovered = world.post("/services/app/migrate", wanted(data_items=[]))
    assert uncovered.status_code == 422
    assert "./data" in uncovered.text
    assert "pages" in uncovered.text
    world.lab.kill("agent:edge")
    offline = world.post("/services/app/migrate", wanted(data_items=["data"]))
    world.lab.start("agent:edge")
    assert offline.status_code == 422
    assert "pages" in offline.text
    assert "offline" in offline.text


def test_a_port_that_is_taken_on_the_target_is_named_before_anything_stops(world: World) -> None:
    deploy(world)
    world.docker("run", "-d", "--name", "other", "-p", "8080:80", "busybox:lab", "sleep", "600",
                 node="edge")  # fmt: skip
    try:
        answer = world.post("/services/app/migrate", wanted())
    finally:
        world.docker("rm", "-f", "other", node="edge")
    assert answer.status_code == 409
    assert "port 8080 is taken on edge" in answer.text


def test_a_dry_run_names_every_place_and_the_outage(world: World) -> None:
    deploy(world)
    answer = world.post("/services/app/migrate?dry_run=true", wanted(
        data_items=["data"], leave_behind=["pages"]
    ))  # fmt: skip
    assert answer.status_code == 200
    plan = answer.json()["plan"]
    assert plan["moves"] == [{"source": "./data", "how": "data, as files"}]
    assert [one["source"] for one in plan["stays"]] == ["pages"]
    assert plan["downtime"]["total_seconds"] > 0
    assert active(world) == ["main"]
    assert world.containers("app", node="edge") == []
