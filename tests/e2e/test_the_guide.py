"""The user guide's own example, word for word; and no secret of it to be read anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e import services
from tests.e2e.trees import fill, look
from tests.e2e.world import World

META = """\
# my-app/composia-meta.yaml
name: my-app
nodes:
  - main

data_protect:
  data:
    - name: uploads
      backup:
        strategy: files.copy
        include:
          - ./data/uploads
        exclude:
          - ./data/uploads/temp
      restore:
        strategy: files.copy
        include:
          - ./data/uploads
    - name: database
      backup:
        strategy: database.pgdumpall
        service: postgres      # Compose service name
      restore:
        strategy: files.copy
        include:
          - ./restore/

backup:
  data:
    - name: uploads
      provider: rustic
    - name: database
      provider: rustic
"""
PASSWORD = "planted-database-secret"


@pytest.fixture(scope="module")
def uploads(world: World) -> Path:
    """The guide's service, deployed, used, backed up, changed and restored."""
    world.service("my-app", services.guide_compose(PASSWORD), META)
    world.ok("/services/my-app/deploy")
    found = world.folder("my-app") / "data/uploads"
    fill(found)
    world.sql("my-app", "create table orders as select generate_series(1, 1000) as n")
    return found


def test_the_guides_example_is_backed_up_and_restored(world: World, uploads: Path) -> None:
    before = look(uploads)
    world.ok("/services/my-app/backup")
    (uploads / "new").write_text("new")

    world.ok("/services/my-app/restore")

    assert look(uploads) == before
    dump = (world.folder("my-app") / "restore/dump.sql").read_text()
    assert "CREATE TABLE public.orders" in dump


def test_promise_26_no_secret_is_in_a_log_a_task_or_a_process_list(
    world: World, uploads: Path
) -> None:
    world.ok("/services/my-app/backup")
    secrets = [PASSWORD, world.lab.facts.rustic_password, world.lab.token]
    secrets += world.lab.facts.node_tokens
    said = [path.read_text(errors="replace") for path in world.lab.state.glob("logs/*agent*")]
    said += [world.lab.log("controller").read_text(errors="replace")]
    said += [path.read_text(errors="replace") for path in world.lab.state.rglob("*.log")]
    said += [world.get("/tasks").text, world.get("/backups").text, world.get("/nodes").text]
    said += [
        path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.parent.exists()
    ]

    assert [secret for secret in secrets for text in said if secret in text] == []
    assert len(said) > 10
