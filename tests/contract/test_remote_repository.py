"""A rustic profile of the catalog that names a repository which every node reaches by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.git_world import World, service

META = "name: {name}\nnodes: [main]\ninfra:\n  rustic: {{compose_service: web, profile: default}}\n"


def profile(place: str) -> dict[str, str]:
    text = f'[repository]\nrepository = "{place}"\npassword = "x"\n'
    return {"backup/config/rustic.toml": text, "backup/config/other.toml": "[backup]\n"}


@pytest.mark.parametrize(
    ("place", "remote"), [("/repo", False), ("rest:http://host/", True), ("opendal:s3", True)]
)
async def test_the_catalog_sees_whether_it_is_remote(
    tmp_path: Path, template: Path, place: str, remote: bool
) -> None:
    world = World(tmp_path).with_remote(template)
    world.someone_pushes(service("backup", META) | profile(place))

    catalog = await world.catalog()

    assert catalog.view().remote_repository is remote


async def test_it_is_seen_when_that_changes(tmp_path: Path, template: Path) -> None:
    world = World(tmp_path).with_remote(template)
    world.someone_pushes(service("backup", META) | profile("/repo"))
    catalog = await world.catalog()
    world.someone_pushes(profile("rest:http://host/"))

    assert (await catalog.refresh()).remote_repository
