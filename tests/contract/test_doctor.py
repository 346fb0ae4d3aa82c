"""What `composia doctor` says of a real controller, and of real places where there is none."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from composia.cli.check import Level
from composia.cli.reaching import reach
from composia.controller.app import create_app
from composia.model.config import AgentConfig, ControllerConfig
from tests.contract.nodes_world import served


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine may be slow: that is not what is looked for here."""
    monkeypatch.setattr("composia.cli.reaching.PATIENCE", 60.0)
    monkeypatch.setattr("composia.cli.reaching.SKEW", 60.0)


@pytest.fixture
def controller(tmp_path: Path) -> ControllerConfig:
    text = '{"nodes": [{"id": "main", "token": "m"}, {"id": "edge", "token": "e"}]}'
    folders = {name: tmp_path / name for name in ("repo_dir", "state_dir", "log_dir")}
    return ControllerConfig.model_validate_json(text).model_copy(update=folders)


@pytest.fixture
async def url(controller: ControllerConfig) -> AsyncIterator[str]:
    async with served(create_app(controller)) as url:
        yield url


async def looked(
    url: str, token: str = "m", controller: ControllerConfig | None = None
) -> Sequence[tuple[str, Level]]:
    text = json.dumps({"controller_addr": url, "node_id": "main", "token": token})
    found = await reach(AgentConfig.model_validate_json(text), controller)
    return [(one.name, one.level) for one in found]


@pytest.mark.parametrize(
    ("token", "level"),
    [("m", Level.OK), ("e", Level.FAIL), ("x", Level.FAIL)],
    ids=["its own", "another node's", "nobody's"],
)
async def test_a_controller_says_whose_token_it_is(url: str, token: str, level: Level) -> None:
    assert await looked(f"{url}/", token) == [("controller", Level.OK), ("agent", level)]


async def test_where_nobody_listens_yet_the_controller_is_still_to_start(
    controller: ControllerConfig,
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{nobody.getsockname()[1]}"
        here = controller.model_copy(update={"listen_addr": at})
        assert await looked(f"http://{at}", controller=here) == [("controller", Level.OK)]
        assert await looked(f"http://{at}") == [("controller", Level.FAIL)]


async def test_a_name_that_is_not_known_is_no_controller_that_is_still_to_start(
    controller: ControllerConfig,
) -> None:
    found = await looked("http://controller.invalid:7001", controller=controller)
    assert found == [("controller", Level.FAIL)]
