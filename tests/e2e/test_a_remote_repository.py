"""A repository in S3 from the start: every node goes there by itself, no main node is needed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from composia.agent.passage import nobodys_certificate
from tests.e2e import services
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until
from tests.lab import rustic
from tests.s3 import S3, served

PASSWORD = "planted-remote-secret"  # planted
ROOT = "/first"
COMPOSE = """services:
  rustic:
    image: rustic:latest
    command: rustic -c /config/rustic.toml
    environment: {SSL_CERT_FILE: /config/nobody.pem}
    volumes: [./config:/config]
"""


@pytest.fixture(scope="module")
def server(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A repository in S3, outside all nodes, named by the profile in the catalog."""
    program = rustic.found()
    assert program
    with served(world.lab.url.split("//")[1].split(":")[0]) as made:
        profile = made.profile(PASSWORD, ROOT)
        by_hand(program, tmp_path_factory.mktemp("profile") / "rustic.toml", profile)
        world.commit(
            {
                "infra-backup/docker-compose.yaml": COMPOSE,
                "infra-backup/config/rustic.toml": profile,
                "infra-backup/config/nobody.pem": nobodys_certificate().decode(),
            }
        )
        yield made


def by_hand(program: Path, file: Path, profile: str) -> None:
    """Make the repository, as a person does it once."""
    file.write_text(profile)
    certificate = file.with_name("nobody.pem")
    certificate.write_bytes(nobodys_certificate())
    env = {**os.environ, "SSL_CERT_FILE": str(certificate)}
    subprocess.run([str(program), "-P", str(file), "init"], env=env, check=True)


@pytest.fixture
def without_main(world: World) -> Iterator[None]:
    """The node that would hold a repository in a folder is gone."""
    world.lab.kill("agent:main")
    until(lambda: not world.get("/nodes/main").json()["online"], "main offline")
    yield
    world.lab.start("agent:main")
    until(lambda: bool(world.get("/nodes/main").json()["online"]), "main online")


@pytest.mark.usefixtures("without_main")
def test_a_node_goes_there_by_itself(world: World, server: S3) -> None:
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
    assert f"first/snapshots/{record['snapshot_id']}" in server.objects(ROOT)
    listing = world.get(f"/backups/{record['id']}/files", path="files/data/uploads")
    assert "folder 0" in listing.text
