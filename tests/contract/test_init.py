"""`composia init` with real Git: what it writes can be used as it stands."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from composia.cli.checks import all_checks
from composia.cli.init import RUSTIC_IMAGE, init
from composia.controller.catalog import Catalog
from composia.errors import Conflict
from composia.model.config import load_config
from composia.tools.shell import Command, LocalShell
from tests.contract.git_world import git


def run(folder: Path, *options: str) -> str:
    done = CliRunner().invoke(init, [str(folder), *options], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


async def opened(folder: Path) -> Catalog:
    config = load_config(folder / "config.yaml", {})
    assert config.controller
    catalog = Catalog(LocalShell(), config.controller)
    await catalog.open()
    return catalog


async def test_what_init_writes_loads_with_nothing_broken(tmp_path: Path) -> None:
    await asyncio.to_thread(run, tmp_path / "new")
    view = (await opened(tmp_path / "new")).view()
    assert (list(view.services), view.broken) == (["hello", "infra-backup"], ())
    assert view.infra_rustic
    assert view.infra_rustic.name == "infra-backup"


def test_the_work_tree_is_clean_and_committed(tmp_path: Path) -> None:
    run(tmp_path / "new")
    assert git(tmp_path / "new/catalog", "status", "--porcelain") == ""
    assert git(tmp_path / "new/catalog", "symbolic-ref", "--short", "HEAD") == "main"


NOBODY = "[user]\nuseConfigOnly = true\n"
EMAIL = "[user]\nuseConfigOnly = true\nemail = ada@example.com\n"
ADA = f"{EMAIL}name = Ada\n"


@pytest.mark.parametrize(
    ("known", "author"),
    [
        (NOBODY, "grace grace@localhost"),
        (EMAIL, "grace ada@example.com"),
        (ADA, "Ada ada@example.com"),
    ],
    ids=["nobody", "an address", "a person"],
)
async def test_a_first_commit_by_hand_has_an_author_and_composias_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str, author: str
) -> None:
    (tmp_path / "gitconfig").write_text(known)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("LOGNAME", "grace")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)
    await asyncio.to_thread(run, tmp_path / "new")
    catalog = tmp_path / "new/catalog"
    (catalog / "hello/mine").write_text("x")

    by_hand = LocalShell()
    await by_hand.run(Command(("git", "add", "-A"), cwd=catalog))
    await by_hand.run(Command(("git", "commit", "-qm", "Mine"), cwd=catalog))
    await (await opened(tmp_path / "new")).write("hello/theirs", b"x", if_match="*")

    authors = git(catalog, "log", "--format=%an %ae").splitlines()
    assert authors == ["Composia composia@localhost", author, "Composia composia@localhost"]
    config = (catalog / ".git/config").read_text()
    assert ("user" in config) == (known is not ADA)


def test_the_config_is_its_owners_alone_and_every_run_has_other_tokens(tmp_path: Path) -> None:
    run(tmp_path / "one")
    run(tmp_path / "two")
    assert stat.S_IMODE((tmp_path / "one/config.yaml").stat().st_mode) == 0o600
    tokens = [
        {
            line.rpartition("token: ")[2]
            for line in (tmp_path / name / "config.yaml").read_text().splitlines()
            if "token: " in line
        }
        for name in ("one", "two")
    ]
    assert not tokens[0] & tokens[1]


def test_the_password_is_told_with_the_next_command(tmp_path: Path) -> None:
    told = run(tmp_path / "new")
    profile = (tmp_path / "new/catalog/infra-backup/config/rustic.toml").read_text()
    password = profile.partition('password = "')[2].partition('"')[0]
    assert password in told
    assert f"Next: composia doctor --config {tmp_path}/new/config.yaml" in told
    assert "composia login" in told


@pytest.mark.parametrize(
    ("options", "image"),
    [((), RUSTIC_IMAGE), (("--image", "rustic:latest"), "rustic:latest")],
)
def test_the_image_can_be_chosen(tmp_path: Path, options: tuple[str, ...], image: str) -> None:
    run(tmp_path / "new", *options)
    compose = (tmp_path / "new/catalog/infra-backup/docker-compose.yaml").read_text()
    assert f"image: {image}\n" in compose


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    run(tmp_path)
    assert (tmp_path / "config.yaml").exists()


def test_a_folder_that_holds_something_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = CliRunner().invoke(init, [str(tmp_path)])
    assert isinstance(done.exception, Conflict)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


async def test_the_doctor_reads_what_init_wrote(tmp_path: Path) -> None:
    await asyncio.to_thread(run, tmp_path / "new")
    found = [check async for check in all_checks(tmp_path / "new/config.yaml", LocalShell())]
    config = [check for check in found if check.name in ("config", "secrecy", "tokens", "agent")]
    assert {check.level.value for check in config} == {"ok"}
    assert all(check.hint for check in found if check.level.value != "ok")


async def test_the_doctor_names_the_place_of_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("controller:\n  listn_addr: x\n")
    found = [check async for check in all_checks(file, LocalShell())]
    assert found[0].level.value == "fail"
    assert f"{file}:2:3" in found[0].message
    assert "did you mean `listen_addr`" in found[0].message
