from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from composia.tools.identity import identify


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path, os.O_RDONLY)
    yield opened
    os.close(opened)


def test_a_file_is_the_same_under_another_name(tmp_path: Path, folder: int) -> None:
    (tmp_path / "one").touch()
    found = identify("one", folder)
    (tmp_path / "one").rename(tmp_path / "other")
    (tmp_path / "other").write_text("changed")
    assert found
    assert found.inode == (tmp_path / "other").stat().st_ino
    assert identify("other", folder) == found
    assert identify("one", folder) is None


def test_a_link_is_itself(tmp_path: Path, folder: int) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    found = identify("link", folder)
    assert found
    assert found.inode == (tmp_path / "link").lstat().st_ino


def test_a_name_that_is_no_text_is_found(tmp_path: Path, folder: int) -> None:
    name = os.fsdecode(b"\xff \n")
    (tmp_path / name).touch()
    assert identify(name, folder)


def test_where_no_birth_is_told_the_device_says_which_it_is() -> None:
    opened = os.open("/proc", os.O_RDONLY)
    found = identify("version", opened)
    os.close(opened)
    assert found
    assert (found.born, found.device) == (None, Path("/proc").stat().st_dev)


def test_what_cannot_be_looked_at_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    opened = os.open(tmp_path / "file", os.O_RDONLY)
    with pytest.raises(NotADirectoryError):
        identify("one", opened)
    os.close(opened)
