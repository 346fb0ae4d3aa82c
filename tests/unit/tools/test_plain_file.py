from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from composia.tools import plain_file


def a_socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


def a_link(path: Path) -> None:
    path.symlink_to(__file__)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_plain_file_is_opened_from_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    folder = os.open(tmp_path, plain_file.FOLDER)
    handle = plain_file.opened("file", os.O_RDWR, folder=folder)
    assert os.pread(handle, 9, 0) == b"content"
    os.close(handle)
    os.close(folder)


@pytest.mark.parametrize("make", [a_socket, a_link, os.mkfifo, os.mkdir])
def test_anything_else_is_not_there_and_leaves_nothing_open(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "name")
    before = descriptors()
    with pytest.raises(OSError, match="Errno") as raised:
        plain_file.opened(tmp_path / "name")
    assert plain_file.is_not_there(raised.value)
    assert plain_file.to_read(tmp_path / "name") is None
    assert descriptors() <= before


def test_a_device_is_no_file() -> None:
    with pytest.raises(OSError, match="it is no file"):
        plain_file.opened("/dev/zero")


def test_what_nobody_may_or_can_read_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in (errno.EIO, errno.EACCES, errno.EMFILE):

        def fails(*_: object, word: int = word) -> os.stat_result:
            raise OSError(word, os.strerror(word))

        (tmp_path / "file").touch()
        before = descriptors()
        monkeypatch.setattr(os, "fstat", fails)
        with pytest.raises(OSError, match=os.strerror(word)):
            plain_file.to_read(tmp_path / "file")
        monkeypatch.undo()
        assert descriptors() <= before
