"""Removing a tree of any depth without following a link."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from composia.tools import plain_file


class _Level(NamedTuple):
    opened: int
    name: bytes
    #: Folders in it that are still there.
    below: list[bytes]


def remove(name: bytes, folder: int) -> None:
    """Remove what has this name in an open folder; harmless when it is not there."""
    with suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            _remove_folder(name, folder)
        else:
            os.unlink(name, dir_fd=folder)


def _remove_folder(name: bytes, folder: int) -> None:
    # A stack of our own: a tree may be deeper than Python's.
    levels: list[_Level] = [_entered(name, folder)]
    try:
        while levels:
            here = levels[-1]
            if here.below:
                levels.append(_entered(here.below.pop(), here.opened))
                continue
            os.close(levels.pop().opened)
            os.rmdir(here.name, dir_fd=levels[-1].opened if levels else folder)
    finally:
        for level in levels:
            os.close(level.opened)


def _entered(name: bytes, above: int) -> _Level:
    """Open a folder and remove what is no folder in it."""
    opened = os.open(name, plain_file.FOLDER, dir_fd=above)
    try:
        return _Level(opened, name, _emptied(opened))
    except BaseException:
        os.close(opened)
        raise


def _emptied(opened: int) -> list[bytes]:
    below = []
    with os.scandir(opened) as found:
        for entry in list(found):
            if entry.is_dir(follow_symlinks=False):
                below.append(os.fsencode(entry.name))
            else:
                os.unlink(entry.name, dir_fd=opened)
    return below
