"""Opening a plain file where anything else may have its name: no link, no pipe, no device."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

#: How a folder is opened, and no link to one.
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: At once: to open a FIFO would wait for somebody who writes.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What the system says where no plain file stands; a disk that fails says something else.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EINVAL, errno.ELOOP, errno.ENXIO})


def opened(
    name: Path | str | bytes, access: int = os.O_RDONLY, *, folder: int | None = None
) -> int:
    """A plain file, opened: no link is followed, no pipe waited for.

    Raises OSError at anything else: a device would be read or written.
    """
    handle = os.open(name, access | _FILE, dir_fd=folder)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no file")
    except OSError:
        os.close(handle)
        raise
    return handle


def to_read(path: Path) -> io.FileIO | None:
    """A plain file, unbuffered; None where none stands there. Raises OSError where that is open."""
    try:
        return os.fdopen(opened(path), "rb", buffering=0)
    except OSError as error:
        if is_not_there(error):
            return None
        raise


def is_not_there(error: OSError) -> bool:
    """Whether it says that no plain file stands there, and not that nobody can tell."""
    return error.errno in _NOT_THERE
