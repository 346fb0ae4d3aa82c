"""A repository on a server: every node goes there by itself, with or without a main node."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from composia.agent.passage import nobodys_certificate
from composia.agent.repository import Repository
from composia.operations.messages import ObjectCall
from tests.e2e import services
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until
from tests.lab import rustic

PASSWORD = "planted-remote-secret"  # planted
COMPOSE = """services:
  rustic:
    image: rustic:latest
    command: rustic -c /config/rustic.toml
    environment: {SSL_CERT_FILE: /config/nobody.pem}
    volumes: [./config:/config]
"""
PROFILE = """[repository]
repository = "rest:{url}"
password = "{password}"
"""


class RestServer:
    """restic's REST protocol for a folder, in a thread of its own."""

    def __init__(self, folder: Path, host: str) -> None:
        self.url = ""
        self._repository = Repository(folder, "server")
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._up.wait()

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        runner = self._loop.run_until_complete(self._serve())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _serve(self) -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, self._host, 0).start()
        self.url = f"http://{self._host}:{runner.addresses[0][1]}/"
        return runner

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        call = ObjectCall(
            method=request.method,
            path=request.path.lstrip("/"),
            range=request.headers.get("Range"),
            wants_sizes="v2" in request.headers.get("Accept", ""),
        )
        found = await self._repository.answer(call, request.content.iter_chunked(65536))
        headers = dict(found.headers)
        if isinstance(found.content, bytes):
            if request.method == "HEAD" and found.length is not None:
                headers["Content-Length"] = str(found.length)
            return web.Response(status=found.status, body=found.content, headers=headers)
        return web.Response(
            status=found.status, body=b"".join([part async for part in found.content]),
            headers=headers,
        )  # fmt: skip


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Path]:
    """A repository on a server outside all nodes, named by the profile in the catalog."""
    folder = world.lab.state / "remote-repository"
    env = {**os.environ, "RUSTIC_REPOSITORY": str(folder), "RUSTIC_PASSWORD": PASSWORD}
    program = rustic.found()
    assert program
    subprocess.run([str(program), "init"], env=env, check=True, capture_output=True)
    served = RestServer(folder, world.lab.url.split("//")[1].split(":")[0])
    world.commit(
        {
            "infra-backup/docker-compose.yaml": COMPOSE,
            "infra-backup/config/rustic.toml": PROFILE.format(url=served.url, password=PASSWORD),
            "infra-backup/config/nobody.pem": nobodys_certificate().decode(),
        }
    )
    yield folder
    served.end()


@pytest.fixture
def without_main(world: World) -> Iterator[None]:
    """The node that would hold a repository in a folder is gone."""
    world.lab.kill("agent:main")
    until(lambda: not world.get("/nodes/main").json()["online"], "main offline")
    yield
    world.lab.start("agent:main")
    until(lambda: bool(world.get("/nodes/main").json()["online"]), "main online")


@pytest.mark.usefixtures("without_main")
def test_a_node_goes_there_by_itself(world: World, server: Path) -> None:
    world.service("direct", services.files_compose(), services.files_meta("direct", nodes="edge"))
    world.ok("/services/direct/deploy")
    uploads = world.folder("direct", "edge") / "data/uploads"
    fill(uploads)
    before = look(uploads)
    task = world.ok("/services/direct/backup", {"data_items": ["uploads"]})
    (uploads / "new").write_text("new")

    world.ok("/services/direct/restore", {"data_items": ["uploads"]})

    assert look(uploads) == before
    record = world.backup_of(task, "uploads")
    assert os.listdir(server / "snapshots") == [record["snapshot_id"]]
    listing = world.get(f"/backups/{record['id']}/files", path="files/data/uploads")
    assert "folder 0" in listing.text
