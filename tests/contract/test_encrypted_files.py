"""Encrypted files of the catalog, on real Git: from the commit to a node's folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest
from fastapi import FastAPI

from composia.agent.bulk import Bulk
from composia.agent.checkout import Checkouts
from composia.agent.placing import look
from composia.controller import agents
from composia.controller.api import problems
from composia.controller.auth import NodeGate
from composia.controller.catalog import Catalog
from composia.errors import Invalid
from composia.model.config import NodeConfig
from composia.operations.base import Files
from composia.operations.service import Deploy
from composia.tools.age import encrypted, new_identity
from tests.contract.git_world import META, World, service
from tests.contract.nodes_world import Asked, served

KEY, RECIPIENT = new_identity()
OTHER, OTHERS = new_identity()
PLAIN = b"PASSWORD=planted-secret\n"


def closed(content: bytes = PLAIN, recipient: str = RECIPIENT) -> bytes:
    return encrypted(content, [recipient])


@dataclass
class Node:
    """A real agent's way to its files, from a real controller's door."""

    world: World
    catalog: Catalog
    bulk: Bulk
    checkouts: Checkouts
    asked: dict[str, Asked]

    @property
    def folder(self) -> Path:
        return self.checkouts.repo_dir / "app"

    async def push(self, files: Mapping[str, str | bytes]) -> None:
        self.world.someone_pushes(files)
        await self.catalog.refresh()

    async def deploy(self, name: str = "app") -> bool:
        """Whether any file changed."""
        ref = self.catalog.view().service(name).ref
        self.asked["k"] = Asked("k", Deploy(service=ref))
        return await self.checkouts.bring(ref, Files.UPDATE, lambda: self.bulk.bundle("k", name))

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Mode and content of all but the two files that every service has."""
        return {
            str(path.relative_to(self.folder)): (path.stat().st_mode & 0o777, path.read_bytes())
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in ("composia-meta.yaml", "docker-compose.yaml")
        }


@asynccontextmanager
async def a_node(world: World, identity: str | None = KEY) -> AsyncIterator[Node]:
    catalog = await world.catalog(identity=identity)
    config = NodeConfig.model_validate({"id": "main", "token": "main-token"})
    asked: dict[str, Asked] = {}
    app = FastAPI()
    app.include_router(agents.router)
    problems.install(app, lambda _path: set())
    app.state.controller = SimpleNamespace(
        catalog=catalog,
        node_gate=NodeGate([config]),
        nodes=SimpleNamespace(question=lambda _node, key: asked.get(key)),
    )
    headers = {"Authorization": "Bearer main-token"}
    async with served(app) as url, aiohttp.ClientSession(headers=headers) as session:
        checkouts = Checkouts(world.root / "services", world.root / "state")
        yield Node(world, catalog, Bulk(session, url), checkouts, asked)


@pytest.fixture
def world(tmp_path: Path, template: Path) -> World:
    return World(tmp_path).with_remote(template)


@pytest.fixture
async def node(world: World) -> AsyncIterator[Node]:
    async with a_node(world) as made:
        yield made


async def test_a_node_gets_the_plain_text_alone_and_for_its_owner_alone(node: Node) -> None:
    large = bytes(range(256)) * 40_960
    files: dict[str, str | bytes] = {
        "app/.env.age": closed(),
        "app/secrets/ö.age": closed(b"\xff\x00"),
        "app/--help.age": closed(b""),
        "app/large.age": closed(large),
        "app/plain.txt": "plain",
    }
    await node.push(files)

    await node.deploy()

    assert node.files() == {
        ".env": (0o600, PLAIN),
        "secrets/ö": (0o600, b"\xff\x00"),
        "--help": (0o600, b""),
        "large": (0o600, large),
        "plain.txt": (0o644, b"plain"),
    }
    assert (await node.catalog.read("app/.env.age")).content == files["app/.env.age"]
    assert "app/.env" not in await node.catalog.files()


async def test_encrypting_the_same_anew_changes_nothing_on_the_node(node: Node) -> None:
    await node.push({"app/.env.age": closed()})
    assert await node.deploy()
    before = look(node.folder, ".env")

    await node.push({"app/.env.age": closed()})

    assert not await node.deploy()
    assert look(node.folder, ".env") == before
    await node.push({"app/.env.age": closed(b"PASSWORD=new\n")})
    assert await node.deploy()
    assert node.files() == {".env": (0o600, b"PASSWORD=new\n")}


async def test_a_mode_that_somebody_gave_it_on_the_node_stays(node: Node) -> None:
    await node.push({"app/.env.age": closed()})
    await node.deploy()
    (node.folder / ".env").chmod(0o440)

    await node.push({"app/.env.age": closed(b"PASSWORD=new\n")})
    await node.deploy()

    assert node.files() == {".env": (0o440, b"PASSWORD=new\n")}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (closed(recipient=OTHERS), "none of the identities of controller.secrets"),
        (PLAIN, "it is no age file, or not whole"),
        (closed()[:-60], "it is no age file, or not whole"),
    ],
)
async def test_one_that_cannot_be_opened_ends_the_deploy_before_anything_changes(
    node: Node, content: bytes, reason: str
) -> None:
    await node.push({"app/.env.age": closed(), "app/a.txt": "old"})
    await node.deploy()
    before = node.files()
    await node.push({"app/.env.age": content, "app/a.txt": "new"})
    await node.push({**service("blog"), "blog/.env.age": closed()})

    with pytest.raises(Invalid, match=reason) as told:
        await node.deploy()

    assert told.value.message.startswith("app/.env.age: cannot be decrypted")
    assert told.value.hint
    assert "composia catalog encrypt --force app/.env" in told.value.hint
    assert "planted" not in str(told.value)
    assert node.files() == before
    assert await node.deploy("blog")


async def test_a_file_in_plain_and_encrypted_is_refused_with_both_names(node: Node) -> None:
    await node.push({"app/.env": "PASSWORD=old", "app/.env.age": closed()})
    with pytest.raises(Invalid, match=r"app/\.env and app/\.env\.age cannot both be deployed"):
        await node.deploy()


async def test_without_an_identity_it_comes_as_it_is_with_a_warning_until_there_is_one(
    world: World,
) -> None:
    async with a_node(world, identity=None) as node:
        content = closed()
        await node.push({"app/.env.age": content, "app/a.txt": "plain"})
        await node.deploy()
        assert node.files() == {".env.age": (0o644, content), "a.txt": (0o644, b"plain")}
        assert node.catalog.view().service("app").encrypted == (".env.age",)

        await node.catalog.reconfigure(world.config(identity=KEY))

        assert node.catalog.view().service("app").encrypted == ()
        assert await node.deploy(), "although the revision is the same"
        assert node.files() == {".env": (0o600, PLAIN), "a.txt": (0o644, b"plain")}


async def test_a_new_identity_is_taken_at_a_reload(node: Node) -> None:
    await node.push({"app/.env.age": closed(recipient=OTHERS)})
    with pytest.raises(Invalid):
        await node.deploy()

    await node.catalog.reconfigure(node.world.config(identity=f"{KEY}\n{OTHER}"))

    assert await node.deploy()
    assert node.files() == {".env": (0o600, PLAIN)}


async def test_what_the_catalog_looks_for_may_be_encrypted(world: World) -> None:
    rustic = "infra: {rustic: {compose_service: rustic, profile: default}}\n"
    found: dict[str, str | bytes] = {
        "app/docker-compose.yaml.age": closed(b"services: {}\n"),
        "backup/composia-meta.yaml": META.format(name="backup") + rustic,
        "backup/compose.yaml": "services: {}\n",
        "backup/rustic.toml.age": closed(b'[repository]\nrepository = "rest:https://r"\n'),
        "hidden/composia-meta.yaml.age": closed(),
        "list/composia-meta.yaml": "name: list\ncompose_files: [a.yaml]\n",
        "list/a.yaml.age": closed(b"services: {}\n"),
    }
    (world.root / "ada/app/docker-compose.yaml").unlink()
    world.someone_pushes(found)

    view = (await world.catalog(identity=KEY)).view()

    assert view.broken == ()
    assert view.service("app").ref.compose_files == ("docker-compose.yaml",)
    assert view.remote_repository
    assert view.warnings == (
        "hidden/composia-meta.yaml.age is not read: composia-meta.yaml must be in plain",
    )
    without = (await world.catalog("other")).view()
    assert [one.folder for one in without.broken] == ["app", "list"]
    assert not without.remote_repository
