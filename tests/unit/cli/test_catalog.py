"""Encrypting files of this machine, and making what opens them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composia.tools.age import Identities
from tests.unit.cli.conftest import Composia

PLAIN = "PASSWORD=planted"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COMPOSIA_CONFIG", raising=False)
    (tmp_path / ".env").write_text(PLAIN)
    return tmp_path


@pytest.fixture
def identities(folder: Path, composia: Composia) -> Identities:
    """Made by the command, and named in ./config.yaml."""
    done = composia("catalog", "new-identity", "age.key")
    assert done.exit_code == 0, done.output
    (folder / "config.yaml").write_text(f"controller:\n{done.stdout.splitlines()[-1]}\n")
    return Identities.parse((folder / "age.key").read_text())


def test_an_identity_is_made_for_its_owner_alone_and_not_shown(
    folder: Path, composia: Composia
) -> None:
    done = composia("catalog", "new-identity", "age.key")
    kept = (folder / "age.key").read_text()
    assert (folder / "age.key").stat().st_mode & 0o777 == 0o600
    assert Identities.parse(kept).recipients[0] in done.stdout
    assert "AGE-SECRET-KEY" not in done.output

    again = composia("catalog", "new-identity", "age.key")

    assert (again.exit_code, (folder / "age.key").read_text()) == (3, kept)
    assert "is there already" in again.output


def test_a_file_is_encrypted_for_the_identity_of_the_config(
    folder: Path, composia: Composia, identities: Identities
) -> None:
    done = composia("catalog", "encrypt", ".env")
    assert done.exit_code == 0, done.output
    made = (folder / ".env.age").read_bytes()
    assert made.startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert identities.decrypted(made) == PLAIN.encode()
    assert "git rm --cached --ignore-unmatch -- .env" in done.stdout
    assert "planted" not in done.output


def test_files_of_any_name_are_encrypted_for_whom_one_names(
    folder: Path, composia: Composia, identities: Identities
) -> None:
    (folder / "config.yaml").unlink()
    names = ["--help", "ö", "a b"]
    for name in names:
        (folder / name).write_text(name)
    (recipient,) = identities.recipients

    done = composia("catalog", "encrypt", "--recipient", recipient, "--", *names)

    assert done.exit_code == 0, done.output
    assert [identities.decrypted((folder / f"{name}.age").read_bytes()) for name in names] == [
        name.encode() for name in names
    ]
    assert "rm --cached --ignore-unmatch -- --help 'ö' 'a b'" in done.stdout


def test_one_that_is_there_is_replaced_by_force_alone(
    folder: Path, composia: Composia, identities: Identities
) -> None:
    (folder / ".env.age").write_text("mine")
    (folder / "new").write_text("x")

    refused = composia("catalog", "encrypt", "new", ".env")

    assert (refused.exit_code, (folder / ".env.age").read_text()) == (3, "mine")
    assert not (folder / "new.age").exists(), "all of it or nothing"
    assert "--force" in refused.output
    assert composia("catalog", "encrypt", "--force", ".env").exit_code == 0
    assert identities.decrypted((folder / ".env.age").read_bytes()) == PLAIN.encode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([".env"], "config.yaml cannot be read"),
        (["--recipient", "age1rubbish", ".env"], "a recipient is written as in age1"),
        (["--recipient", "age1rubbish", "nothing"], "nothing cannot be read"),
        (["--recipient", "age1rubbish", "."], "cannot be read"),
        (["--recipient", "age1rubbish", "x.age"], "x.age is encrypted already"),
    ],
)
def test_what_cannot_be_encrypted_is_told_and_nothing_is_written(
    folder: Path, composia: Composia, words: list[str], said: str
) -> None:
    (folder / "x.age").write_text("x")
    before = os.listdir(folder)
    done = composia("catalog", "encrypt", *words)
    assert done.exit_code == 3, done.output
    assert said in done.output
    assert os.listdir(folder) == before


def test_without_an_identity_one_is_told_how_to_have_one(folder: Path, composia: Composia) -> None:
    (folder / "config.yaml").write_text("controller: {}\n")
    done = composia("catalog", "encrypt", ".env")
    assert done.exit_code == 3
    assert "new-identity" in done.output
