"""Paths inside a snapshot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from composia.tools.rustic_paths import glob, inside, is_special


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ("files/data/temp", "!/composia/files/data/temp"),
        ("files/temp/", "!/composia/files/temp"),
        ("files/a*b?[c]{d}\\e", "!/composia/files/a\\*b\\?\\[c\\]\\{d\\}\\\\e"),
        ("files/end  ", "!/composia/files/end\\ \\ "),
    ],
)
def test_an_excluded_path_means_only_itself(path: str, written: str) -> None:
    assert glob(path) == written


@pytest.mark.parametrize(
    ("path", "stands_at"),
    [
        ("", "/composia"),
        ("files", "/composia/files"),
        ("files/a b/c", "/composia/files/a b/c"),
        ("volumes/cache", "/composia/volumes/cache"),
        ("dump.sql", "/dump.sql"),
    ],
)
def test_files_stand_below_composia_and_a_dump_at_the_root(path: str, stands_at: str) -> None:
    assert inside(path) == stands_at


def test_special_files_are_told_from_others(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    targets = {"files/data": tmp_path}

    assert is_special("files/data/fifo", targets)
    assert not is_special("files/data/file", targets)
    assert not is_special("files/data/gone", targets)
    assert not is_special("files/database/fifo", targets)
