"""Promises 1 to 6 of docs/design.md, seen from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from composia.tools.age import encrypted, new_identity
from tests.e2e import services
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until


def test_promise_1_deploying_updating_stopping_and_backing_up_delete_nothing(world: World) -> None:
    world.service("keeps", services.files_compose(), services.files_meta("keeps"), **{"a.txt": "1"})
    world.ok("/services/keeps/deploy")
    folder = world.folder("keeps")
    fill(folder / "data/uploads")
    (folder / "made by a person.txt").write_text("mine")
    cache = world.volume("keeps_cache")
    (cache / "kept").write_text("yes")
    before = look(folder / "data/uploads")

    world.commit({"keeps/a.txt": None, "keeps/b.txt": "2"})
    for action in ("deploy", "update", "stop", "deploy", "backup", "restart"):
        world.ok(f"/services/keeps/{action}")

    assert look(folder / "data/uploads") == before
    assert (folder / "made by a person.txt").read_text() == "mine"
    assert (cache / "kept").read_text() == "yes"
    assert (folder / "b.txt").read_text() == "2"
    assert not (folder / "a.txt").exists()


def test_promise_1_an_anonymous_volume_keeps_its_content_over_stop_and_deploy(world: World) -> None:
    compose = """
    services:
      web: {image: "busybox:lab", init: true, command: sleep 1000000, volumes: [/anonymous]}
    """
    world.service("anon", compose, "name: anon\nnodes: [main]\n")
    world.ok("/services/anon/deploy")
    container = world.container("anon", "web")
    world.docker("exec", container, "sh", "-c", "echo precious > /anonymous/file")

    for action in ("stop", "deploy", "restart"):
        world.ok(f"/services/anon/{action}")

    container = world.container("anon", "web")
    assert world.docker("exec", container, "cat", "/anonymous/file") == "precious"
    warnings = json.dumps(world.get("/services/anon").json()["warnings"])
    assert "web:/anonymous" in warnings


def test_promise_1_a_file_of_somebody_else_in_the_way_is_kept(world: World) -> None:
    world.service("inway", services.files_compose(), services.files_meta("inway"))
    world.ok("/services/inway/deploy")
    mine = world.folder("inway") / "notes.txt"
    mine.write_text("written by a person")
    world.commit({"inway/notes.txt": "from the catalog"})

    task = world.fails("/services/inway/deploy")

    assert mine.read_text() == "written by a person"
    assert "notes.txt" in task["error"]["message"]


def test_promise_3_a_broken_service_stops_its_own_actions_and_nothing_else(world: World) -> None:
    world.service("broken", services.files_compose(), "name: broken\nnodez: [main]\n")
    world.service("sound", services.files_compose(), services.files_meta("sound"))

    answer = world.post("/services/broken/deploy")
    world.ok("/services/sound/deploy")

    assert answer.status_code == 422
    (problem,) = [found for found in answer.json()["errors"] if "nodez" in found["msg"]]
    assert "nodes" in problem["msg"]
    assert "broken" in world.get("/services").text
    world.commit({"broken/composia-meta.yaml": "name: broken\nnodes: [main]\n"})


def test_promise_4_same_service_on_two_nodes_is_never_mixed_up(world: World) -> None:
    meta = services.files_meta("twice", nodes="main, edge")
    world.service("twice", services.files_compose(), meta)
    world.ok("/services/twice/deploy")

    world.ok("/services/twice/stop", {"nodes": ["edge"]})

    assert world.containers("twice", running=True)
    assert not world.containers("twice", node="edge", running=True)
    instances = {found["node"]: found for found in world.get("/services/twice").json()["instances"]}
    assert set(instances) == {"main", "edge"}


def test_promise_4_folder_and_project_may_have_other_names_than_the_service(world: World) -> None:
    meta = services.files_meta("real-name").replace("nodes:", "project_name: other-project\nnodes:")
    world.service("odd-folder", services.files_compose(), meta)

    world.ok("/services/real-name/deploy")

    assert world.containers("other-project", running=True)
    assert (world.folder("odd-folder") / "docker-compose.yaml").exists()
    fill(world.folder("odd-folder") / "data/uploads")
    record = world.ok("/services/real-name/backup", {"data_items": ["uploads"]})
    assert world.backup_of(record, "uploads")["service"] == "real-name"


def test_promise_4_a_project_that_runs_from_another_folder_is_not_touched(
    world: World, tmp_path: Path
) -> None:
    compose = services.files_compose()
    (tmp_path / "docker-compose.yaml").write_text(compose)
    world.docker("compose", "--project-directory", str(tmp_path), "-p", "theirs", "up", "-d")
    theirs = world.containers("theirs", running=True)
    world.service("theirs", compose, services.files_meta("theirs"))
    until(lambda: "theirs" in world.get("/nodes/main").text, "the foreign project")

    answer = world.post("/services/theirs/deploy")

    assert answer.status_code == 409, answer.text
    assert answer.json()["hint"]
    assert world.containers("theirs", running=True) == theirs
    world.docker("compose", "--project-directory", str(tmp_path), "-p", "theirs", "down", "-v")


def test_promise_5_a_backup_never_deploys_nor_recreates_containers(world: World) -> None:
    meta = services.files_meta("cold", strategy="files.tar_after_stop")
    world.service("cold", services.files_compose(), meta)
    world.ok("/services/cold/deploy")
    fill(world.folder("cold") / "data/uploads")
    (world.volume("cold_cache") / "x").write_text("x")
    before = world.containers("cold")
    world.service("cold", services.files_compose().replace("8080", "8081"), meta)

    world.ok("/services/cold/backup")

    assert world.containers("cold", running=True) == before
    assert "8081" not in (world.folder("cold") / "docker-compose.yaml").read_text()


@pytest.mark.parametrize("restart", ["no", "always", "unless-stopped", "on-failure"])
def test_promise_6_a_cold_backup_gives_the_restart_policy_back(world: World, restart: str) -> None:
    name = f"policy-{restart}"
    meta = services.files_meta(name, strategy="files.tar_after_stop")
    world.service(name, services.files_compose(f'"{restart}"'), meta)
    world.ok(f"/services/{name}/deploy")
    (world.folder(name) / "data/uploads/x").write_text("x")
    (world.volume(f"{name}_cache") / "x").write_text("x")
    container = world.container(name, "web")

    world.ok(f"/services/{name}/backup")

    assert world.policy(container) == restart
    assert world.containers(name, running=True) == [container]


def test_promise_6_a_stop_holds_over_an_engine_restart_and_a_reboot(world: World) -> None:
    world.service("down", services.files_compose("always"), services.files_meta("down"))
    world.ok("/services/down/deploy")
    world.ok("/services/down/stop")

    world.lab.kill("docker:main")
    world.lab.start("docker:main")
    assert not world.containers("down", running=True)
    world.lab.reboot("main", agent_late=True)
    assert not world.containers("down", running=True)

    world.ok("/services/down/deploy")
    container = world.container("down", "web")
    assert world.policy(container) == "always"
    assert world.containers("down", running=True) == [container]


@pytest.fixture
def recipient(world: World) -> Iterator[str]:
    """Of an identity that the controller has meanwhile."""
    before = world.lab.config.read_text()
    identity, recipient = new_identity()
    changed = yaml.safe_load(before)
    changed["controller"]["secrets"] = {"provider": "age", "identity": identity}
    world.lab.config.write_text(yaml.safe_dump(changed))
    assert world.post("/config/reload").status_code == 200
    yield recipient
    world.lab.config.write_text(before)
    assert world.post("/config/reload").status_code == 200


def test_a_service_has_its_encrypted_variables(world: World, recipient: str) -> None:
    def closed(text: str) -> str:
        return encrypted(text.encode(), [recipient]).decode()

    secret = "planted-in-an-encrypted-file"
    compose = """
    services:
      web: {image: "busybox:lab", init: true, command: sleep 1000000, env_file: .env}
    """
    files = {".env.age": closed(f"SECRET={secret}\n")}
    world.service("closed", compose, "name: closed\nnodes: [main]\n", **files)
    task = world.ok("/services/closed/deploy")
    container, file = world.container("closed", "web"), world.folder("closed") / ".env"

    assert world.docker("exec", container, "sh", "-c", "echo $SECRET") == secret
    assert file.stat().st_mode & 0o777 == 0o600
    assert not file.with_name(".env.age").exists()
    world.commit({"closed/.env.age": closed(f"SECRET={secret}\n")})
    world.ok("/services/closed/deploy")
    assert world.container("closed", "web") == container, "encrypted anew, and no other"
    world.commit({"closed/.env.age": "rubbish", "closed/new.txt": "new"})
    failed = world.fails("/services/closed/deploy")
    assert "closed/.env.age: cannot be decrypted" in failed["error"]["message"]
    assert "composia catalog encrypt" in failed["error"]["hint"]
    assert (file.read_text(), file.with_name("new.txt").exists()) == (f"SECRET={secret}\n", False)
    said = [world.log(task["id"]), json.dumps(task), world.lab.log("controller").read_text()]
    said += [path.read_text() for path in world.lab.state.glob("logs/*agent*")]
    assert [text for text in said if secret in text] == []
