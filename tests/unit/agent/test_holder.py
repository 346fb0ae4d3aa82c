"""Where the repository lies is what is deployed, and not what the catalog says by now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from composia.agent import holder
from composia.agent.holder import Holder
from composia.model.service import RepositoryRef, ServiceRef
from composia.operations.messages import ObjectCall

SERVICE = ServiceRef(
    name="infra", folder="infra", project="infra", compose_files=("c.yaml",), revision="new"
)
REPOSITORY = RepositoryRef(service=SERVICE, compose_service="rustic", profile="default")


class FakeSites:
    """A node on which the deployed files of the repository's service say where it lies."""

    node = "main"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.looked = 0

    async def check_out(self, errand: Any, files: Any) -> bool:
        return False

    def rustic(self, *args: Any) -> Any:
        return self

    async def repository_folder(self) -> Path:
        self.looked += 1
        return self.folder

    async def prepared(self) -> Any:
        return SimpleNamespace()


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def config_of(node: Holder) -> Any:
    found = await node.repository(REPOSITORY, "key")
    return (await found.answer(ObjectCall(method="HEAD", path="config"), nothing())).length


async def test_an_operation_after_a_deploy_finds_the_folder_that_was_deployed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def way_to(prepared: Any) -> Any:
        return prepared

    monkeypatch.setattr(holder, "way_to", way_to)
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, config in ((old, "o"), (new, "new")):
        folder.mkdir()
        (folder / "config").write_text(config)
    sites = FakeSites(old)
    node = Holder(sites)  # type: ignore[arg-type]  # as much of one as it needs
    # The catalog has the new place already; the old one is deployed.
    await node.way(REPOSITORY, "key")
    assert await config_of(node) == 1
    sites.folder = new
    await node.way(REPOSITORY, "key")
    assert await config_of(node) == 3
    # Within an operation, which has thousands of calls, nobody looks again.
    assert sites.looked == 2
