"""Names that Caddy answers for, as a user of a service and one who edits the catalog see them."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.e2e import https
from tests.e2e.https import Answer
from tests.e2e.world import World, until

COMPOSE = """
services:
  web:
    image: busybox:lab
    pull_policy: never
    init: true
    command: httpd -f -p 8080 -h /srv
    ports: {ports}
    volumes: [./www:/srv]
"""
META = "name: {name}\nnodes: [{nodes}]\nnetwork:\n  caddy: {{enabled: {enabled}}}\n"


class Web:
    """Sites behind the lab's Caddy."""

    def __init__(self, world: World) -> None:
        self.world = world

    def commit(
        self, name: str, fragment: str, *, nodes: str = "main", enabled: bool = True, port: int = 0
    ) -> None:
        """A service with a fragment; `HOST` in it is its name in the lab's zone."""
        meta = META.format(name=name, nodes=nodes, enabled=str(enabled).lower())
        compose = COMPOSE.format(ports=f'["{port}:8080"]' if port else "[]")
        fragment = fragment.replace("HOST", self.host(name))
        self.world.service(name, compose, meta, **{"Caddyfile.fragment": fragment})

    def deployed(self, name: str, fragment: str, **more: object) -> None:
        self.commit(name, fragment, **more)  # type: ignore[arg-type]  # passed on
        self.world.ok(f"/services/{name}/deploy")

    def host(self, name: str) -> str:
        return f"{name}.lab.test"

    def get(self, name: str, path: str = "/", node: str = "main") -> Answer:
        address = self.world.lab.nodes[node].address
        return https.get(address, self.host(name), self.root_ca(node), path)

    def answers(self, name: str, body: str, node: str = "main") -> None:
        """It does so within a moment: Caddy makes the certificate first."""
        until(lambda: self.get(name, node=node).body == body, f"{name} with {body}")

    def root_ca(self, node: str = "main") -> Path:
        return self.world.folder("infra-caddy", node) / "data/caddy/pki/authorities/local/root.crt"

    def fragment(self, name: str, node: str = "main") -> Path:
        return self.world.folder("infra-caddy", node) / f"config/generated/{name}.caddy"

    def caddy(self, *words: str, node: str = "main") -> None:
        """`docker start`, `stop` or `restart` of Caddy's container."""
        self.world.docker(*words, "infra-caddy-caddy-1", node=node)


@pytest.fixture(scope="module")
def web(world: World) -> Web:
    """A site that must never be hurt, and later a Caddy on both nodes."""
    made = Web(world)
    made.deployed("bystander", 'HOST {\n\trespond "still here"\n}\n')
    world.ok("/services/infra-caddy/deploy")
    made.answers("bystander", "still here")
    return made


def test_a_service_that_was_deployed_before_caddy_is_served_when_caddy_comes(web: Web) -> None:
    assert web.get("bystander").body == "still here"


def test_a_deployed_service_answers_for_its_name_over_https(web: Web) -> None:
    web.deployed("site", 'HOST {\n\trespond "hello"\n}\n', nodes="main, edge")

    web.answers("site", "hello")
    web.answers("site", "hello", node="edge")


def test_a_changed_fragment_is_served_and_an_unchanged_one_is_left_alone(web: Web) -> None:
    web.deployed("changes", 'HOST {\n\trespond "one"\n}\n')
    web.answers("changes", "one")
    before = web.fragment("changes").stat()

    again = web.world.ok("/services/changes/deploy")
    unchanged = web.fragment("changes").stat()
    web.deployed("changes", 'HOST {\n\trespond "two"\n}\n')

    assert again["result"] == {"changed": {"main": False}}
    assert unchanged.st_ino == before.st_ino
    assert web.get("changes").body == "two"


def test_a_broken_fragment_changes_nothing_and_the_task_says_why(web: Web) -> None:
    web.deployed("breaks", 'HOST {\n\trespond "old"\n}\n')
    web.answers("breaks", "old")
    web.commit("breaks", "HOST {\n\tno_such_directive\n}\n")

    task = web.world.fails("/services/breaks/deploy")
    synced = web.world.fails("/services/breaks/caddy-sync")

    assert "no_such_directive" in task["error"]["message"]
    assert "no_such_directive" in synced["error"]["message"]
    assert task["error"]["hint"]
    assert [web.get(name).body for name in ("breaks", "bystander")] == ["old", "still here"]
    web.caddy("restart")
    web.answers("breaks", "old")
    web.answers("bystander", "still here")


@pytest.mark.parametrize("action", ["deploy", "caddy-sync"])
def test_a_fragment_that_is_disabled_is_taken_away(web: Web, action: str) -> None:
    web.deployed("goes", 'HOST {\n\trespond "here"\n}\n')
    web.answers("goes", "here")
    web.commit("goes", "", enabled=False)

    web.world.ok(f"/services/goes/{action}")

    assert not web.fragment("goes").exists()
    with pytest.raises(ssl.SSLError):
        web.get("goes")
    assert web.get("bystander").body == "still here"


def test_a_changed_caddyfile_is_taken_by_a_deploy_of_caddy_itself(web: Web) -> None:
    world = web.world
    path = world.folder("infra-caddy") / "config/Caddyfile"
    before, container = path.read_text(), world.containers("infra-caddy")
    site = '\nowner.lab.test {\n\trespond "by hand"\n}\n'

    world.commit({"infra-caddy/config/Caddyfile": before + site})
    world.ok("/services/infra-caddy/deploy")

    web.answers("owner", "by hand")
    assert world.containers("infra-caddy") == container
    world.commit({"infra-caddy/config/Caddyfile": before})
    world.ok("/services/infra-caddy/deploy")


def test_a_stop_leaves_the_fragment_where_it_is(web: Web) -> None:
    web.deployed("stops", 'HOST {\n\trespond "here"\n}\n')
    web.answers("stops", "here")

    web.world.ok("/services/stops/stop")

    assert web.get("stops").body == "here"


def test_a_sync_brings_the_catalogs_fragment_and_leaves_all_other_files(web: Web) -> None:
    web.deployed("syncs", 'HOST {\n\trespond "one"\n}\n')
    web.commit("syncs", 'HOST {\n\trespond "two"\n}\n', port=18080)
    compose = web.world.folder("syncs") / "docker-compose.yaml"
    before = compose.read_text()

    task = web.world.ok("/services/syncs/caddy-sync")

    assert task["result"] == {"changed": {"main": True}}
    assert [step["name"] for step in task["steps"]] == ["caddy_sync"]
    web.answers("syncs", "two")
    assert compose.read_text() == before


def test_a_sync_is_refused_for_a_node_without_caddy_and_a_service_without_instance(
    web: Web,
) -> None:
    web.commit("absent", 'HOST {\n\trespond "x"\n}\n')

    refused = web.world.post("/services/absent/caddy-sync", {"nodes": ["edge"]})
    task = web.world.fails("/services/absent/caddy-sync")

    assert refused.status_code == 409
    assert "composia deploy absent" in task["error"]["hint"]


def test_a_download_goes_on_while_caddy_is_reloaded(web: Web) -> None:
    address = web.world.lab.nodes["main"].address
    proxy = f"HOST {{\n\treverse_proxy {address}:18081\n}}\n"
    web.deployed("loads", proxy, port=18081)
    size = 64 * 1024 * 1024
    (web.world.folder("loads") / "www/large").write_bytes(b"x" * size)
    until(lambda: web.get("loads", "/none").status == 404, "the site")

    with https.connect(address, web.host("loads"), web.root_ca()) as connection:
        request = f"GET /large HTTP/1.1\r\nHost: {web.host('loads')}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        came = len(connection.recv(1024))
        web.deployed("another", 'HOST {\n\trespond "new"\n}\n')
        web.answers("another", "new")
        while chunk := connection.recv(1024 * 1024):
            came += len(chunk)

    assert came > size


def test_while_caddy_is_down_a_deploy_says_so_and_its_start_serves_the_site(web: Web) -> None:
    web.caddy("stop")

    web.commit("waits", 'HOST {\n\trespond "at last"\n}\n')
    task = web.world.ok("/services/waits/deploy")
    web.caddy("start")

    assert "does not run" in task["result"]["warnings"]["main"][0]
    web.answers("waits", "at last")
    web.answers("bystander", "still here")


def test_a_broken_fragment_is_refused_while_caddy_is_down_too(web: Web) -> None:
    web.caddy("stop")

    web.commit("worse", "HOST {\n\tno_such_directive\n}\n")
    task = web.world.fails("/services/worse/deploy")
    web.caddy("start")

    assert "no_such_directive" in task["error"]["message"]
    web.answers("bystander", "still here")


@pytest.mark.parametrize(
    "moment", ["before", "asking_caddy", "placing_fragment", "middle", "fragment_placed", "after"]
)
def test_caddy_finds_a_good_configuration_whenever_the_agent_is_killed(
    web: Web, moment: str
) -> None:
    web.deployed("killed", 'HOST {\n\trespond "before"\n}\n')
    # Its certificate is there too, and comes up with Caddy.
    web.answers("killed", "before")
    web.commit("killed", f'HOST {{\n\trespond "{moment}"\n}}\n')
    web.world.lab.fail(f"caddy_sync:{moment}", "kill-agent:main")

    task = web.world.start("/services/killed/caddy-sync")
    until(lambda: web.world.lab.pid("agent:main") is None, "the agent's end")
    web.caddy("restart")
    web.answers("bystander", "still here")
    heard: list[str] = []

    def answers() -> bool:
        heard.append(web.get("killed").body)
        return True

    # Certificates are loaded one after the other, when Caddy answers already.
    until(answers, "the site")
    web.world.lab.start("agent:main")
    ended = web.world.wait(task)

    assert heard[0] in ("before", moment)
    assert ended["status"] == "succeeded", ended
    web.answers("killed", moment)
    assert len(web.world.containers("infra-caddy")) == 1
