"""Names on the lab's BIND: pointed through the API, and never at somebody else's cost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.services import files_compose
from tests.e2e.world import World, until
from tests.lab.shell import run

META = """
name: {name}
nodes: [{nodes}]
network:
  dns: {{provider: ddns, hostname: {name}.lab.test, ttl: {ttl}}}
data_protect:
  unprotected: [{{source: cache, reason: a test}}, {{source: ./data/uploads, reason: a test}}]
"""
FOREIGN = "198.51.100.7"


class Dns:
    """The lab's name server, as people with `dig` and `nsupdate` use it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.server = world.lab.dns.address

    def service(self, name: str, nodes: str = "main", ttl: int = 120) -> None:
        self.world.service(name, files_compose(), META.format(name=name, nodes=nodes, ttl=ttl))

    def shown(self, name: str) -> set[str]:
        """What the authoritative server answers."""
        return self.world.lab.dns.addresses(f"{name}.lab.test")

    def put(self, name: str, address: str) -> None:
        """Somebody writes a record."""
        script = f"server {self.server}\nupdate add {name}.lab.test 300 A {address}\nsend\n"
        run("nsupdate", "-k", self.world.lab.dns.tsig, stdin=script)

    def address(self, node: str) -> str:
        return str(self.world.lab.nodes[node].address)


@pytest.fixture
def dns(world: World) -> Iterator[Dns]:
    yield Dns(world)
    world.lab.join_all()


def test_a_name_follows_the_service_from_node_to_node(world: World, dns: Dns) -> None:
    dns.service("follows", ttl=77)
    world.ok("/services/follows/dns-update")
    assert dns.shown("follows") == {dns.address("main")}
    dns.service("follows", nodes="edge")
    task = world.ok("/services/follows/dns-update")
    assert dns.shown("follows") == {dns.address("edge")}
    assert task["result"]["longest_ttl_before"] == 77
    assert task["result"]["records"][0]["before"] == [dns.address("main")]
    assert [step["name"] for step in task["steps"]] == ["update_dns"]


def test_a_name_that_points_there_already_is_left_as_it_is(world: World, dns: Dns) -> None:
    dns.service("still", nodes="main, edge")
    world.ok("/services/still/dns-update")
    task = world.ok("/services/still/dns-update")
    assert dns.shown("still") == {dns.address("main"), dns.address("edge")}
    assert not any(record["changed"] for record in task["result"]["records"])


def test_a_record_of_somebody_else_is_left_alone_and_reported(world: World, dns: Dns) -> None:
    dns.service("foreign")
    dns.put("foreign", FOREIGN)
    task = world.fails("/services/foreign/dns-update")
    assert f"foreign.lab.test is A {FOREIGN}" in task["error"]["message"]
    assert task["error"]["step"] == "update_dns"
    assert task["error"]["hint"]
    assert dns.shown("foreign") == {FOREIGN}


def test_a_server_out_of_reach_is_told_and_the_task_is_tried_again(world: World, dns: Dns) -> None:
    dns.service("away")
    world.lab.cut("controller", "dns")
    task = world.fails("/services/away/dns-update")
    assert "cannot be reached" in task["error"]["message"]
    assert "retry" in task["actions"]
    world.lab.join("controller", "dns")
    answer = world.post(f"/tasks/{task['id']}/retry")
    assert answer.status_code == 202, answer.text
    until(lambda: world.task(task["id"])["status"] == "succeeded", "the second attempt")
    assert dns.shown("away") == {dns.address("main")}


def test_a_dry_run_shows_the_records_and_changes_none(world: World, dns: Dns) -> None:
    dns.service("shown")
    answer = world.http.post("/services/shown/dns-update", params={"dry_run": "true"})
    first = answer.json()["plan"]["records"][0]
    assert (first["record_type"], first["values"]) == ("A", [dns.address("main")])
    assert dns.shown("shown") == set()


def test_a_deploy_leaves_names_alone(world: World, dns: Dns) -> None:
    dns.service("quiet")
    world.ok("/services/quiet/deploy")
    assert dns.shown("quiet") == set()


def test_a_name_in_nobodys_zone_is_refused_before_anything_is_done(world: World, dns: Dns) -> None:
    meta = META.format(name="lost", nodes="main", ttl=60).replace("lab.test", "example.net")
    world.service("lost", files_compose(), meta)
    answer = world.post("/services/lost/dns-update")
    assert answer.status_code == 409
    assert "in no zone" in answer.json()["detail"]


def test_what_was_written_is_known_as_ours_after_the_controller_was_killed(
    world: World, dns: Dns
) -> None:
    meta = META.format(name="known", nodes="main", ttl=60)
    fixed = meta.replace("ttl: 60", f"ttl: 60, value: {FOREIGN}")
    world.service("known", files_compose(), fixed)
    world.lab.fail("update_dns:after", "kill-controller")
    task = world.start("/services/known/dns-update")
    until(lambda: world.lab.processes.pid("controller") is None, "the controller's death")
    world.lab.start("controller")
    assert world.wait(task)["status"] == "succeeded"
    assert dns.shown("known") == {FOREIGN}
    world.service("known", files_compose(), meta)
    world.ok("/services/known/dns-update")
    assert dns.shown("known") == {dns.address("main")}
