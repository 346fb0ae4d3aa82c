"""The user guide's own examples, word for word; and no secret of theirs to be read anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.e2e import https, services, told
from tests.e2e.trees import fill, look
from tests.e2e.world import World, until
from tests.lab import catalog
from tests.lab.paths import ROOT

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
HOST = "app.example.com"
CADDYS_FILES = {
    "infra-caddy/composia-meta.yaml",
    "infra-caddy/docker-compose.yaml",
    "infra-caddy/config/Caddyfile",
    "my-app/composia-meta.yaml",
    "my-app/docker-compose.yaml",
    "my-app/Caddyfile.fragment",
}
#: A block of a page whose first line names a file of the catalog.
SHOWN = re.compile(r"^```\w+\n# (\S+/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown(page: str) -> dict[str, str]:
    """The files of the catalog that a page of the guide shows."""
    return dict(SHOWN.findall((ROOT / "docs/guide" / page).read_text()))


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


def test_the_guides_caddy_answers_for_the_guides_name(world: World, uploads: Path) -> None:
    files = shown("caddy.md")
    assert files.keys() == CADDYS_FILES
    compose = yaml.safe_load(services.guide_compose(PASSWORD))
    for name, more in yaml.safe_load(files["my-app/docker-compose.yaml"])["services"].items():
        compose["services"][name] |= more
    # The lab has an authority of its own, and the guide one that the whole world trusts.
    alone, imported, _ = catalog.CADDYFILE.partition("import ")
    assert imported
    files["infra-caddy/config/Caddyfile"] = alone + files["infra-caddy/config/Caddyfile"]
    files["my-app/docker-compose.yaml"] = yaml.safe_dump(compose)
    files["my-app/composia-meta.yaml"] = META + files["my-app/composia-meta.yaml"]
    world.commit(files)

    world.ok("/services/infra-caddy/deploy")
    world.ok("/services/my-app/deploy")

    (uploads / "hello.txt").write_text("hello")
    address = world.lab.nodes["main"].address
    root_ca = world.folder("infra-caddy") / catalog.CADDY_ROOT_CA
    asked = "/uploads/hello.txt"
    until(lambda: https.get(address, HOST, root_ca, asked).body == "hello", "the guide's site")


def test_promise_26_no_secret_is_in_a_log_a_task_or_a_process_list(
    world: World, uploads: Path
) -> None:
    world.ok("/services/my-app/backup")
    secrets = [PASSWORD, world.lab.facts.rustic_password, world.lab.token]
    secrets += world.lab.facts.node_tokens
    said = [path.read_text(errors="replace") for path in world.lab.state.glob("logs/*agent*")]
    said += [world.lab.log("controller").read_text(errors="replace")]
    said += told.logs(world.lab.state)
    said += [world.get("/tasks").text, world.get("/backups").text, world.get("/nodes").text]
    said += told.command_lines()

    assert [secret for secret in secrets for text in said if secret in text] == []
    assert len(said) > 10
