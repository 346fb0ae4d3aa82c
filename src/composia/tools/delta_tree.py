"""Reaching what lies in a tree by folders opened one below the other: no link is followed."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from types import TracebackType

from composia.tools import plain_file
from composia.tools.delta import parent

#: Folders that are kept open.
_KEPT = 128


class Tree:
    """A file, folder or whatever is to stand at a path; its own path in it is the empty one."""

    def __init__(self, root: Path) -> None:
        self._name = os.fsencode(root.name)
        self._above = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: OrderedDict[bytes, int] = OrderedDict()

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self.forget()
        os.close(self._above)

    def at(self, path: bytes) -> tuple[bytes, int]:
        """The name to use and the folder that it stands in, for calls with `dir_fd`."""
        if not path:
            return self._name, self._above
        return path.rpartition(b"/")[2], self.folder(parent(path))

    def folder(self, path: bytes) -> int:
        """A folder, opened. Raises OSError at anything else, a symbolic link for one."""
        if (known := self._open.get(path)) is not None:
            self._open.move_to_end(path)
            return known
        # Upwards to what is open, then down again: a path may be longer than the system takes.
        missing = [path]
        while missing[-1] and parent(missing[-1]) not in self._open:
            missing.append(parent(missing[-1]))
        for folder in reversed(missing):
            self._enter(folder)
        self._trim(keep=path)
        return self._open[path]

    def file(self, path: bytes, access: int) -> int:
        """A file, opened. Raises OSError at anything else: a device would be read or written."""
        name, folder = self.at(path)
        return plain_file.opened(name, access, folder=folder)

    def forget(self) -> None:
        """Close all folders: some of them may have gone."""
        while self._open:
            os.close(self._open.popitem()[1])

    def reach(self, path: bytes) -> bytes:
        """A path for calls that take no `dir_fd`."""
        name, folder = self.at(path)
        return b"/proc/self/fd/%d/%s" % (folder, name)

    def _enter(self, path: bytes) -> None:
        name, above = (self._name, self._above) if not path else self.at(path)
        self._open[path] = os.open(name, plain_file.FOLDER, dir_fd=above)

    def _trim(self, keep: bytes) -> None:
        while len(self._open) > _KEPT:
            path, folder = self._open.popitem(last=False)
            if path == keep:
                self._open[path] = folder
                continue
            os.close(folder)
