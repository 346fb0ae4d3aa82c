"""Which file it is, whatever it is called, and whenever the machine was started last."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_byte, c_int64, c_uint32, c_uint64

from pydantic import BaseModel, ConfigDict

_NOFOLLOW = 0x100
_INODE, _BIRTH = 0x100, 0x800
_libc = ctypes.CDLL(None, use_errno=True)


class Identity(BaseModel):
    """A file by its number and its birth, which no file of another file system has both.

    Where the file system tells no birth it is the device instead. That may have another number
    after the machine was started again: then no file passes for this one any more.
    """

    model_config = ConfigDict(frozen=True)

    inode: int
    #: When it was made, in nanoseconds.
    born: int | None = None
    device: int | None = None


class _Status(ctypes.Structure):
    """The kernel's `struct statx`, as far as it is read here."""

    _fields_ = [  # ctypes wants it so
        ("known", c_uint32),
        ("_1", c_byte * 28),
        ("inode", c_uint64),
        ("_2", c_byte * 40),
        ("born_seconds", c_int64),
        ("born_nanoseconds", c_uint32),
        ("_3", c_byte * 44),
        ("device_major", c_uint32),
        ("device_minor", c_uint32),
        ("_4", c_byte * 112),
    ]


def identify(name: str, folder: int) -> Identity | None:
    """Which file has this name in an open folder, links not followed; None where there is none."""
    found = _Status()
    written = os.fsencode(name)
    if _libc.statx(folder, written, _NOFOLLOW, _INODE | _BIRTH, ctypes.byref(found)) != 0:
        code = ctypes.get_errno()
        error = OSError(code, os.strerror(code), name)
        if isinstance(error, FileNotFoundError):
            return None
        raise error
    born = found.born_seconds * 10**9 + found.born_nanoseconds
    # The first files of a fresh file system may have a birth of 0: all of them, on each.
    if found.known & _BIRTH and born:
        return Identity(inode=found.inode, born=born)
    device = os.makedev(found.device_major, found.device_minor)
    return Identity(inode=found.inode, device=device)
