"""Two paths of one file system trade places, so that at any moment one of them is whole.

What is about to be done is a value (`Move`) that says which file stands on each side: whoever finds
it in a journal after a crash, or a reboot, can tell from the disk alone whether it was done.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator, model_validator

from composia.errors import Failure
from composia.tools.identity import Identity, identify
from composia.tools.manifest import as_path, as_text
from composia.tools.mounts import is_mount_point, mount_of

_NOREPLACE = 1
_EXCHANGE = 2
_libc = ctypes.CDLL(None, use_errno=True)


def _heard(value: Any) -> Path:
    if isinstance(value, str):
        return Path(os.fsdecode(as_path(value)))
    if isinstance(value, Path):
        return value
    raise ValueError("not a path")


def _told(path: Path) -> str:
    return as_text(os.fsencode(path))


#: A path in JSON, where a name that is no text has to be written out.
AnyPath = Annotated[
    Path,
    PlainValidator(_heard, json_schema_input_type=str),
    PlainSerializer(_told, return_type=str),
]


class Place(BaseModel):
    """A path, and the folder above it that a symbolic link must not lead out of."""

    model_config = ConfigDict(frozen=True)

    below: AnyPath
    path: AnyPath

    @model_validator(mode="after")
    def _lies_in_it(self) -> Place:
        if not self.path.is_relative_to(self.below) or ".." in self.path.parts:
            raise ValueError(f"{self.path} does not lie in {self.below}")
        return self

    @contextmanager
    def parent(self) -> Iterator[int]:
        """Its folder, opened without following a link below `below`. Raises Failure at one."""
        relative = self.path.parent.relative_to(self.below)
        with ExitStack() as opened:
            folder = _open(self.below, None, follow=True)
            opened.callback(os.close, folder)
            for name in relative.parts:
                folder = self._step(name, folder)
                opened.callback(os.close, folder)
            yield folder

    def make_parents(self) -> None:
        """Make the folders on the way to it that are missing, following no link."""
        with ExitStack() as opened:
            folder = _open(self.below, None, follow=True)
            opened.callback(os.close, folder)
            for name in self.path.parent.relative_to(self.below).parts:
                with suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=folder)
                folder = self._step(name, folder)
                opened.callback(os.close, folder)

    def make(self, mode: int) -> None:
        """Make a folder there, following no link."""
        with self.parent() as folder:
            os.mkdir(self.path.name, mode, dir_fd=folder)

    def _step(self, name: str, folder: int) -> int:
        try:
            return _open(name, folder, follow=False)
        except OSError as error:
            raise Failure(
                f"{self.path} cannot be reached: {name} is no folder of its own ({error.strerror})",
                hint="A symbolic link on the way is not followed. Put a real folder there.",
            ) from error

    def identity(self) -> Identity | None:
        """Which file stands there; None where there is none."""
        if not self.path.parent.is_dir():
            return None
        with self.parent() as folder:
            return identify(self.path.name, folder)


class Move(BaseModel):
    """Two places that are to trade what stands there; one of them may be empty."""

    model_config = ConfigDict(frozen=True)

    live: Place
    staged: Place
    live_was: Identity | None
    staged_was: Identity | None

    def is_done(self) -> bool:
        """Whether they have traded places. Raises Failure when somebody else moved one of them."""
        now = (self.live.identity(), self.staged.identity())
        if now == (self.staged_was, self.live_was):
            return True
        if now == (self.live_was, self.staged_was):
            return False
        raise Failure(
            f"{self.live.path} and {self.staged.path} are neither as before the exchange nor as "
            "after it: something else has moved them",
            hint="Look at both by hand; neither was removed.",
        )

    def make(self) -> None:
        """Trade places, and flush it to the disk; harmless when it is done."""
        if not self.is_done():
            _trade(self.live, self.staged)

    def undo(self) -> Path | None:
        """Have live what was live, whatever came since; harmless when it is not done.

        Answers where something lies now that somebody else has put in its place meanwhile. Raises
        Failure where what was live does not lie aside any more.
        """
        live, staged = self.live.identity(), self.staged.identity()
        if live == self.live_was or staged == self.staged_was:
            return None
        if staged != self.live_was:
            raise Failure(
                f"{self.live.path} is not what it was, and {self.staged.path} is not that either:"
                " something else has moved them",
                hint="Look at both by hand; neither was removed.",
            )
        _trade(self.live, self.staged)
        return None if live in (None, self.staged_was) else self.staged.path


def planned(live: Place, staged: Place) -> Move:
    """The move of what stands there now. Raises Failure where nothing does on either side."""
    move = Move(live=live, staged=staged, live_was=live.identity(), staged_was=staged.identity())
    if move.live_was is None and move.staged_was is None:
        raise Failure(f"there is neither {live.path} nor {staged.path}")
    return move


def children(live: Place, staged: Place, *, leave: frozenset[str]) -> tuple[Move, ...]:
    """The moves of what two folders hold, for a folder that cannot be moved itself."""
    there = {name for place in (live, staged) for name in os.listdir(place.path)}
    return tuple(
        planned(
            Place(below=live.below, path=live.path / name),
            Place(below=staged.below, path=staged.path / name),
        )
        for name in sorted(there - leave)
    )


def exchangeable(live: Path, staged: Path) -> bool:
    """Whether one rename can exchange them: on one mount, and neither is a mount point."""
    return (
        mount_of(existing(live.parent)) == mount_of(existing(staged.parent))
        and not is_mount_point(live)
        and not is_mount_point(staged)
    )


def existing(path: Path) -> Path:
    """The path itself or the nearest folder above it that is there."""
    return path if os.path.lexists(path) else existing(path.parent)


def _open(path: Path | str, folder: int | None, *, follow: bool) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    return os.open(path, flags, dir_fd=folder)


def _trade(live: Place, staged: Place) -> None:
    source, target = (live, staged) if staged.identity() is None else (staged, live)
    both = target.identity() is not None
    with source.parent() as source_folder, target.parent() as target_folder:
        _renameat2(source, source_folder, target, target_folder, _EXCHANGE if both else _NOREPLACE)
        os.fsync(source_folder)
        os.fsync(target_folder)


def _renameat2(
    source: Place, source_folder: int, target: Place, target_folder: int, flags: int
) -> None:
    names = os.fsencode(source.path.name), os.fsencode(target.path.name)
    if _libc.renameat2(source_folder, names[0], target_folder, names[1], flags) != 0:
        code = ctypes.get_errno()
        raise Failure(
            f"{source.path} and {target.path} could not be exchanged: {os.strerror(code)}",
            hint="The file system must know RENAME_EXCHANGE: ext4, XFS, btrfs and tmpfs do.",
        )


def flush(path: Path) -> None:
    """Have everything written on the path's file system reach the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(folder) != 0:
            raise Failure(f"{path} could not be flushed: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(folder)
