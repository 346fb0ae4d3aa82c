from __future__ import annotations

import json
from pathlib import Path

import pytest

from composia.tools.compose_program import find_compose
from tests.twins.shell import MemoryShell, always

BY_DOCKER = ("docker", "compose")


def shell(*plugins: dict[str, str]) -> MemoryShell:
    return MemoryShell(always(stdout=json.dumps(plugins).encode()))


async def test_the_plugin_is_started_by_itself(tmp_path: Path) -> None:
    plugin = tmp_path / "docker-compose"
    plugin.touch()
    others = {"Name": "buildx", "Path": "/usr/lib/docker-buildx"}

    program = await find_compose(shell(others, {"Name": "compose", "Path": str(plugin)}))

    assert program.words == (str(plugin),)


async def test_a_plugin_that_was_moved_is_found_by_docker(tmp_path: Path) -> None:
    plugin = tmp_path / "docker-compose"
    plugin.touch()
    program = await find_compose(shell({"Name": "compose", "Path": str(plugin)}))

    plugin.unlink()

    assert program.words == BY_DOCKER


@pytest.mark.parametrize("said", [b"", b"null", b"[]", b'[{"Name": "compose"}]', b"no such flag"])
async def test_what_docker_does_not_say_is_left_to_docker(said: bytes) -> None:
    program = await find_compose(MemoryShell(always(stdout=said)))

    assert program.words == BY_DOCKER
