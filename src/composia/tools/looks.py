"""The owner, mode, times and xattrs of a folder, taken and put on again."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress

from pydantic import BaseModel, ConfigDict

from composia.tools import plain_file
from composia.tools.exchange import Place


class Look(BaseModel):
    """What a folder looks like, whatever is in it. Times in nanoseconds, values in base64."""

    model_config = ConfigDict(frozen=True)

    uid: int
    gid: int
    mode: int
    accessed: int
    modified: int
    xattrs: Mapping[str, str]


def take(place: Place) -> Look:
    """The look of a folder."""
    with place.parent() as above, _opened(place, above) as folder:
        found = os.fstat(folder.number)
        xattrs = {name: os.getxattr(folder.number, name) for name in _names(folder.number)}
    return Look(
        uid=found.st_uid,
        gid=found.st_gid,
        mode=found.st_mode & 0o7777,
        accessed=found.st_atime_ns,
        modified=found.st_mtime_ns,
        xattrs={name: b64encode(value).decode() for name, value in xattrs.items()},
    )


def wear(place: Place, look: Look) -> None:
    """Give a folder a look; harmless when it has it."""
    with place.parent() as above, _opened(place, above) as folder:
        os.fchown(folder.number, look.uid, look.gid)
        os.fchmod(folder.number, look.mode)
        for name in set(_names(folder.number)) - set(look.xattrs):
            os.removexattr(folder.number, name)
        for name, value in look.xattrs.items():
            os.setxattr(folder.number, name, b64decode(value))
        os.utime(folder.number, ns=(look.accessed, look.modified))
        os.fsync(folder.number)


class _opened:  # noqa: N801  # reads like a function
    def __init__(self, place: Place, above: int) -> None:
        self.number = os.open(place.path.name, plain_file.FOLDER, dir_fd=above)

    def __enter__(self) -> _opened:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.number)


def _names(folder: int) -> list[str]:
    # Not every file system has them.
    with suppress(OSError):
        return os.listxattr(folder)
    return []
