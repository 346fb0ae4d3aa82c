"""Owner, mode, xattrs and times put on what has just been made. Times come last."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from composia.tools.manifest import Entry


def dress(opened: int, entry: Entry) -> None:
    """Put them on an open file or folder."""
    os.fchown(opened, entry.uid, entry.gid)
    os.fchmod(opened, entry.mode)
    _xattrs(opened, entry)
    os.utime(opened, ns=(entry.mtime, entry.mtime))


def dress_named(name: bytes, folder: int, entry: Entry) -> None:
    """Put them on something that cannot be opened: a link, a device."""
    os.chown(name, entry.uid, entry.gid, dir_fd=folder, follow_symlinks=False)
    if entry.type != "symlink":
        os.chmod(name, entry.mode, dir_fd=folder)
    _xattrs(b"/proc/self/fd/%d/%s" % (folder, name), entry)
    os.utime(name, ns=(entry.mtime, entry.mtime), dir_fd=folder, follow_symlinks=False)


def _xattrs(reach: int | bytes, entry: Entry) -> None:
    follows = isinstance(reach, int)
    wanted = dict(entry.xattrs)
    for name in _stale(reach, wanted, follows=follows):
        os.removexattr(reach, name, follow_symlinks=follows)
    for key, value in wanted.items():
        os.setxattr(reach, key, value, follow_symlinks=follows)


def _stale(reach: int | bytes, wanted: Iterable[bytes], *, follows: bool) -> list[str]:
    try:
        there = os.listxattr(reach, follow_symlinks=follows)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
    return [name for name in there if os.fsencode(name) not in wanted] if there else []
