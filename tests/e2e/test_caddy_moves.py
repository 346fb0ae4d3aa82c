"""What a move asks of two Caddys, driven by operations; the agents end what is over."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect
from websockets.sync.server import ServerConnection, serve

from composia.model.service import CaddyRef, ServiceRef
from composia.operations.base import Operation
from composia.operations.caddy import PlaceFragment, ReloadCaddy, RemoveFragment
from composia.operations.certificates import (
    CertificatesReceived,
    CertificatesSent,
    ReceiveCertificates,
    SendCertificates,
)
from composia.operations.forward import EndForward, ForwardHosts
from composia.strategies.base import Site
from composia.tools.caddy import Caddy
from composia.tools.compose import Compose
from composia.tools.docker import Docker
from composia.tools.shell import LocalShell
from tests.e2e import https
from tests.e2e.https import Answer
from tests.e2e.world import World, until
from tests.e2e.writing import App, wanted
from tests.lab import engines
from tests.lab.dns import ZONE
from tests.lab.node import Node
from tests.twins.site import MemoryNotes
from tests.twins.wire import MemoryWires

FRAGMENT = """NAME.lab.test, www.NAME.lab.test {
	respond "{system.hostname} {host}"
}
http://plain.NAME.lab.test {
	respond "{system.hostname} {host}"
}
"""
LONG = timedelta(hours=1)


class Pair:
    """A service on both nodes' disks, and the Caddys in front of it."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.host = f"{name}.lab.test"
        for node in world.lab.nodes:
            folder = world.folder(name, node)
            folder.mkdir()
            (folder / "docker-compose.yaml").write_text("services: {}\n")
        self.writes(FRAGMENT)

    def writes(self, fragment: str) -> None:
        """What is checked out on both nodes from now on."""
        for node in self.world.lab.nodes:
            path = self.world.folder(self.name, node) / "Caddyfile.fragment"
            path.write_text(fragment.replace("NAME", self.name))

    @property
    def refs(self) -> dict[str, Any]:
        """What every operation on it names."""
        caddy = CaddyRef(
            service=_ref("infra-caddy"),
            compose_service="caddy",
            config_dir="/etc/caddy",
            source="Caddyfile.fragment",
        )
        return {"service": _ref(self.name), "caddy": caddy}

    def on(self, node: str, operation: Operation[Any]) -> Any:
        """Perform it there."""

        async def perform() -> Any:
            site = self.site(node)
            try:
                return await operation.perform(site)
            finally:
                await site.docker.aclose()

        return asyncio.run(perform())

    def site(self, node: str) -> Site:
        """As the node's agent makes it."""
        found = self.world.lab.nodes[node]
        shell = LocalShell(engines.docker_env(found.docker_host))
        docker, notes = Docker(shell, found.docker_host), MemoryNotes()
        return Site(
            node=node,
            task="01move",
            service=self.name,
            folder=found.repo_dir / self.name,
            aside=found.repo_dir / ".composia",
            state=found.state_dir / "instances" / self.name,
            compose=_compose(shell, found, self.name),
            docker=docker,
            notes=notes,
            caddy=Caddy(
                _compose(shell, found, "infra-caddy"),
                docker,
                compose_service="caddy",
                config_dir="/etc/caddy",
                generated=found.repo_dir / "infra-caddy/config/generated",
                scratch=found.state_dir / "caddy",
                turn=asyncio.Lock(),
                note=notes.note,
            ),
        )

    def carry(self, source: str = "main", target: str = "edge") -> Carried:
        """The certificates from one to the other."""

        async def carry() -> Carried:
            wires = MemoryWires()
            send = SendCertificates(wire="w", **self.refs)
            receive = ReceiveCertificates(wire="w", **self.refs)
            here = replace(self.site(source), wire=wires.of(source))
            there = replace(self.site(target), wire=wires.of(target))
            try:
                sent, received = await asyncio.gather(send.perform(here), receive.perform(there))
            finally:
                await here.docker.aclose()
                await there.docker.aclose()
            return Carried(sent, received)

        return asyncio.run(carry())

    def forward(
        self,
        carried: Carried,
        until: timedelta = LONG,
        trust: bool = True,
        source: str = "main",
        target: str = "edge",
    ) -> None:
        """As step 6 does on the source."""
        self.on(source, RemoveFragment(**self.refs))
        forwards = ForwardHosts(
            sites=carried.sent.sites,
            to=self.world.lab.nodes[target].address,
            until=datetime.now(UTC) + until,
            trust=carried.received.authorities if trust else (),
            **self.refs,
        )
        self.on(source, forwards)

    def get(self, node: str, host: str = "", signer: str = "main") -> Answer:
        """Ask a node; `signer`: whose authority the certificate is of."""
        address = self.world.lab.nodes[node].address
        return https.get(address, host or self.host, self.root_ca(signer))

    def root_ca(self, node: str) -> Path:
        return self.world.folder("infra-caddy", node) / "data/caddy/pki/authorities/local/root.crt"

    def serves(self, node: str = "main") -> Answer:
        """It does so within a moment, over HTTPS and for both names; the first answer."""
        self.on(node, PlaceFragment(**self.refs))
        for host in (self.host, f"www.{self.host}"):
            until(partial(self._answers, node, host), host)
        return self.get(node, signer=node)

    def _answers(self, node: str, host: str) -> bool:
        return self.get(node, host, node).status == 200

    def hostname(self, node: str) -> str:
        """How Caddy there signs its answers."""
        return self.world.container("infra-caddy", "caddy", node)[:12]

    def is_silent(self, node: str = "main") -> bool:
        """Whether the node knows nothing of the site."""
        try:
            self.get(node)
        except (ssl.SSLError, OSError):
            return True
        return False


class Carried:
    """What both ends say of the certificates."""

    def __init__(self, sent: CertificatesSent, received: CertificatesReceived) -> None:
        self.sent, self.received = sent, received


def _compose(shell: LocalShell, node: Node, name: str) -> Compose:
    return Compose(shell, node.repo_dir / name, name, ["docker-compose.yaml"])


def _ref(name: str) -> ServiceRef:
    return ServiceRef(
        name=name,
        folder=name,
        project=name,
        compose_files=("docker-compose.yaml",),
        revision="0" * 40,
    )


@pytest.fixture(scope="module")
def caddys(world: World) -> World:
    """Caddy on both nodes."""
    world.ok("/services/infra-caddy/deploy")
    return world


@pytest.fixture
def pair(caddys: World, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A service of the test's own."""
    made = Pair(caddys, f"m{abs(hash(request.node.name)) % 10**8}")
    yield made
    for node in caddys.lab.nodes:
        made.on(node, EndForward(**made.refs))
        made.on(node, RemoveFragment(**made.refs))


def test_the_target_shows_the_certificate_that_the_source_showed(pair: Pair) -> None:
    before = pair.serves()

    carried = pair.carry()
    pair.on("edge", PlaceFragment(**pair.refs))

    after = pair.get("edge")
    assert after.serial == before.serial
    assert after.body.split()[0] == pair.hostname("edge")
    assert carried.sent.hosts == carried.received.hosts == (pair.host, f"www.{pair.host}")
    assert "PRIVATE" not in f"{carried.sent!r} {carried.received!r}"


def test_a_certificate_has_the_owner_and_modes_of_caddys_own(pair: Pair) -> None:
    pair.serves()
    below = f"data/caddy/certificates/local/{pair.host}"
    mine = pair.world.folder("infra-caddy", "main") / below
    theirs = pair.world.folder("infra-caddy", "edge") / below

    pair.carry()

    def looks(folder: Path) -> list[tuple[str, int, int]]:
        return [(path.name, path.stat().st_mode, path.stat().st_uid) for path in folder.iterdir()]

    assert sorted(looks(theirs)) == sorted(looks(mine))
    assert theirs.stat().st_mode == mine.stat().st_mode


def test_a_newer_certificate_of_the_target_is_kept(pair: Pair) -> None:
    pair.serves()
    own = pair.serves("edge")

    carried = pair.carry()

    assert pair.host in carried.received.kept
    assert pair.get("edge", signer="edge").serial == own.serial


def test_a_client_with_the_old_address_is_forwarded_and_sees_the_same_certificate(
    pair: Pair,
) -> None:
    before = pair.serves()
    carried = pair.carry()
    pair.on("edge", PlaceFragment(**pair.refs))

    pair.forward(carried)

    edge = pair.hostname("edge")
    assert pair.get("main") == Answer(200, f"{edge} {pair.host}", before.serial)
    assert pair.get("main", f"www.{pair.host}").body == f"{edge} www.{pair.host}"
    plain = https.get_plain(pair.world.lab.nodes["main"].address, f"plain.{pair.host}")
    assert plain.body == f"{edge} plain.{pair.host}"


def test_two_nodes_that_forward_to_each_other_end_a_request(pair: Pair) -> None:
    """A return whose site was never placed, while the forward of the way there is still up."""
    pair.serves()
    there = pair.carry()
    pair.on("edge", PlaceFragment(**pair.refs))
    back = pair.carry("edge", "main")
    pair.forward(there)
    pair.forward(back, source="edge", target="main")

    assert [pair.get(node).status for node in ("main", "edge")] == [508, 508]
    address = pair.world.lab.nodes["main"].address
    assert https.get_plain(address, f"plain.{pair.host}").status == 508

    pair.on("edge", PlaceFragment(**pair.refs))
    assert pair.get("main").body.split()[0] == pair.hostname("edge")


def test_a_websocket_goes_through_the_forward(pair: Pair) -> None:
    with echoing(pair.world.lab.network.address("controller")) as upstream:
        pair.serves()
        pair.writes(f"NAME.lab.test {{\n\treverse_proxy {upstream}\n}}\n")
        carried = pair.carry()
        pair.on("edge", PlaceFragment(**pair.refs))
        pair.forward(carried)
        address = pair.world.lab.nodes["main"].address
        secured = https.connect(address, pair.host, pair.root_ca("main"))

        with connect(f"ws://{pair.host}/", sock=secured, proxy=None) as socket:
            socket.send("through both")
            assert socket.recv(timeout=20) == "through both"


@contextmanager
def echoing(address: str) -> Iterator[str]:
    """A WebSocket server that says what it hears; its address."""

    def echo(socket: ServerConnection) -> None:
        for message in socket:
            socket.send(message)

    with serve(echo, address, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"{address}:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_forward_takes_the_certificates_of_the_targets_own_authority_only_when_told(
    pair: Pair,
) -> None:
    pair.serves()
    pair.serves("edge")
    carried = pair.carry()

    pair.forward(carried, trust=False)
    refused = pair.get("main")
    pair.forward(carried)
    trusted = pair.get("main")

    assert (refused.status, trusted.status) == (502, 200)


def test_a_forward_ends_by_itself_though_the_agent_was_killed(pair: Pair) -> None:
    pair.serves()
    carried = pair.carry()
    pair.on("edge", PlaceFragment(**pair.refs))
    pair.world.lab.kill("agent:main")
    pair.forward(carried, until=timedelta(seconds=1))
    forwarded = pair.get("main").status

    pair.world.lab.start("agent:main")

    until(pair.is_silent, "the end of the forward")
    assert forwarded == 200
    generated = pair.world.folder("infra-caddy") / "config/generated"
    assert not (generated / f"{pair.name}.caddy").exists()


def test_a_fragment_that_is_placed_again_takes_the_place_of_the_forward(pair: Pair) -> None:
    pair.serves()
    carried = pair.carry()
    pair.on("edge", PlaceFragment(**pair.refs))
    pair.world.lab.kill("agent:main")
    pair.forward(carried, until=timedelta(seconds=1))

    pair.on("main", PlaceFragment(**pair.refs))
    pair.world.lab.start("agent:main")

    state = pair.world.lab.nodes["main"].state_dir / "instances" / pair.name
    assert not (state / "forward.json").exists()
    assert pair.get("main").body.split()[0] == pair.hostname("main")


def test_the_steps_of_the_source_take_the_site_away_at_the_reload(pair: Pair) -> None:
    pair.serves()

    pair.on("main", RemoveFragment(**pair.refs))
    served = pair.get("main").status
    pair.on("main", ReloadCaddy(**pair.refs))

    assert served == 200
    assert pair.is_silent()


def test_what_was_rehearsed_is_placed_without_asking_caddy_again(pair: Pair) -> None:
    pair.on("edge", PlaceFragment(rehearse=True, **pair.refs))
    generated = pair.world.folder("infra-caddy", "edge") / f"config/generated/{pair.name}.caddy"
    assert not generated.exists()

    operation = PlaceFragment(**pair.refs)
    site = pair.site("edge")
    asyncio.run(_performed(operation, site))

    assert isinstance(site.notes, MemoryNotes)
    assert "asking_caddy" not in site.notes.names
    assert generated.exists()


async def _performed(operation: Operation[Any], site: Site) -> None:
    await operation.perform(site)
    await site.docker.aclose()


@pytest.mark.parametrize("moment", ["before", "middle"])
def test_names_follow_a_service_whose_source_dies_after_the_answer(
    caddys: World, moment: str
) -> None:
    app = App(caddys)
    name = f"{app.name}.{ZONE}"
    caddys.commit({f"{app.name}/Caddyfile.fragment": f"http://{name} {{\n\trespond here\n}}\n"})
    app.deploy(
        more="network:\n"
        "  caddy: {enabled: true, source: ./Caddyfile.fragment}\n"
        f"  dns: {{provider: ddns, hostname: {name}}}\n"
    )
    caddys.ok(f"{app.path}/dns-update")
    addresses = [[caddys.lab.nodes[node].address] for node in ("main", "edge")]
    assert caddys.lab.dns.addresses(name) == set(addresses[0])
    caddys.lab.fail(f"6_reload_caddy:{moment}", "kill-agent:main")

    task = caddys.start(f"{app.path}/migrate", wanted())
    moved, shown = set(addresses[1]), caddys.lab.dns.addresses
    until(lambda: caddys.lab.pid("agent:main") is None, "the end of main's agent")
    until(lambda: shown(name) == moved, "the name, with main away")
    until(lambda: "- edge " in app.meta, "the write-back")
    assert caddys.lab.pid("agent:main") is None
    assert https.get_plain(addresses[1][0], name).body == "here"

    caddys.lab.start("agent:main")
    ended = caddys.wait(task)
    assert ended["status"] == "succeeded", ended
    assert app.active() == ["edge"]
    # What step 6 could not do is done by then.
    assert https.get_plain(addresses[0][0], name).body == "here"
    app.end()


def test_a_caddyfile_broken_on_the_target_fails_the_move_before_anything_stops(
    caddys: World,
) -> None:
    app = App(caddys)
    fragment = f"http://{app.name}.lab.test {{\n\trespond {app.name}\n}}\n"
    caddys.commit({f"{app.name}/Caddyfile.fragment": fragment})
    app.deploy(more="network:\n  caddy: {enabled: true, source: ./Caddyfile.fragment}\n")
    caddyfile = caddys.folder("infra-caddy", "edge") / "config/Caddyfile"
    before = caddyfile.read_text()
    caddyfile.write_text(before + "\nno such thing {\n")
    started = app.started()
    with app.client() as client:
        client.wait_for(10)
        task = caddys.fails(f"{app.path}/migrate", wanted())
        client.wait_for(10)
    caddyfile.write_text(before)

    assert task["error"]["step"] == "0_check_caddy"
    assert "Caddyfile" in task["error"]["message"]
    assert app.started() == started
    assert app.active() == ["main"]
    assert (
        https.get_plain(caddys.lab.nodes["main"].address, f"{app.name}.lab.test").body == app.name
    )
    app.end()
