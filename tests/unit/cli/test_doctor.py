from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from composia.cli import checks
from composia.cli.checks import Level
from composia.errors import NotFound
from composia.model.catalog import COMPOSE_FILES
from composia.model.config import Config, load_config
from composia.tools.age import new_identity
from composia.tools.docker import Docker
from composia.tools.shell import LocalShell

GOOD = """\
controller:
  repo_dir: {folder}/catalog
  state_dir: {folder}/state
  log_dir: {folder}/logs
  access_tokens: [{{name: admin, token: 0123456789abcdef-admin}}]
  nodes: [{{id: main, token: 0123456789abcdef-agent}}]
agent:
  controller_addr: http://127.0.0.1:1
  node_id: main
  token: 0123456789abcdef-agent
  repo_dir: {folder}/services
  state_dir: {folder}/agent
"""


def a_config(folder: Path, old: str = "", new: str = "") -> tuple[Path, Config]:
    file = folder / "config.yaml"
    file.write_text(GOOD.format(folder=folder).replace(old, new))
    file.chmod(0o600)
    return file, load_config(file, {})


def worst(folder: Path, old: str = "", new: str = "") -> list[str]:
    found = checks.secrecy(*a_config(folder, old, new))
    return [check.message for check in found if check.level is not Level.OK]


def test_a_good_config_is_well(tmp_path: Path) -> None:
    assert worst(tmp_path) == []


def test_a_config_that_others_can_read_is_told(tmp_path: Path) -> None:
    file, config = a_config(tmp_path)
    file.chmod(0o644)
    (first, *_) = checks.secrecy(file, config)
    assert (first.level, first.hint) == (Level.WARN, f"chmod 600 {file}")


def test_a_token_that_is_easy_to_guess_is_named_and_not_shown(tmp_path: Path) -> None:
    (message,) = worst(tmp_path, "0123456789abcdef-admin", "change-me")
    assert message == "easy to guess: access token admin"


def test_whom_encrypted_files_are_for_is_told(tmp_path: Path) -> None:
    key, recipient = new_identity()
    (tmp_path / "age.key").write_text(key)
    secrets = "  secrets: {identity_file: age.key}\n  nodes: "
    found = list(checks.secrecy(*a_config(tmp_path, "  nodes: ", secrets)))
    assert ("secrets", Level.OK) in [(one.name, one.level) for one in found]
    assert f"encrypted files of the catalog are for {recipient}" in [one.message for one in found]
    assert key not in str(found)


@pytest.mark.parametrize("content", [None, "rubbish"])
async def test_an_identity_that_is_none_is_told_with_what_to_do(
    tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "age.key").write_text(content)
    file = tmp_path / "config.yaml"
    secrets = "  secrets: {identity_file: age.key}\n  nodes: "
    file.write_text(GOOD.format(folder=tmp_path).replace("  nodes: ", secrets))

    found = [one async for one in checks.all_checks(file, LocalShell()) if one.name == "config"]

    (wrong,) = [one.message for one in found if one.level is Level.FAIL]
    assert "controller.secrets.identity" in wrong
    assert ("new-identity" if content else "mend that, or name another file") in wrong


def test_an_agent_with_another_token_than_its_node_is_told(tmp_path: Path) -> None:
    (message,) = worst(tmp_path, "-agent\n", "-other-one\n")
    assert message == "agent.token is not that of node main"


def test_an_agent_of_an_unknown_node_is_told(tmp_path: Path) -> None:
    assert worst(tmp_path, "node_id: main", "node_id: edge") == ["controller.nodes has no edge"]


def test_nobody_who_may_do_everything_is_told(tmp_path: Path) -> None:
    assert worst(tmp_path, "-admin}", "-admin, enabled: false}") == [
        "no enabled access token has scope admin"
    ]


@pytest.mark.parametrize(
    ("version", "level"),
    [(None, Level.FAIL), ("2.20.3", Level.FAIL), ("2.26.1-4", Level.OK), ("v5.0.0", Level.OK)],
)
def test_compose_must_be_there_and_new_enough(version: str | None, level: Level) -> None:
    check = checks.compose_version(version)
    assert (check.level, bool(check.hint)) == (level, level is not Level.OK)


def test_an_engine_that_does_not_answer_says_how_to_mend_it() -> None:
    check = checks.engine_version(None)
    assert check.level is Level.FAIL
    assert check.hint
    assert "systemctl start docker" in check.hint


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    _, config = a_config(tmp_path)
    (tmp_path / "state").write_text("")
    bad = [check.name for check in checks.folders(config) if check.level is Level.FAIL]
    assert bad == ["controller.state_dir"]


class _Engine:
    """Docker, with no image."""

    async def image_config(self, image: str) -> None:
        raise NotFound(image)


@pytest.mark.parametrize("name", COMPOSE_FILES)
async def test_the_image_with_rustic_is_found_in_a_file_of_each_name(
    tmp_path: Path, name: str
) -> None:
    _, config = a_config(tmp_path)
    assert config.controller
    folder = config.controller.repo_dir / "infra"
    folder.mkdir(parents=True)
    (folder / "composia-meta.yaml").write_text(
        "name: infra\ninfra: {rustic: {compose_service: rustic, profile: default}}\n"
    )
    (folder / name).write_text("services: {rustic: {image: 'rustic:mine'}}\n")

    check = await checks.rustic_image(config, cast("Docker", _Engine()))

    assert check.hint == "docker pull rustic:mine"
